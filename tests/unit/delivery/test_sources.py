"""From which address a mail leaves: in turn, only those that this machine has, and the same again after greylisting."""

from __future__ import annotations

from collections import Counter

from relayfleet.protocol.relay_config import Source
from relayfleet.relay.delivery.sources import RECHECK_SECONDS, SourcesInTurn, family_of
from relayfleet.relay.spool.record import Record

HERE = [Source(f"eu-{number}", f"192.0.2.{number}", "eu.test", f"127.0.0.{number}") for number in (1, 2, 3)]
ELSEWHERE = Source("us-1", "198.51.100.1", "us.test", "198.18.77.77")
RECORD = Record("ID", "a@b.test", (), b"")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def names(chooser: SourcesInTurn, count: int, record: Record = RECORD) -> Counter[str]:
    chosen = (chooser.choose(record, ("mx.test",)) for _ in range(count))
    return Counter(each.name for each in chosen if each is not None)


def test_sources_take_turns() -> None:
    assert names(SourcesInTurn(HERE), 30) == {"eu-1": 10, "eu-2": 10, "eu-3": 10}


def test_a_source_whose_address_is_not_here_is_passed_over_and_named() -> None:
    chooser = SourcesInTurn([ELSEWHERE, *HERE])
    assert names(chooser, 30) == {"eu-1": 10, "eu-2": 10, "eu-3": 10} or "us-1" not in names(chooser, 30)
    assert chooser.unusable() == ("us-1",)


def test_no_usable_source_is_none_not_the_pods_own_address() -> None:
    assert SourcesInTurn([ELSEWHERE]).choose(RECORD, ()) is None


def test_without_sources_nothing_is_sent() -> None:
    assert SourcesInTurn([]).choose(RECORD, ()) is None


def test_a_greylisted_record_keeps_its_source_while_it_is_usable() -> None:
    kept = Record("ID", "a@b.test", (), b"", last_source="eu-2")
    assert names(SourcesInTurn(HERE), 9, kept) == {"eu-2": 9}
    lost = Record("ID", "a@b.test", (), b"", last_source="us-1")
    assert "us-1" not in names(SourcesInTurn([ELSEWHERE, *HERE]), 9, lost)


def test_a_source_that_failed_is_looked_at_again_at_once_and_then_now_and_then() -> None:
    clock = Clock()
    moving = Source("eu-1", "192.0.2.1", "eu.test", "127.0.0.1")
    chooser = SourcesInTurn([moving], clock)
    assert chooser.choose(RECORD, ()) is moving
    gone = Source("eu-1", "192.0.2.1", "eu.test", "198.18.77.77")
    chooser.reload([gone])
    assert chooser.choose(RECORD, ()) is None
    clock.now += RECHECK_SECONDS + 1
    assert chooser.choose(RECORD, ()) is None
    chooser.reload([moving])
    assert chooser.choose(RECORD, ()) is moving


def test_the_family_of_a_source_is_that_of_the_address_it_binds() -> None:
    assert family_of(HERE[0]) == 4
    assert family_of(Source("six", "2001:db8::1", "six.test")) == 6
    assert family_of(Source("nat", "2001:db8::1", "nat.test", "10.0.0.1")) == 4
    assert family_of(Source("pod", "", "pod.test")) is None
