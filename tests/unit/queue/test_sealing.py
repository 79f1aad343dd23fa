"""Sealing keys over months: made once, known before they are used, kept after, restored, and never replaced."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.decide.queue.sealing import KEEP, LEAST, SPREAD, Decision, Key, Step, decide, lost

MONTH = 720 * 3600
NOW = 1_790_000_000
OLD, NEXT = Key("old", NOW - 2 * MONTH, NOW - 2 * MONTH), Key("next", NOW - SPREAD, None)


def decided(
    found: tuple[Key, ...] | None, remembered: tuple[Key, ...] | None = None, *, begun: bool = True, now: int = NOW
) -> Decision:
    return decide(found, remembered, begun=begun, now=now, every=MONTH, fresh="fresh")


def test_a_new_queue_gets_a_key_that_seals_at_once() -> None:
    assert decided(None, begun=False) == Decision(Step.WRITE, (Key("fresh", NOW, NOW),))


def test_keys_that_nobody_remembers_are_lost_and_never_made_anew() -> None:
    assert decided(None) == Decision(Step.LOST)


def test_an_empty_secret_is_a_persons_word_that_the_old_keys_are_given_up() -> None:
    assert decided(()).keys == (Key("fresh", NOW, NOW),)


def test_deleted_keys_are_restored_by_a_leader_that_read_them() -> None:
    young = Key("young", NOW - 10, NOW - 10)
    for found in (None, ()):
        assert decided(found, (young,)) == Decision(Step.WRITE, (young,))


def test_a_backup_that_is_restored_takes_away_no_newer_key() -> None:
    newer = Key("newer", NOW - 10, NOW - 5)
    assert decided((OLD,), (OLD, newer)) == Decision(Step.WRITE, (OLD, newer))


def test_a_key_that_is_in_use_stays_so_when_an_older_document_comes_back() -> None:
    used = Key("used", NOW - 10, NOW - 5)
    assert decided((OLD, replace(used, since=None)), (OLD, used)).keys == (OLD, used)


def test_a_young_key_is_kept_as_it_is() -> None:
    young = Key("young", NOW - MONTH + 1, NOW - MONTH + 1)
    assert decided((young,)) == Decision(Step.KEEP, (young,))


def test_an_old_key_gets_a_successor_that_does_not_seal_yet() -> None:
    assert decided((OLD,)).keys == (OLD, Key("fresh", NOW))


def test_a_successor_seals_when_all_relays_have_had_the_time_to_read_it() -> None:
    assert decided((OLD, NEXT), now=NOW - 1).step is Step.KEEP
    assert decided((OLD, NEXT)).keys == (OLD, replace(NEXT, since=NOW))


def test_the_oldest_of_many_goes_when_nothing_can_be_sealed_by_it_any_more() -> None:
    keys = tuple(Key(str(n), NOW - (20 - n) * MONTH, NOW - (20 - n) * MONTH) for n in range(20))
    left = decided((*keys, NEXT)).keys
    assert set(keys) - set(left) == {keys[0]}
    few = keys[: LEAST - 1]
    assert set(few) <= set(decided((*few, NEXT)).keys)


def test_a_clock_that_is_wrong_by_years_takes_the_oldest_key_at_most() -> None:
    keys = tuple(Key(f"k{n:02}", NOW - (20 - n) * MONTH, NOW - (20 - n) * MONTH) for n in range(20))
    left, wrong = keys, NOW + 10 * 12 * MONTH
    for look in range(3000):  # two hours of them
        left = decide(left, None, begun=True, now=wrong + 2 * look, every=MONTH, fresh=f"new{look}").keys
    assert set(keys) - set(left) == {keys[0]}


def test_the_message_says_what_to_do() -> None:
    assert "Secret mail-sealing" in lost("mail-sealing")
    assert "Restore it from a backup" in lost("mail-sealing")


@given(st.lists(st.integers(2, 40 * 24 * 3600), max_size=60), st.integers(24 * 3600, MONTH))
def test_over_any_months_a_key_seals_only_when_it_was_known_and_opens_as_long_as_a_record_lives(
    pauses: list[int], every: int
) -> None:
    """The relays' view of it: whatever sealed within the last `KEEP` is still there, and whatever seals was there an hour before."""
    numbers, now = itertools.count(), NOW
    keys = decide(None, None, begun=False, now=now, every=every, fresh="first").keys
    seen, sealed_at = {"first": now - SPREAD}, {"first": now}
    for pause in pauses:
        now += pause
        decision = decide(keys, None, begun=True, now=now, every=every, fresh=f"k{next(numbers)}")
        assert decision.step is not Step.LOST
        in_use = [each for each in keys if each.since is not None]
        sealed_at[max(in_use, key=lambda each: each.since or 0).id] = now  # until this moment
        keys = decision.keys
        for each in keys:
            seen.setdefault(each.id, now)
        seals = max((each for each in keys if each.since is not None), key=lambda each: each.since or 0)
        assert now - seen[seals.id] >= SPREAD
        assert {name for name, at in sealed_at.items() if now - at < KEEP} <= {each.id for each in keys}
