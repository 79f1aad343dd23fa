"""Which resolver is asked first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.routing.servers import Server
from relayfleet.relay.routing.standings import BACK, TRIAL_EVERY, Standings

A, B, C = ("192.0.2.1", 53), ("192.0.2.2", 53), ("192.0.2.3", 53)
STEPS = st.lists(
    st.tuples(st.sampled_from(["answered", "failed", "silent", "heard", "trial"]), st.sampled_from([A, B, C])),
    max_size=30,
)


def test_resolvers_that_answer_are_asked_as_they_were_named() -> None:
    standings = Standings([A, B, C])
    for each in (C, B, C):
        standings.answered(each, 1.0)
    assert standings.order() == [A, B, C]


def test_one_that_failed_is_asked_last_until_it_has_answered_trials() -> None:
    standings = Standings([A, B])
    standings.failed(A, 10.0)
    assert standings.order() == [B, A]
    for n in range(BACK):
        assert standings.order() == [B, A], n
        now = 10.0 + (n + 1) * TRIAL_EVERY
        assert standings.trial(now) == A
        standings.answered(A, now)
    assert standings.order() == [A, B]
    assert standings.trial(1000.0) is None


def test_a_trial_that_fails_begins_the_count_anew() -> None:
    standings = Standings([A, B])
    standings.failed(A, 0.0)
    for _ in range(BACK - 1):
        standings.answered(A, 1.0)
    standings.failed(A, 2.0)
    standings.answered(A, 3.0)
    assert standings.order() == [B, A]


def test_trials_are_rare_and_only_for_those_that_are_passed_over() -> None:
    standings = Standings([A, B])
    assert standings.trial(0.0) is None
    standings.failed(A, 0.0)
    taken = [at for at in range(100) if standings.trial(at / 10)]
    assert [at / 10 for at in taken] == [TRIAL_EVERY * n for n in range(1, len(taken) + 1)]
    assert len(taken) == 4


def test_one_that_is_silent_to_probes_is_asked_last_of_all_and_gets_no_trial() -> None:
    standings = Standings([A, B, C])
    standings.failed(B, 0.0)
    standings.probed(A, True)
    assert standings.order() == [C, B, A]
    standings.failed(A, 0.0)
    assert standings.trial(50.0) == B
    standings.probed(A, False)
    standings.probed(B, True)
    assert standings.order() == [C, A, B]


def test_of_several_that_failed_the_one_that_answers_again_is_first() -> None:
    standings = Standings([A, B])
    standings.failed(A, 0.0)
    standings.failed(B, 0.0)
    standings.answered(B, 1.0)
    assert standings.order() == [B, A]


def test_who_is_asked_first_anyway_needs_no_trial() -> None:
    standings = Standings([A])
    standings.failed(A, 0.0)
    assert standings.trial(100.0) is None


def test_other_resolvers_leave_what_is_known_of_those_that_stay() -> None:
    standings = Standings([A, B])
    standings.failed(A, 0.0)
    standings.replace([A, C])
    assert standings.order() == [C, A]
    standings.failed(B, 0.0)
    standings.answered(B, 0.0)
    standings.probed(B, True)
    assert standings.servers == (A, C)


@given(STEPS)
def test_all_are_always_asked_in_the_end_and_who_did_well_before_who_did_not(steps: list[tuple[str, Server]]) -> None:
    standings = Standings([A, B, C])
    bad: set[Server] = set()
    ever: set[Server] = set()
    silent: set[Server] = set()
    for now, (step, server) in enumerate(steps):
        if step == "trial":
            standings.trial(float(now))
        elif step in ("silent", "heard"):
            standings.probed(server, step == "silent")
            (silent.add if step == "silent" else silent.discard)(server)
        elif step == "failed":
            standings.failed(server, float(now))
            bad.add(server)
            ever.add(server)
        else:
            standings.answered(server, float(now))
            bad.discard(server)
    order = standings.order()
    assert sorted(order) == [A, B, C]
    assert not silent or set(order[-len(silent) :]) == silent
    spotless = [each for each in order if each not in ever | silent]
    assert spotless == sorted(spotless)
    assert all(order.index(good) < order.index(each) for good in spotless for each in bad), (
        "its last word was a failure"
    )
