"""Mail for a destination that is known to be down: parked as it is from every place, and ruled, ended and told of as any other when it is looked at."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relayfleet.protocol.relay_config import Delivery, DeliveryRule, Retry
from relayfleet.relay.delivery import sessions
from relayfleet.relay.parking import known
from relayfleet.relay.spool.interface import Seen, SpoolUnavailable, Word
from relayfleet.relay.spool.places import FRONT, LANED, LOOK, LOOKED_AT_SECONDS, PARK
from relayfleet.relay.spool.record import Recipient, Record
from tests.fakes.peer import Peer, peer
from tests.relay.delivery.desk import Desk, a_record, desk, until
from tests.relay.delivery.test_expiry import reports
from tests.relay.delivery.test_provider_lanes import HOUR, lay
from tests.relay.delivery.test_rules import rule
from tests.relay.delivery.test_signing import Receiver

DEAD = ("mx.dead.test", "mx2.dead.test")
ZONE = {
    ("one.test", "A"): ["127.0.0.1"],
    ("sender.test", "A"): ["127.0.0.1"],
    ("dead.test", "MX"): ["10 mx.dead.test.", "20 mx2.dead.test."],
    ("also.test", "MX"): ["10 mx.dead.test.", "20 mx2.dead.test."],
    ("mx.dead.test", "A"): ["127.0.0.9"],
    ("mx2.dead.test", "A"): ["127.0.0.10"],
}
"""Where nobody listens."""


@asynccontextmanager
async def scene(
    *rules: DeliveryRule, parks: bool = True, retry: Retry | None = None, down: bool = True
) -> AsyncIterator[tuple[Desk, Receiver, Peer]]:
    """A relay that has heard that a destination is `down`."""
    receiver = Receiver()
    delivery = Delivery(parks=parks)
    async with (
        peer(receiver) as running,
        desk(ZONE, running.port, rules=rules, retry=retry, delivery=delivery) as subject,
    ):
        subject.spool.parks = parks
        if down:
            hear(subject, dead=True)
        yield subject, receiver, running


def hear(subject: Desk, *, dead: bool) -> None:
    """Another relay says so."""
    for heard in subject.journal.listeners:
        heard(Word(DEAD, dead, "no answer from 127.0.0.9"))


def parked(subject: Desk) -> list[Record]:
    return [each for each, _ in subject.spool.queue(PARK)]


async def test_it_is_parked_as_it_is_from_every_place_and_nobody_is_called() -> None:
    async with scene() as (subject, _, _):
        records = [a_record("bob@dead.test", "eve@also.test", attempt=3, last_answer="451 x") for _ in (FRONT, *LANED)]
        for each, place in zip(records, (FRONT, *LANED), strict=True):
            await lay(subject, each, place)
        assert parked(subject) == records
        assert subject.service.counters.records_parked == len(records)
        assert (subject.fates, subject.journal.claims, subject.service.pool.counters.dialed) == ({}, [], 0)


@pytest.mark.parametrize("down", [False, True])
async def test_mail_for_others_is_delivered_and_a_pool_that_does_not_park_tries_all(down: bool) -> None:
    async with scene(parks=not down, down=down) as (subject, receiver, _):
        await lay(subject, a_record("bob@dead.test"), FRONT)
        await lay(subject, a_record("bob@one.test"), FRONT)
        assert (len(parked(subject)), len(subject.later), len(receiver.wire)) == (0, 1, 1)
        assert subject.later[0].last_answer.startswith("4.4.1")
        assert (subject.journal.said, subject.service.parking.dead) == ([], 0)


async def test_of_a_mail_for_several_destinations_only_what_is_left_is_parked() -> None:
    async with scene() as (subject, receiver, _):
        await lay(subject, a_record("bob@dead.test", "eve@one.test"), FRONT)
        assert (len(receiver.wire), parked(subject)) == (1, [])
        (left,) = subject.later
        await lay(subject, left, FRONT)
        assert parked(subject) == [left]


async def test_one_of_which_somebody_is_done_is_settled_where_it_is() -> None:
    async with scene() as (subject, _, _):
        record = a_record("bob@dead.test", "eve@dead.test")
        subject.journal.known[record.key] = Seen(delivered=frozenset({"bob@dead.test"}))
        await lay(subject, record)
        assert parked(subject) == []
        assert [each.recipients for each in subject.later] == [(Recipient("eve@dead.test"),)]


@pytest.mark.parametrize(("action", "fate"), [("Hold", "Held"), ("Purge", "Purged"), ("Bounce", "Permanent")])
async def test_what_a_rule_means_is_not_parked_again_but_ruled(action: str, fate: str) -> None:
    async with scene(rule(action, recipientDomain="dead.test")) as (subject, _, _):
        await lay(subject, a_record("bob@dead.test"))
        assert (subject.fates.get(fate), parked(subject)) == (1, [])


async def test_what_expired_or_is_too_old_ends_with_a_report() -> None:
    now = time.time()
    async with scene(retry=Retry(lifetime=HOUR)) as (subject, receiver, _):
        await lay(subject, a_record("bob@dead.test", accepted_at=now - 30, expires_at=now - 1))
        await lay(subject, a_record("bob@dead.test", accepted_at=now - 2 * HOUR))
        await until(lambda: len(reports(receiver)) == 2)
        assert (parked(subject), subject.later) == ([], [])


@pytest.mark.parametrize("left", [600.0, LOOKED_AT_SECONDS - 60, LOOKED_AT_SECONDS + 60])
@pytest.mark.parametrize("ends", ["by the pool's lifetime", "by its sender's wish"])
async def test_what_would_be_looked_at_after_its_end_is_not_parked_but_tried_until_then(ends: str, left: float) -> None:
    accepted = time.time() - 2 * HOUR
    is_own = ends == "by its sender's wish"
    retry = Retry(lifetime=5 * HOUR if is_own else 2 * HOUR + left, first=2 * HOUR)
    async with scene(retry=retry) as (subject, _, _):
        record = a_record("bob@dead.test", accepted_at=accepted, expires_at=accepted + 2 * HOUR + left if is_own else 0)
        await lay(subject, record, FRONT)
        is_parked = left > LOOKED_AT_SECONDS
        assert (len(parked(subject)), len(subject.later)) == (is_parked, not is_parked)
        for each in subject.later:
            assert each.next_at == pytest.approx(accepted + 2 * HOUR + left, abs=10.0), "and once more at its end"


async def test_a_relay_that_is_paused_leaves_trials_to_others() -> None:
    async with scene() as (subject, _, _):
        await subject.service.pause()
        assert subject.service.parking.is_paused
        await subject.service.resume()
        assert not subject.service.parking.is_paused


async def test_a_delay_that_a_sender_wants_to_hear_of_is_told_once_with_what_was_seen_last() -> None:
    async with scene(retry=Retry(first=60.0)) as (subject, receiver, _):
        record = dataclasses.replace(
            a_record("bob@dead.test", accepted_at=time.time() - 5 * HOUR),
            recipients=(Recipient("bob@dead.test", "DELAY,FAILURE"),),
        )
        await lay(subject, record)
        await until(lambda: len(reports(receiver)) == 1)
        (later,) = subject.later
        assert later.last_answer == "4.4.1 no answer from 127.0.0.9"
        assert subject.service.pool.counters.dialed == 1, "for the report"
        await lay(subject, later, FRONT)
        await lay(subject, later, ends=2)
        assert (parked(subject), len(reports(receiver))) == ([later, later], 1), "told once"


async def test_a_move_that_is_not_confirmed_leaves_it_here_and_it_is_tried() -> None:
    async with scene() as (subject, _, _):
        subject.spool.fail_next.append(SpoolUnavailable("no confirm"))
        await lay(subject, a_record("bob@dead.test"))
        assert (parked(subject), len(subject.later)) == ([], 1)


async def test_when_it_answers_again_what_is_looked_at_is_tried() -> None:
    async with scene() as (subject, _, _):
        await lay(subject, a_record("bob@dead.test"))
        hear(subject, dead=False)
        assert list(subject.service.parking.due()) == [DEAD]
        await lay(subject, parked(subject)[0], LOOK, ends=2)
        assert (len(parked(subject)), len(subject.later)) == (1, 1)
        assert not subject.service.parking.is_due(DEAD), "and nobody was there: no more is released"


async def test_a_relay_that_has_reached_it_says_so_to_one_that_has_not() -> None:
    async with scene(down=False) as (subject, _, _):
        await lay(subject, a_record("bob@one.test"), FRONT)
        for heard in subject.journal.listeners:
            heard(Word(("one.test",), True, "refused"))
        assert subject.journal.said == [Word(("one.test",), False)]
        await lay(subject, a_record("bob@one.test"), FRONT)
        assert subject.fates == {"Delivered": 2}


async def test_a_relay_finds_out_by_itself_over_real_sockets_and_that_it_is_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With minutes that are a fifth of a second."""
    monkeypatch.setattr(known, "EVERY", 0.2)
    monkeypatch.setattr(known, "SPREAD", 0.05)
    monkeypatch.setattr("relayfleet.relay.parking.parking.LOOK", 0.02)
    monkeypatch.setattr(sessions, "SKIP_SECONDS", 0.1)
    async with scene(down=False) as (subject, receiver, running):
        await lay(subject, a_record("bob@dead.test"), FRONT)
        over = asyncio.Event()

        async def others() -> None:
            while not over.is_set():
                await subject.spool.put(a_record("eve@one.test"))
                await asyncio.sleep(0.02)

        flowing = asyncio.create_task(others())
        await until(lambda: subject.service.parking.dead == 1)
        assert [(each.destination, each.dead) for each in subject.journal.said] == [(DEAD, True)]
        await lay(subject, a_record("bob@dead.test"), FRONT)
        (mail,) = parked(subject)
        async with peer(receiver, "127.0.0.10", running.port):  # the second host, while the first stays away
            await until(lambda: subject.service.parking.dead == 0)
            assert list(subject.service.parking.due()) == [DEAD]
            await lay(subject, mail, FRONT)
            await until(lambda: mail.key in {key for key, *_ in subject.journal.outcomes})
        over.set()
        await flowing
