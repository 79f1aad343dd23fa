"""Which counts of credentials are said: each change, and none of them is kept from it by others."""

from __future__ import annotations

from relayfleet.protocol.telemetry import MOST_USAGES, Usage
from relayfleet.protocol.usage import Unsaid


def said(unsaid: Unsaid, day: int, *rows: Usage) -> list[Usage]:
    picked = unsaid.pick(day, rows)
    unsaid.say(day, picked)
    return list(picked)


def test_what_has_changed_is_said_once_and_what_is_not_said_is_picked_again() -> None:
    unsaid = Unsaid()
    ann, bob = Usage("ann", 0), Usage("bob", 3)
    assert unsaid.pick(1, [ann, bob]) == unsaid.pick(1, [ann, bob]) == (ann, bob)
    assert said(unsaid, 1, ann, bob) == [ann, bob]
    assert said(unsaid, 1, ann, bob) == []
    assert said(unsaid, 1, Usage("ann", 1), bob) == [Usage("ann", 1)]


def test_on_a_new_day_all_is_said() -> None:
    unsaid = Unsaid()
    assert said(unsaid, 1, Usage("ann", 0))
    assert said(unsaid, 2, Usage("ann", 0))


def test_rows_that_change_all_the_time_keep_no_others_from_being_said() -> None:
    unsaid, heard = Unsaid(), set()
    for turn in range(4):
        rows = [Usage(f"c{number}", turn) for number in range(3 * MOST_USAGES + 1)]
        picked = said(unsaid, 1, *rows)
        assert len(picked) == MOST_USAGES
        heard |= {row.credential for row in picked}
    assert len(heard) == 3 * MOST_USAGES + 1
