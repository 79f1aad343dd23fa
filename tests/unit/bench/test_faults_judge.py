"""The judge of the fault bench: lost, doubled, taken over, paused; out of lists alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench._faults_judge import Fates, Step, Takeover, by_id, fates, pauses, spans_at, takeover
from tests.bench._faults_scene import Struck
from tests.bench._faults_traces import told

NOBODY: frozenset[str] = frozenset()
VICTIM, OTHER = "relay-1.faults.test", "relay-2.faults.test"


def judged(
    accepted: str = "",
    stored: str = "",
    reported: str = "",
    queued: str = "",
    uncertain: str = "",
) -> Fates:
    """Each letter is a mail."""
    return fates(set(accepted), stored, set(reported), set(queued), set(uncertain))


FATES = {
    "all arrived": (judged("ab", stored="ba"), Fates((), (), (), ())),
    "one is nowhere": (judged("abc", stored="ac"), Fates(("b",), (), (), ())),
    "what is reported to its sender is not lost": (judged("ab", stored="a", reported="b"), Fates((), (), (), ())),
    "what is still in a queue is not lost": (judged("ab", stored="a", queued="b"), Fates((), (), (), ())),
    "two copies without a reason": (judged("ab", stored="aba"), Fates((), ("a",), (), ())),
    "two copies of what was uncertain": (judged("ab", stored="aba", uncertain="a"), Fates((), (), ("a",), ())),
    "uncertain and came once": (judged("a", stored="a", uncertain="a"), Fates((), (), (), ())),
    "came although the client heard no 250": (judged("a", stored="ab"), Fates((), (), (), ("b",))),
    "doubled although the client heard no 250": (judged("", stored="bb"), Fates((), ("b",), (), ("b",))),
    "neither promised nor delivered": (judged("", queued="b"), Fates((), (), (), ())),
}


@pytest.mark.parametrize(("found", "expected"), FATES.values(), ids=FATES.keys())
def test_what_became_of_mails(found: Fates, expected: Fates) -> None:
    assert found == expected


def rcpt(at: float, helo: str = VICTIM) -> Step:
    return Step("a", "rcpt", at, helo)


def refused(at: float, helo: str = VICTIM) -> Step:
    return Step("a", "refused", at, helo)


def dot(at: float, helo: str = VICTIM) -> Step:
    return Step("a", "dot", at, helo)


def stored(at: float, helo: str = VICTIM) -> Step:
    return Step("a", "stored", at, helo)


KILLED = Struck("relay.killed", began=100.0, ended=102.0, relays=(VICTIM,))
FROZEN = Struck("relay.frozen", began=100.0, ended=115.0, relays=(VICTIM,))
NOTHING = Takeover({}, (), ())

TAKEOVERS = {
    "another relay tries it": (KILLED, [rcpt(99), rcpt(101.5, OTHER)], Takeover({"a": 1.5}, (), ())),
    "the killed relay's next life tries it": (KILLED, [rcpt(99), rcpt(103)], Takeover({"a": 3.0}, (), ())),
    "what a killed relay had sent comes a moment late": (
        KILLED,
        [rcpt(99), rcpt(100.01), rcpt(101, OTHER)],
        Takeover({"a": 1.0}, (), ()),
    ),
    "past its dot: it must wait": (KILLED, [rcpt(98), dot(99), rcpt(700, OTHER)], NOTHING),
    "refused, and it waits for its next attempt": (KILLED, [refused(99), rcpt(115, OTHER)], NOTHING),
    "another relay tries it, and is refused": (KILLED, [rcpt(99), refused(101, OTHER)], Takeover({"a": 1.0}, (), ())),
    "delivered before": (KILLED, [rcpt(98), dot(98.5), stored(99)], NOTHING),
    "in another relay's hand": (KILLED, [rcpt(99, OTHER), rcpt(101, OTHER)], NOTHING),
    "begun long ago and deferred since": (KILLED, [rcpt(60), rcpt(120, OTHER)], NOTHING),
    "accepted after the fault": (KILLED, [rcpt(101, OTHER)], NOTHING),
    "nobody tries it": (KILLED, [rcpt(99)], Takeover({}, (), ("a",))),
    "another relay takes it from a frozen one": (FROZEN, [rcpt(99), rcpt(107, OTHER)], Takeover({"a": 7.0}, (), ())),
    "and the thawed one does no harm": (
        FROZEN,
        [rcpt(99), rcpt(107, OTHER), rcpt(116)],
        Takeover({"a": 7.0}, (), ()),
    ),
    "thawed in time it goes on": (FROZEN, [rcpt(99), dot(115.1), stored(116)], Takeover({}, ("a",), ())),
}


@pytest.mark.parametrize(("struck", "steps", "expected"), TAKEOVERS.values(), ids=TAKEOVERS.keys())
def test_takeover(struck: Struck, steps: list[Step], expected: Takeover) -> None:
    assert takeover(struck, {"a": steps}, NOBODY, {}) == expected


def test_what_a_thawed_relay_itself_puts_off_is_not_taken_over() -> None:
    steps, put_off = {"a": [rcpt(99), rcpt(176, OTHER)]}, {"a": [(115.2, VICTIM)]}
    assert takeover(FROZEN, steps, NOBODY, put_off) == Takeover({}, ("a",), ())
    assert takeover(FROZEN, steps, NOBODY, {"a": [(20.0, VICTIM), (110.0, OTHER)]}) == Takeover({"a": 76.0}, (), ())


def test_what_was_claimed_unseen_by_the_sink_is_no_takeover() -> None:
    assert takeover(KILLED, {"a": [rcpt(99), rcpt(700, OTHER)]}, {"a"}, {}) == NOTHING


def test_a_pause_is_blamed_on_the_fault_in_which_it_lies() -> None:
    faults = [Struck("one", began=10.0, ended=12.0), Struck("two", began=20.0, ended=22.0)]
    times = [0.0, 5.0, 9.9, 13.9, 14.0, 19.9, 20.9, 21.0, 60.0]
    assert pauses(times, faults) == pytest.approx([5.9, 39.0])


def test_a_pause_long_after_a_fault_is_not_its() -> None:
    assert pauses([9.0, 10.5, 23.0, 80.0, 81.0], [Struck("one", began=10.0, ended=12.0)]) == pytest.approx([12.5])


def test_without_any_250_there_is_nothing_to_say_about_pauses() -> None:
    assert pauses([], [Struck("one", began=1.0, ended=2.0)]) == [0.0]


def test_spans_are_counted_at_moments() -> None:
    assert spans_at([1.0, 2.0, 3.0], [(0.0, 1.5), (1.0, 2.5), (2.0, float("inf")), (5.0, 6.0)]) == [2, 2, 1]


def test_a_log_tells_who_put_a_mail_off_and_what_was_uncertain(tmp_path: Path) -> None:
    words = "reason=X from=<s@x> to=<{}@x> source=- host=- text=''"
    lines = [
        f"1.5 INFO relayfleet.delivery id=A attempt=0 class=Transient {words.format('put-off')}",
        f"2.5 INFO relayfleet.delivery id=B attempt=0 class=Transient {words.format('given-back')}",
        "2.6 WARNING relayfleet.relay.delivery.worker id=B attempt=0 handed back: it is with others",
        f"3.5 INFO relayfleet.delivery id=C attempt=0 class=Uncertain {words.format('doubtful')}",
        f"4.5 INFO relayfleet.delivery id=D attempt=0 class=Delivered {words.format('fine')}",
        "4.6 INFO relayfleet.relay.main relay of pool x serves on {}",
    ]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    found = told({VICTIM: tmp_path / "log"})
    assert found.uncertain == {"doubtful"}
    assert {name: its for name, its in found.deferred.items() if its} == {"put-off": [(1.5, VICTIM)]}


def test_steps_are_sorted_by_id_and_time() -> None:
    first, second, other = rcpt(1), dot(2), Step("b", "rcpt", 0, OTHER)
    assert by_id([second, other, first]) == {"a": [first, second], "b": [other]}
