"""Of two relays with copies of one record exactly one may send it, and whoever comes later learns what happened."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relayfleet.relay.spool.interface import ClaimRefusedError, Seen, SpoolError, SpoolUnavailable
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal
from relayfleet.relay.spool.record import Record
from tests.fakes.spool import MemoryHeld, MemorySpool
from tests.relay.rabbitmq.cluster import PASSWORD, USERNAME, Cluster
from tests.relay.spool.support import new_prefix, new_record, until

pytestmark = pytest.mark.broker

TO = ("b@example.org",)


def hold(record: Record) -> MemoryHeld:
    """The record in the hands of a relay."""
    spool = MemorySpool()
    held = MemoryHeld(spool, record)
    spool.held.append(held)
    return held


@asynccontextmanager
async def journal(cluster: Cluster, prefix: str, name: str = "relay") -> AsyncIterator[RabbitMQJournal]:
    opened = RabbitMQJournal(cluster.broker(prefix), lambda: (USERNAME, PASSWORD), cluster.ca_file, name=name)
    opened.start()
    try:
        await until(lambda: not opened.why_not, 30, lambda: opened.why_not)
        yield opened
    finally:
        await opened.close()


async def told(reader: RabbitMQJournal, record: Record, expected: Seen) -> None:
    """Wait until the reader says that; it reads a moment behind the writer."""
    deadline = time.monotonic() + 10
    while (found := await reader.seen(record)) != expected:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)


async def test_what_one_relay_states_the_others_learn(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        held = hold(new_record())
        assert await two.seen(held.record) == Seen()
        claim = await one.claim(held, TO, "eu-1", "mx.example.org")
        assert claim.asked_at <= time.monotonic()
        await told(two, held.record, Seen(uncertain=frozenset(TO), elsewhere=frozenset(TO)))
        await one.outcome(held, TO, True, "250 ok")
        await told(two, held.record, Seen(delivered=frozenset(TO)))
        with pytest.raises(ClaimRefusedError):
            await two.claim(hold(held.record), TO, "eu-2", "mx.example.org")


async def test_of_relays_that_claim_the_same_copy_at_once_exactly_one_is_granted(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        for _ in range(30):
            record = new_record()
            claims = (each.claim(hold(record), TO, "eu-1", "mx.example.org") for each in (one, two))
            found = await asyncio.gather(*claims, return_exceptions=True)
            refused = [each for each in found if isinstance(each, ClaimRefusedError)]
            assert len(refused) == 1, found


async def test_a_copy_that_was_deferred_learns_that_its_twin_was_delivered(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        held = hold(new_record())
        successor = dataclasses.replace(held.record, attempt=held.record.attempt + 1)
        await one.claim(held, TO, "eu-1", "mx.example.org")
        assert await two.seen(successor) == Seen()
        await one.outcome(held, TO, True, "250 ok")
        await told(two, successor, Seen(delivered=frozenset(TO)))


async def test_what_one_relay_purged_no_other_sends_a_copy_of(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        held = hold(new_record())
        await one.purge(held, TO, "wrong-campaign")
        await told(two, held.record, Seen(delivered=frozenset(TO)))
        with pytest.raises(ClaimRefusedError):
            await two.claim(hold(held.record), TO, "eu-2", "mx.example.org")


async def test_after_a_refusal_by_the_peer_another_relay_may_claim(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        held = hold(new_record())
        await one.claim(held, TO, "eu-1", "mx.example.org")
        await one.outcome(held, TO, False, "451 later")
        await two.claim(hold(held.record), TO, "eu-2", "mx.example.org")
        await told(two, held.record, Seen(uncertain=frozenset(TO)))


async def test_what_one_relay_has_put_off_another_does_not_send_under_the_same_name(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        held = hold(new_record())
        one.settled(held, TO)
        await told(two, held.record, Seen(settled=frozenset(TO)))
        with pytest.raises(ClaimRefusedError):
            await two.claim(hold(held.record), TO, "eu-2", "mx.example.org")
        later = dataclasses.replace(held.record, attempt=held.record.attempt + 1)
        await two.claim(hold(later), TO, "eu-2", "mx.example.org")


async def test_a_claim_without_a_dot_is_withdrawn_and_another_relay_may_claim(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        held = hold(new_record())
        early = await one.claim(held, TO, "eu-1", "mx.example.org")
        late = await one.claim(held, TO, "eu-1", "mx.example.org")
        one.withdraw(held, TO, early)
        await one.claim(hold(new_record()), TO, "eu-1", "mx.example.org")
        await asyncio.sleep(1)
        await told(two, held.record, Seen(uncertain=frozenset(TO), elsewhere=frozenset(TO)))
        one.withdraw(held, TO, late)
        await told(two, held.record, Seen())
        await two.claim(hold(held.record), TO, "eu-2", "mx.example.org")


async def test_a_claim_whose_record_went_to_others_meanwhile_is_withdrawn(rabbitmq: Cluster) -> None:
    """The relay's connection to the queue breaks while it claims: nobody waits ten minutes for a dot that never comes."""
    prefix = new_prefix()
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        held = hold(new_record())
        asked = asyncio.create_task(one.claim(held, TO, "eu-1", "mx.example.org"))
        await asyncio.sleep(0)
        held.spool.lose_connection()
        with pytest.raises(ClaimRefusedError, match="while claiming"):
            await asked
        async with asyncio.timeout(10):
            while True:
                try:
                    await two.claim(hold(held.record), TO, "eu-2", "mx.example.org")
                except ClaimRefusedError:
                    continue  # the withdrawal is still under way
                break


