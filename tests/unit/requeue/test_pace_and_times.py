"""How fast waiting mail is looked through, and since when it waits."""

from __future__ import annotations

import pytest

from relayfleet.relay.spool.rabbitmq.requeue.pace import Pace
from relayfleet.relay.spool.rabbitmq.requeue.times import may_be_tried_at, put_off_between
from relayfleet.relay.spool.record import Record


@pytest.mark.parametrize(
    ("size", "moved", "most"), [(0, False, 2000), (0, True, 400), (16 * 1024**2, False, 2), (1024**2, False, 31)]
)
def test_so_many_mails_a_second(size: int, moved: bool, most: int) -> None:
    pace, now, mails = Pace(0.0), 0.0, 0
    while now < 10:
        now += pace.wait(now) + 1e-9
        pace.look(size)
        if moved:
            pace.move()
        mails += 1
    assert most * 10 <= mails <= most * 10.5 + 1


def test_a_pause_saves_up_no_more_than_a_tenth_of_a_second() -> None:
    pace = Pace(0.0)
    assert pace.wait(1000.0) == 0.0
    for _ in range(201):
        pace.look(0)
    assert pace.wait(1000.0) > 0


def test_a_record_says_since_when_it_waits() -> None:
    record = Record("A", "", (), b"", next_at=1000.0, deferred_at=300.0)
    assert put_off_between(record, 960, 600) == (300.0, 300.0)
    assert may_be_tried_at(record, 300.0) == 0.0
    uncertain = Record("A", "", (), b"", next_at=1000.0, deferred_at=300.0, earliest_at=900.0)
    assert may_be_tried_at(uncertain, 300.0) == 900.0


def test_one_of_an_older_relay_has_waited_for_no_longer_than_its_rung_and_for_longer_than_the_one_below() -> None:
    record = Record("A", "", (), b"", next_at=1000.0)
    assert put_off_between(record, 960, 600) == (40.0, 400.0)
    assert may_be_tried_at(record, 400.0) == 1000.0
