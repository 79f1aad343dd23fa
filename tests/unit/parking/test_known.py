"""When a destination counts as down: never by one failure, never while nothing else is reached either, never after somebody was there a moment ago."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.parking.known import (
    EVERY,
    FRESH,
    GOOD,
    HOLDS,
    MOST,
    MOST_REACHED,
    SPREAD,
    TRIALS,
    UP,
    WANTED,
    Known,
)
from relayfleet.relay.spool.places import LOOKED_AT_SECONDS
from relayfleet.relay.spool.rabbitmq.topology import LANE_SECONDS, LOOK_SECONDS

HERE, ELSEWHERE = ("mx.a.test", "mx.b.test"), ("mx.else.test",)
WHY = "no answer"


class Clock:
    """One relay's knowledge as time goes by, a second at a time. `alive`: another destination is reached all the time; `silent`: each trial reaches nobody. `trials`: when."""

    def __init__(self, *, alive: bool = True, silent: bool = True, sources: int = 1) -> None:
        self.known, self.now, self.alive, self.is_silent, self.sources = Known(), 1000.0, alive, silent, sources
        self.trials: list[float] = []
        self.found_at = self.up_at = 0.0

    def miss(self) -> None:
        self.known.missed(HERE, WHY, self.now)

    def is_dead(self) -> bool:
        return self.known.is_dead(HERE, self.now)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 1.0
            if self.alive:
                self.known.reached(ELSEWHERE, self.now)
            for destination, _ in self.known.due(self.now, 0.5):
                assert destination == HERE
                self.trials.append(self.now)
                self._tried()

    def _tried(self) -> None:
        if self.is_silent:
            if self.known.silent(HERE, WHY, self.now, self.now, self.sources):
                self.found_at = self.now
        elif self.known.reached(HERE, self.now):
            self.up_at = self.now


def died(**how: bool) -> Clock:
    """Somebody found it dead."""
    clock = Clock(**how)
    clock.miss()
    clock.run((TRIALS + 1) * (EVERY + SPREAD))
    assert clock.is_dead()
    return clock


def test_it_takes_minutes_and_several_trials_until_it_is_dead() -> None:
    clock = Clock()
    clock.miss()
    clock.run(EVERY - 1)
    assert (clock.is_dead(), clock.trials) == (False, [])
    clock.run(TRIALS * (EVERY + SPREAD))
    assert clock.is_dead()
    assert clock.found_at - 1000 >= TRIALS * EVERY


def test_it_is_tried_about_once_a_minute_from_then_on() -> None:
    clock = died()
    before = len(clock.trials)
    clock.run(600)
    assert 600 / (EVERY + SPREAD) - 1 <= len(clock.trials) - before <= 600 / EVERY + 1
    assert clock.is_dead()


def test_with_many_sources_each_has_its_turn_before() -> None:
    clock = Clock(sources=7)
    clock.miss()
    clock.run(6 * (EVERY + SPREAD))
    assert not clock.is_dead()
    clock.run(3 * (EVERY + SPREAD))
    assert clock.is_dead()
    assert len(clock.trials) >= 7


def test_nobody_is_dead_while_nothing_else_is_reached_either() -> None:
    clock = Clock(alive=False)
    clock.miss()
    clock.run(1700)
    assert len(clock.trials) > TRIALS
    assert not clock.is_dead()


def test_a_network_of_ours_that_fails_with_the_first_miss_makes_nobody_dead() -> None:
    """The last that was reached elsewhere speaks for one trial at most."""
    clock = Clock()
    clock.run(30)
    clock.miss()
    clock.run(EVERY - 1)
    clock.alive = False
    clock.run(1500)
    assert not clock.is_dead()


def test_a_destination_does_not_speak_for_itself() -> None:
    known = Known()
    known.missed(HERE, WHY, 0.0)
    for minute in range(1, 9):
        assert known.due(minute * 70.0, 0.0)
        assert not known.silent(HERE, WHY, minute * 70.0, minute * 70.0 + 1, 1)
    assert not known.is_dead(HERE, 600.0)


def test_any_answer_ends_the_suspicion() -> None:
    clock = Clock()
    clock.miss()
    clock.run(TRIALS * EVERY)
    assert not clock.known.reached(HERE, clock.now), "nobody need hear of it"
    clock.run(1000)
    assert (clock.is_dead(), len(clock.trials)) == (False, TRIALS - 1)


def test_a_trial_that_is_answered_says_up_and_its_mail_is_released_for_as_long_as_it_may_lie() -> None:
    clock = died()
    assert clock.known.up(clock.now) == {}
    clock.is_silent = False
    clock.run(EVERY + SPREAD + 1)
    assert (clock.is_dead(), clock.up_at > 0) == (False, True)
    assert clock.known.up(clock.now) == {HERE: clock.up_at}
    clock.run(UP)
    assert clock.known.up(clock.now) == {}