async def test_a_relay_that_starts_later_knows_what_was_said_before(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    held = hold(new_record())
    async with journal(rabbitmq, prefix) as first:
        await asyncio.gather(*(first.claim(hold(new_record()), TO, "eu-1", "mx.example.org") for _ in range(500)))
        await first.claim(held, TO, "eu-1", "mx.example.org")
        await first.outcome(held, TO, True, "250 ok")
    async with journal(rabbitmq, prefix) as second:
        assert await second.seen(held.record) == Seen(delivered=frozenset(TO))


async def test_a_record_that_is_with_others_is_not_claimed(rabbitmq: Cluster) -> None:
    async with journal(rabbitmq, new_prefix()) as one:
        held = hold(new_record())
        held.spool.lose_connection()
        with pytest.raises(ClaimRefusedError, match="with others"):
            await one.claim(held, TO, "eu-1", "mx.example.org")


async def test_without_a_broker_every_question_ends_in_time(rabbitmq: Cluster) -> None:
    opened = RabbitMQJournal(rabbitmq.broker(new_prefix()), lambda: (USERNAME, "wrong"), rabbitmq.ca_file)
    opened.start()
    held = hold(new_record())
    began = time.monotonic()
    for question in (opened.seen(held.record), opened.claim(held, TO, "", ""), opened.outcome(held, TO, True, "")):
        with pytest.raises(SpoolUnavailable):
            await question
    assert time.monotonic() - began < 20
    await until(lambda: "wrong password" in opened.why_not, 10, lambda: opened.why_not)
    await opened.close()


@pytest.mark.timeout(120)
async def test_a_stream_that_was_cut_back_is_read_anew_and_what_was_known_stays_known(rabbitmq: Cluster) -> None:
    """Lost and made anew it gives its offsets out again, as it does after all brokers have lost their power. Both relays are far behind its end then."""
    prefix, early, late = new_prefix(), hold(new_record()), hold(new_record())
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        for held in (*(hold(new_record()) for _ in range(200)), early):
            await one.claim(held, TO, "eu-1", "mx.example.org")
            await one.outcome(held, TO, True, "250 ok")
        await told(two, early.record, Seen(delivered=frozenset(TO)))
        await asyncio.to_thread(rabbitmq.control, 1, "delete_queue", f"{prefix}.v1.journal")
        for each in (one, two):
            await until(lambda each=each: bool(each.why_not), 20)  # type: ignore[misc]
        for each in (one, two):
            await until(lambda each=each: not each.why_not, 40, lambda each=each: each.why_not)  # type: ignore[misc]
        await one.claim(late, TO, "eu-1", "mx.example.org")
        await one.outcome(late, TO, True, "250 ok")
        for held in (early, late):
            await told(two, held.record, Seen(delivered=frozenset(TO)))


@pytest.mark.timeout(120)
async def test_who_resumes_at_a_stream_that_goes_on_does_not_read_it_again(
    rabbitmq: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    prefix, before, after = new_prefix(), hold(new_record()), hold(new_record())
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:
        for held in (*(hold(new_record()) for _ in range(20)), before):
            await one.claim(held, TO, "eu-1", "mx.example.org")
        await told(two, before.record, Seen(uncertain=frozenset(TO), elsewhere=frozenset(TO)))
        two._links[1].begin_again("the test says so")
        await until(lambda: bool(two.why_not), 20)
        await until(lambda: not two.why_not, 40, lambda: two.why_not)
        await one.outcome(before, TO, True, "250 ok")
        await one.claim(after, TO, "eu-1", "mx.example.org")
        await told(two, before.record, Seen(delivered=frozenset(TO)))
        await told(two, after.record, Seen(uncertain=frozenset(TO), elsewhere=frozenset(TO)))
    assert "cut back" not in caplog.text


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_claims_go_on_when_the_streams_leader_is_gone_and_nothing_stated_is_forgotten(
    rabbitmq: Cluster, fault: str
) -> None:
    prefix = new_prefix()
    stated: list[Record] = []
    times = [time.monotonic()]
    async with journal(rabbitmq, prefix, "one") as one, journal(rabbitmq, prefix, "two") as two:

        async def work() -> None:
            while True:
                held = hold(new_record())
                try:
                    await one.claim(held, TO, "eu-1", "mx.example.org")
                    await one.outcome(held, TO, True, "250 ok")
                except SpoolError:
                    await asyncio.sleep(0.05)
                    continue
                stated.append(held.record)
                times.append(time.monotonic())

        workers = [asyncio.create_task(work()) for _ in range(5)]
        await until(lambda: len(stated) > 100, 20)
        assert rabbitmq.leader(f"{prefix}.v1.journal", ask=1) == 3
        await asyncio.to_thread(rabbitmq.kill if fault == "killed" else rabbitmq.freeze, 3)
        before = len(stated)
        # Less than a peer's patience with a transaction that waits for its claim, so that none is deferred.
        await until(lambda: len(stated) > before + 300, 30, lambda: one.why_not)
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        pause = max(later - earlier for earlier, later in itertools.pairwise(times))
        print(f"stream leader {fault}: longest pause of claims {pause:.2f} s")
        rabbitmq.mend()
        await rabbitmq.healthy()
        for record in stated:
            await told(two, record, Seen(delivered=frozenset(TO)))
