"""Mail that lies in provider lanes, and that is moved there: what a receiving server hears of it, once, and what becomes of the record."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from relayfleet.protocol.relay_config import Delivery, DeliveryRule, Retry
from relayfleet.relay.delivery.hands import Share
from relayfleet.relay.spool.interface import Claim, ClaimRefusedError, Held, Seen, SpoolUnavailable
from relayfleet.relay.spool.places import FRONT, LANED, LOOK, NAMED, PLACES
from relayfleet.relay.spool.record import Recipient, Record
from tests.fakes.journal import MemoryJournal
from tests.fakes.peer import Peer, Talk, peer
from tests.fakes.spool import MemoryHeld
from tests.relay.delivery.desk import Desk, a_record, desk, until
from tests.relay.delivery.test_expiry import reports
from tests.relay.delivery.test_rules import rule
from tests.relay.delivery.test_signing import Receiver

HOUR = 3600.0
ZONE = {
    ("one.test", "A"): ["127.0.0.1"],
    ("gmail.test", "MX"): ["10 mx.google.com."],
    ("mx.google.com", "A"): ["127.0.0.1"],
    ("sender.test", "A"): ["127.0.0.1"],
}
GOOGLE = 0


class Holding(Receiver):
    """Answers no RCPT to gmail.test until `goes` is set; `held`: how many of them came."""

    def __init__(self) -> None:
        super().__init__()
        self.goes = asyncio.Event()
        self.held = 0

    async def __call__(self, talk: Talk) -> None:
        hear = talk.hear

        async def heard() -> str:
            line = await hear()
            if line.startswith("RCPT TO:<") and "@gmail.test" in line:
                self.held += 1
                await self.goes.wait()
            return line

        talk.hear = heard  # type: ignore[method-assign]
        await super().__call__(talk)


@asynccontextmanager
async def scene(
    *rules: DeliveryRule,
    uses: bool = True,
    retry: Retry | None = None,
    hands: int = 200,
    receiver: Receiver | None = None,
) -> AsyncIterator[tuple[Desk, Receiver, Peer]]:
    receiver = receiver or Receiver()
    delivery = Delivery(prefetch=hands)
    async with (
        peer(receiver) as running,
        desk(ZONE, running.port, rules=rules, retry=retry, delivery=delivery) as subject,
    ):
        subject.spool.uses_lanes = uses
        yield subject, receiver, running


async def lay(subject: Desk, record: Record, place: int = LOOK, *, ends: int = 1) -> None:
    """Lay a record in a place, and wait until it was settled, moved or handed back so often."""
    subject.spool.queue(place).append((record, False))
    subject.spool.wake()
    await until(lambda: subject.spool.ended[record.key] >= ends)


def moved(subject: Desk) -> int:
    return subject.service.counters.records_moved


@pytest.mark.parametrize("uses", [False, True])
async def test_mail_is_delivered_from_every_place_once(uses: bool) -> None:
    async with scene(uses=uses) as (subject, receiver, _):
        records = [a_record("bob@gmail.test") for _ in (FRONT, *LANED)]
        for each, place in zip(records, (FRONT, *LANED), strict=True):
            await lay(subject, each, place)
        await until(lambda: len(receiver.wire) == len(records))
        await until(lambda: not subject.spool.held)
        assert subject.fates == {"Delivered": len(records)}
        assert moved(subject) == (1 if uses else 0), "what was to be looked at"


async def test_what_has_lain_for_long_goes_to_the_tail_of_its_lane_unclaimed_and_as_it_was() -> None:
    receiver = Holding()
    async with scene(receiver=receiver) as (subject, _, _):
        record = a_record("bob@gmail.test", attempt=3)
        await lay(subject, record)
        await until(lambda: receiver.held == 1)
        (held,) = subject.spool.held
        assert (held.record, held.place, moved(subject)) == (record, GOOGLE, 1)
        receiver.goes.set()
        await until(lambda: subject.fates == {"Delivered": 1})
        assert [each[0] for each in subject.journal.claims] == [record.key], "one claim, and none for the move"


async def test_a_pool_whose_lanes_cannot_take_it_now_delivers_from_where_it_is() -> None:
    async with scene(uses=False) as (subject, receiver, _):
        await lay(subject, a_record("bob@gmail.test"))
        assert (subject.fates, moved(subject), len(receiver.wire)) == ({"Delivered": 1}, 0, 1)


@pytest.mark.parametrize(("action", "fate"), [("Hold", "Held"), ("Purge", "Purged"), ("Bounce", "Permanent")])
async def test_what_a_rule_means_is_not_moved_but_ruled(action: str, fate: str) -> None:
    async with scene(rule(action, recipientDomain="gmail.test")) as (subject, _, _):
        record = a_record("bob@gmail.test")
        await lay(subject, record)
        assert (subject.fates.get(fate), moved(subject)) == (1, 0)


async def test_what_expired_in_a_lane_is_not_moved_but_ends() -> None:
    now = time.time()
    async with scene(retry=Retry(lifetime=HOUR)) as (subject, receiver, _):
        await lay(subject, a_record("bob@gmail.test", accepted_at=now - 30, expires_at=now - 1))
        await until(lambda: len(reports(receiver)) == 1)
        assert (subject.fates["Permanent"], moved(subject)) == (1, 0)


async def test_what_is_too_old_is_tried_once_more_and_not_moved() -> None:
    receiver = Receiver()
    receiver.refuse["RCPT TO:<bob@gmail"] = b"451 4.3.2 later\r\n"
    async with scene(retry=Retry(lifetime=HOUR), receiver=receiver) as (subject, _, _):
        await lay(subject, a_record("bob@gmail.test", accepted_at=time.time() - 2 * HOUR))
        await until(lambda: len(reports(receiver)) == 1)
        assert (subject.later, moved(subject)) == ([], 0)


async def test_a_copy_that_is_done_is_dropped_and_one_of_which_somebody_is_done_is_settled_here() -> None:
    """The journal forgets after an hour: who is done would get it again, if the rest waited for longer than that."""
    async with scene() as (subject, receiver, _):
        whole, part = a_record("bob@gmail.test"), a_record("bob@gmail.test", "eve@gmail.test")
        for each in (whole, part):
            subject.journal.known[each.key] = Seen(delivered=frozenset({"bob@gmail.test"}))
            await lay(subject, each)
        assert (moved(subject), len(receiver.wire)) == (0, 1)
        assert subject.journal.claims[0][:2] == (part.key, ("eve@gmail.test",))


async def test_a_delay_that_a_sender_wants_to_hear_of_is_told_once_and_costs_no_try() -> None:
    async with scene(retry=Retry(first=60.0)) as (subject, receiver, running):
        record = dataclasses.replace(
            a_record("bob@gmail.test", accepted_at=time.time() - 5 * HOUR),
            recipients=(Recipient("bob@gmail.test", "DELAY,FAILURE"),),
        )
        await lay(subject, record)
        await until(lambda: len(reports(receiver)) == 1)
        (later,) = subject.later
        assert later.last_answer.startswith("4.4.5 waited in its provider's lane")
        assert (moved(subject), [each[0] for each in subject.journal.claims if each[0] == record.key]) == (0, [])
        await lay(subject, later)
        await until(lambda: subject.fates.get("Delivered") == 2)
        assert (moved(subject), len(reports(receiver))) == (1, 1), "told once"
        assert len(running.talks) >= 1


async def test_mail_of_several_lanes_or_of_none_is_delivered_from_where_it_is() -> None:
    async with scene() as (subject, receiver, _):
        await lay(subject, a_record("bob@gmail.test", "eve@one.test"))
        await lay(subject, a_record("bob@[127.0.0.1]"))
        await lay(subject, a_record("bob@nowhere.test"))
        await until(lambda: subject.fates.get("Permanent") == 1)
        await until(lambda: len(receiver.wire) >= 3)  # from the lane of an address, when it has come there
        assert subject.fates["Delivered"] >= 2


async def test_a_move_that_is_not_confirmed_leaves_it_here_and_it_is_tried() -> None:
    async with scene() as (subject, receiver, _):
        subject.spool.fail_next.append(SpoolUnavailable("no confirm"))
        await lay(subject, a_record("bob@gmail.test"))
        assert (subject.fates, moved(subject), len(receiver.wire)) == ({"Delivered": 1}, 0, 1)


async def test_a_record_that_others_have_by_now_is_neither_moved_nor_tried() -> None:
    async with scene() as (subject, receiver, _):
        subject.spool.pause = 0.05
        record = a_record("bob@gmail.test")
        subject.spool.queue(LOOK).append((record, False))
        subject.spool.wake()
        await until(lambda: bool(subject.spool.held))
        subject.spool.lose_connection()
        await until(lambda: subject.fates.get("Delivered") == 1)
        await until(lambda: not subject.spool.held)
        assert (len(receiver.wire), moved(subject), subject.service.counters.records_released) == (1, 1, 1)
        assert {each[0] for each in subject.journal.claims} == {record.key}


class Deciding(MemoryJournal):
    """Lets one copy of a record claim a recipient, and knows what became of it, as the real one does."""

    async def seen(self, record: Record) -> Seen:
        delivered = {each for key, addresses, _, _ in self.outcomes if key == record.key for each in addresses}
        claimed = {each for key, addresses, _, _ in self.claims if key == record.key for each in addresses}
        return Seen(delivered=frozenset(delivered), uncertain=frozenset(claimed - delivered))

    async def claim(self, held: Held, recipients: Sequence[str], source: str, host: str) -> Claim:
        if any(key == held.record.key for key, *_ in self.claims):
            raise ClaimRefusedError("a copy has it")
        return await super().claim(held, recipients, source, host)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("place", [FRONT, LOOK])
async def test_a_relay_that_loses_its_broker_in_a_move_loses_no_mail_and_sends_none_twice(
    monkeypatch: pytest.MonkeyPatch, place: int, stored: bool
) -> None:
    """Before its lane has it, or after, when there are two copies under one name: one ahead in its lane, and one that comes again."""
    interrupted = []

    async def move(self: MemoryHeld, lane: int) -> None:
        if stored:
            self.spool.queue(lane).append((self.record, False))
            self.spool.wake()
        interrupted.append(self.record.key)
        self.spool.lose_connection()
        raise SpoolUnavailable("the connection was lost")

    monkeypatch.setattr(Share, "crowded_by", lambda share, lane: not interrupted)
    journal = Deciding()
    receiver = Receiver()
    async with peer(receiver) as running, desk(ZONE, running.port, journal=journal) as subject:
        subject.spool.uses_lanes = True
        with monkeypatch.context() as patch:
            patch.setattr(MemoryHeld, "move", move)
            record = a_record("bob@gmail.test", "eve@gmail.test")
            subject.spool.queue(place).append((record, False))
            subject.spool.wake()
            await until(lambda: bool(interrupted))
        await until(lambda: subject.spool.ended[record.key] >= (3 if stored else 2))
        await until(lambda: not subject.spool.held and not any(map(subject.spool.queue, PLACES)))
        assert len(receiver.wire) == 1
        assert sorted(subject.journal.outcomes[0][1]) == ["bob@gmail.test", "eve@gmail.test"]


@pytest.mark.parametrize("uses", [False, True])
async def test_one_slow_provider_does_not_keep_all_hands_from_mail_to_others(uses: bool) -> None:
    """Six hands, twenty mails of a provider that answers nothing, and one mail to somebody else behind them."""
    receiver = Holding()
    async with scene(hands=6, receiver=receiver, uses=uses) as (subject, _, _):
        slow = [a_record("bob@gmail.test") for _ in range(20)]
        for each in slow:
            await subject.spool.put(each)
        await until(lambda: subject.service.in_hand == (20 if uses else 6))
        quick = a_record("eve@one.test")
        await subject.spool.put(quick)
        if uses:
            await until(lambda: subject.spool.ended[quick.key] == 1)
            assert moved(subject) >= 17
            assert subject.service.in_hands_of(FRONT) <= 3
        else:
            assert [each for each, _ in subject.spool.waiting][-1] == quick
            assert subject.service.in_hands_of(FRONT) == 6
        receiver.goes.set()
        await until(lambda: len(receiver.wire) == 21)
        await until(lambda: not subject.spool.held)
        assert subject.fates == {"Delivered": 21}


async def test_a_relay_that_is_paused_takes_from_no_lane_and_hands_back_what_is_not_begun() -> None:
    receiver = Holding()
    async with scene(receiver=receiver) as (subject, _, _):
        await subject.service.pause()
        records = [a_record("bob@gmail.test") for _ in range(3)]
        for each, place in zip(records, (GOOGLE, NAMED, LOOK), strict=True):
            subject.spool.queue(place).append((each, False))
        subject.spool.wake()
        await asyncio.sleep(0.05)
        assert (subject.spool.held, receiver.wire) == ([], [])
        receiver.goes.set()
        await subject.service.resume()
        await until(lambda: subject.fates == {"Delivered": 3})


async def test_a_relay_that_leaves_gives_back_what_waits_in_its_lanes_hands() -> None:
    receiver = Holding()
    async with scene(receiver=receiver) as (subject, _, _):
        records = [a_record("bob@gmail.test") for _ in range(3)]
        for each in records:
            subject.spool.queue(GOOGLE).append((each, False))
        subject.spool.wake()
        await until(lambda: receiver.held >= 1 and len(subject.spool.held) == 3)
        await subject.service.drain(0.0)
        assert (subject.spool.held, subject.spool.taking, receiver.wire) == ([], False, [])
        assert {each.key for each, _ in subject.spool.queue(GOOGLE)} == {each.key for each in records}
