"""What a relay states of recipients that a rule purged, as the others read it."""

from __future__ import annotations

import pytest

from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import ClaimRefusedError, Seen, SpoolUnavailable
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode, encode
from relayfleet.relay.spool.rabbitmq.ledger import Ledger
from relayfleet.relay.spool.record import Recipient, Record
from tests.fakes.spool import MemoryHeld, MemorySpool

RECORD = Record("ID", "a@sender.test", (Recipient("b@one.test"), Recipient("c@two.test")), b"", attempt=4, part="h3")


def hold() -> MemoryHeld:
    spool = MemorySpool()
    held = MemoryHeld(spool, RECORD)
    spool.held.append(held)
    return held


def journal() -> RabbitMQJournal:
    return RabbitMQJournal(Broker(()), lambda: ("", ""))


async def test_a_purge_is_an_entry_that_ends_each_copy_and_those_that_come_of_it() -> None:
    subject, stated = journal(), list[Entry]()

    async def state(entry: Entry) -> float:
        stated.append(entry)
        return 0.0

    subject._statements.state = state  # type: ignore[method-assign]
    await subject.purge(hold(), ("b@one.test",), "wrong-campaign")
    assert [(each.kind, each.rule) for each in stated] == [("purge", "wrong-campaign")]
    ledger = Ledger()
    for entry in decode(encode(stated)):
        ledger.apply(entry, now=0.0)
    addresses = [each.address for each in RECORD.recipients]
    purged = Seen(delivered=frozenset({"b@one.test"}))
    assert ledger.seen(RECORD.key, addresses) == purged
    assert ledger.seen("ID.5h3", addresses) == purged


async def test_what_is_with_others_is_not_purged() -> None:
    held = hold()
    held.spool.lose_connection()
    with pytest.raises(ClaimRefusedError):
        await journal().purge(held, ("b@one.test",), "wrong-campaign")


async def test_a_journal_that_cannot_be_written_says_so() -> None:
    with pytest.raises(SpoolUnavailable):
        await journal().purge(hold(), ("b@one.test",), "wrong-campaign")
