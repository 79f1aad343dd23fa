"""Waiting for a session: a turn that is not taken goes to the next, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from relayfleet.protocol.relay_config import Delivery, Source
from relayfleet.relay.delivery.errors import BusyError
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.delivery.sessions import Destination, SessionPool
from relayfleet.relay.routing.lookup import Answer
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.routing.router import Route, Router
from tests.fakes.peer import Talk, peer


class Loopback:
    """Every host is 127.0.0.1."""

    async def ask(self, name: str, kind: str) -> Answer:
        return Answer(("127.0.0.1",) if kind == "A" else (), 60.0)


async def quiet(talk: Talk) -> None:
    await talk.greet()
    await talk.hear()


def destination(port: int, sessions: int = 1) -> Destination:
    pool = SessionPool(
        Router(Resolver(Loopback()), (), (), Random(1)), Delivery(port=port, sessions_per_destination=sessions)
    )
    return pool.destination(Source("pod", "", "relay.test"), Route(("mx.test",), ("mx.test",)))


def soon() -> float:
    return asyncio.get_running_loop().time() + 10.0


async def test_the_one_who_waits_gets_the_session_that_is_given_back() -> None:
    async with peer(quiet) as running:
        subject = destination(running.port)
        first = await subject.acquire(soon())
        waiting = asyncio.create_task(subject.acquire(soon()))
        await asyncio.sleep(0)
        subject.give_back(first)
        assert await waiting is first
        assert len(running.talks) == 1
        first.abort()


@pytest.mark.parametrize("when", ["before the turn", "in the turn"])
async def test_who_is_cancelled_while_waiting_takes_no_turn_from_the_next(when: str) -> None:
    async with peer(quiet) as running:
        subject = destination(running.port)
        session = await subject.acquire(soon())
        one, two = (asyncio.create_task(subject.acquire(soon())) for _ in range(2))
        await asyncio.sleep(0)
        if when == "before the turn":
            one.cancel()
            subject.give_back(session)
        else:
            subject.give_back(session)
            one.cancel()
        assert await asyncio.wait_for(two, 5.0) is session
        session.abort()


async def test_the_deadline_ends_the_wait_and_takes_no_turn_either() -> None:
    async with peer(quiet) as running:
        subject = destination(running.port)
        session = await subject.acquire(soon())
        with pytest.raises(BusyError):
            await subject.acquire(asyncio.get_running_loop().time() + 0.01)
        patient = asyncio.create_task(subject.acquire(soon()))
        await asyncio.sleep(0)
        subject.give_back(session)
        assert await patient is session
        session.abort()


async def test_nobody_home_is_told_to_all_who_wait_after_one_call() -> None:
    async with peer(quiet) as gone:
        pass
    subject = destination(gone.port, sessions=8)
    results = await asyncio.gather(*(subject.acquire(soon()) for _ in range(20)), return_exceptions=True)
    assert len({str(each) for each in results}) == 1
    assert subject.pool.counters.dialed == 1
    assert subject.unused


async def test_idle_sessions_are_left_politely_and_forgotten() -> None:
    async with peer(quiet) as running:
        subject = destination(running.port)
        session: Session = await subject.acquire(soon())
        subject.give_back(session)
        subject.close_idle(0.0)
        assert subject.unused
        subject.pool.sweep()
        async with asyncio.timeout(5):
            while running.talks[0].heard[-1] != "QUIT":  # noqa: ASYNC110 - the peer has no event for it
                await asyncio.sleep(0.01)