def test_any_mail_that_gets_through_says_up_too() -> None:
    clock = died()
    assert clock.known.reached(HERE, clock.now)
    assert not clock.is_dead()
    assert not clock.known.reached(HERE, clock.now), "said once"


def test_a_release_stops_at_the_first_mail_that_reaches_nobody_and_goes_on_when_somebody_is_there() -> None:
    clock = died()
    clock.known.reached(HERE, clock.now)
    clock.miss()
    assert not clock.known.is_up(HERE, clock.now)
    clock.known.reached(HERE, clock.now)
    assert clock.known.is_up(HERE, clock.now)


def test_after_it_was_up_it_is_not_dead_again_for_a_while_so_relays_that_disagree_do_not_take_turns() -> None:
    clock = died()
    clock.known.reached(HERE, clock.now)
    up = clock.now
    clock.miss()
    clock.run(HOLDS - 1)
    assert not clock.is_dead()
    clock.run(2 * (EVERY + SPREAD))
    assert clock.is_dead()
    assert clock.found_at - up >= HOLDS


def test_a_word_of_another_relay_counts_until_nobody_repeats_it() -> None:
    known = Known()
    assert not known.heard(HERE, WHY, 0.0, dead=True, chance=0.0)
    assert (known.is_dead(HERE, GOOD - 1), known.is_dead(HERE, GOOD)) == (True, False)
    assert known.due(GOOD - 1, 0.0) == [], "who has no mail for it leaves trials to others"
    assert known.due(GOOD, 0.0) == []
    assert not known._states, "and it is forgotten"


def test_who_has_parked_a_mail_takes_his_turn_when_nobody_else_was_first() -> None:
    known = Known()
    known.heard(HERE, WHY, 0.0, dead=True, chance=0.0)
    known.parked(HERE, 1.0)
    assert known.due(EVERY - 1, 0.0) == []
    known.put_off(HERE, EVERY - 1, 0.0)
    assert known.due(EVERY + 1, 0.0) == []
    assert known.due(2 * EVERY, 0.0) == [(HERE, 1)]
    now = 2 * EVERY
    while known._states:
        for each, _ in known.due(now, 0.0):
            known.silent(each, WHY, now, now, 1)
        now += 30.0
        assert now < 2 * WANTED, "it goes on for ever"


def test_trials_that_show_nothing_and_those_that_others_begin_make_nobody_dead_for_longer() -> None:
    """Its records are gone, say: the mail must hear that from DNS."""
    clock = died()
    clock.known.parked(HERE, clock.now)
    tried = 0
    for _ in range(int(GOOD)):
        clock.now += 1.0
        tried += len(clock.known.due(clock.now, 0.5))
    clock.known.put_off(HERE, clock.now - 1, 0.5)
    assert tried > 1
    assert not clock.is_dead()
    assert not clock.known.any_dead(clock.now)


def test_a_word_that_another_relay_tries_it_says_nothing_of_it() -> None:
    known = Known()
    known.put_off(HERE, 0.0, 0.0)
    assert not known._states
    known.missed(HERE, WHY, 0.0)
    known.put_off(HERE, EVERY - 1, 0.0)
    assert known.due(EVERY, 0.0) == [(HERE, 1)], "a suspicion is each relay's own"


def test_a_trial_that_takes_longer_than_a_word_lasts_keeps_it_dead_unless_somebody_was_reached_meanwhile() -> None:
    for reached in (False, True):
        clock = died()
        while not (begun := clock.known.due(clock.now, 0.0)):
            clock.now += 1.0
        began, clock.now = clock.now, clock.now + GOOD + 20
        assert clock.known.due(clock.now, 0.0, running=[HERE]) == []
        assert (len(begun), clock.is_dead()) == (1, False)
        if reached:
            clock.known.reached(HERE, clock.now - 1)
        assert not clock.known.silent(HERE, WHY, began, clock.now, 1)
        assert clock.is_dead() is not reached


def test_only_trials_that_begin_are_counted_so_all_sources_have_their_turn() -> None:
    known, now, numbers = Known(), 0.0, list[int]()
    known.missed(HERE, WHY, now)
    while now < 600:
        now += 1.0
        numbers += [number for _, number in known.due(now, 0.0, running=[HERE] if now % 121 else [])]
    assert numbers == [1, 2, 3, 4]


def test_whether_any_is_dead_is_never_wrongly_denied() -> None:
    clock = Clock()
    clock.miss()
    clock.run(EVERY)
    assert not clock.known.any_dead(clock.now), "a suspicion is none"
    clock = died()
    assert clock.known.any_dead(clock.now)
    known = Known()
    known.heard(HERE, WHY, 5.0, dead=True, chance=0.0)
    assert (known.any_dead(6.0), known.any_dead(5.0 + GOOD)) == (True, False)


