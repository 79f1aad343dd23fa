"""How attempts end is counted by source and provider, so that a path that fails can be told from a peer that refuses."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.protocol.telemetry import Attempts
from relayfleet.relay.delivery import connecting, transaction
from relayfleet.relay.delivery.worker import DeliveryService
from tests.fakes.peer import Talk, peer
from tests.relay.delivery.desk import a_record, desk
from tests.relay.delivery.test_misbehaving_peers import ZONE, breaks, good


def counted(service: DeliveryService) -> tuple[Attempts, ...]:
    return service.pool.tally.take()[0]


async def refuse(talk: Talk) -> None:
    talk.say(b"554 5.7.1 not from you\r\n")


async def test_a_delivery_and_a_refusal_are_replies() -> None:
    for behaviour in (good, refuse):
        async with peer(behaviour) as running, desk(ZONE, running.port) as subject:
            await subject.deliver(a_record("bob@one.test"))
            assert counted(subject.service) == (Attempts("pod", "one.test", replied=1),)


async def test_each_mail_over_a_session_is_an_attempt() -> None:
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        for name in ("a", "b", "c"):
            await subject.deliver(a_record(f"{name}@one.test"))
        assert counted(subject.service) == (Attempts("pod", "one.test", replied=3),)


@pytest.mark.parametrize("stage", ["banner", "mail", "data", "dot"])
async def test_a_connection_that_is_lost_is_a_reset_and_an_announced_farewell_is_a_reply(stage: str) -> None:
    for how, expected in (("reset", Attempts("pod", "one.test", reset=1)), ("421", Attempts("pod", "one.test", 1))):
        async with peer(breaks(stage, how)) as running, desk(ZONE, running.port) as subject:
            await subject.deliver(a_record("bob@one.test"))
            assert counted(subject.service) == (expected,)


@pytest.mark.parametrize("greets", [False, True])
async def test_silence_is_a_timeout_also_of_a_peer_that_has_said_something(
    greets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "BANNER_SECONDS", 0.1)
    monkeypatch.setattr(transaction, "MAIL_SECONDS", 0.1)

    async def silent(talk: Talk) -> None:
        if greets:
            await talk.greet()
        await asyncio.sleep(30)

    async with peer(silent) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert counted(subject.service) == (Attempts("pod", "one.test", timed_out=1),)


async def test_nobody_there_is_a_failed_connection_counted_once_while_the_address_is_skipped() -> None:
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@dead.test"))
        await subject.deliver(a_record("eve@dead.test"))
        assert counted(subject.service) == (Attempts("pod", "dead.test", connect_failed=1),)


async def test_a_session_that_the_peer_closed_while_idle_is_no_failure() -> None:
    async def once(talk: Talk) -> None:
        await talk.greet()
        while (line := await talk.hear()) != "DATA":
            talk.say(b"250 ok\r\n" if line else b"")
        talk.say(b"354 go on\r\n")
        await talk.hear_mail()
        talk.say(b"250 taken\r\n")
        await talk.writer.drain()

    async with peer(once) as running, desk(ZONE, running.port) as subject:
        for name in ("a", "b"):
            await subject.deliver(a_record(f"{name}@one.test"))
            await asyncio.sleep(0.02)
        assert len(running.talks) == 2
        assert counted(subject.service) == (Attempts("pod", "one.test", replied=2),)