def test_what_is_parked_is_looked_at_as_soon_as_the_delivery_counts_with() -> None:
    assert LANE_SECONDS + LOOK_SECONDS <= LOOKED_AT_SECONDS


def test_who_was_there_a_moment_ago_knows_better() -> None:
    known = Known()
    known.reached(HERE, 0.0)
    assert known.heard(HERE, WHY, FRESH - 1, dead=True, chance=0.0)
    assert not known.is_dead(HERE, FRESH - 1)
    assert not known.heard(HERE, WHY, FRESH + 1, dead=True, chance=0.0)
    assert known.is_dead(HERE, FRESH + 1)


def test_who_was_there_until_it_died_believes_the_one_who_found_it() -> None:
    """All relays of a busy destination reached it a moment before its end; were they to contradict, nobody would park its mail for ten minutes more."""
    clock, other = Clock(), Known()
    clock.known.reached(HERE, clock.now)
    other.reached(HERE, clock.now)
    clock.miss()
    other.missed(HERE, WHY, clock.now)
    clock.run((TRIALS + 1) * (EVERY + SPREAD))
    assert clock.is_dead()
    assert not other.heard(HERE, WHY, clock.found_at, dead=True, chance=0.0)
    assert other.is_dead(HERE, clock.found_at)


def test_up_is_believed_whoever_says_it() -> None:
    clock = died()
    clock.known.heard(HERE, "", clock.now, dead=False, chance=0.0)
    assert not clock.is_dead()
    assert clock.known.is_up(HERE, clock.now)
    stranger = Known()
    stranger.heard(HERE, "", 5.0, dead=False, chance=0.0)
    assert stranger.up(6.0) == {HERE: 5.0}, "it may be the one who releases"


def test_what_is_remembered_is_bounded_and_what_is_too_much_is_tried_by_its_retries() -> None:
    known = Known()
    for number in range(3 * MOST_REACHED):
        known.missed((f"mx.{number}.test",), WHY, 0.0)
        known.heard((f"mx.w{number}.test",), WHY, 0.0, dead=True, chance=0.0)
        known.reached((f"mx.r{number}.test",), 0.0)
    assert (len(known._states), len(known._reached)) == (MOST, MOST_REACHED)
    assert len(known.due(EVERY + SPREAD, 0.0)) <= MOST
    assert known.due(10 * WANTED, 0.0) == []
    assert not known._states


STEPS = st.lists(
    st.tuples(st.sampled_from(["miss", "reach", "other", "dead", "up", "park", "silent"]), st.floats(0.0, 120.0)),
    max_size=150,
)


@given(STEPS)
def test_nobody_is_found_dead_without_trials_others_that_were_reached_and_time(
    steps: Sequence[tuple[str, float]],
) -> None:
    """Whatever happens in which order: between the last time that somebody was there, here or by the word of another relay, and the finding lie the trials, a minute apart, and before each of
    them somebody else was reached."""
    known, now, others, trials = Known(), 0.0, [-1e9], list[float]()
    answered = -1e9
    for what, wait in steps:
        now += wait
        if what == "miss":
            known.missed(HERE, WHY, now)
        elif what == "reach":
            known.reached(HERE, now)
            answered, trials = now, []
        elif what == "other":
            known.reached(ELSEWHERE, now)
            others.append(now)
        elif what == "dead":
            assert known.heard(HERE, WHY, now, dead=True, chance=0.0) is (now - answered < FRESH)
        elif what == "up":
            known.heard(HERE, "", now, dead=False, chance=0.0)
            trials = []
        elif what == "park":
            known.parked(HERE, now)
        for _ in known.due(now, 0.0):
            was_dead = known.is_dead(HERE, now)
            found = known.silent(HERE, WHY, now, now, 1)
            if now - max(others) <= EVERY:
                trials.append(now)
            assert not (found and was_dead)
            if found:
                assert len(trials) >= TRIALS
                assert trials[-1] - trials[-TRIALS] >= (TRIALS - 1) * EVERY
                assert answered < trials[-TRIALS]
        assert not (known.is_dead(HERE, now) and known.is_up(HERE, now))


@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_two_trials_are_never_closer_than_a_minute(chance: float) -> None:
    known = Known()
    known.missed(HERE, WHY, 0.0)
    known.heard(HERE, WHY, 0.0, dead=True, chance=chance)
    times = []
    for tick in range(4000):
        now = tick * 0.25
        times += [now for _ in known.due(now, chance)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps
    assert min(gaps) >= EVERY
    assert max(gaps) <= EVERY + SPREAD + 0.25
