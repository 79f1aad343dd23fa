"""Waiting for a session: a turn that is not taken goes to the next, nobody waits for ever, and there are as many as the peer stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from relayfleet.protocol.relay_config import Delivery, Source
from relayfleet.relay.delivery.concurrency import Signal
from relayfleet.relay.delivery.errors import BusyError, ConnectError, LocalError, RefusedError, SmtpError
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.delivery.sessions import Destination, SessionPool
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.routing.errors import DnsTemporary
from relayfleet.relay.routing.lookup import Answer
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.routing.router import Route, Router
from tests.fakes import ports
from tests.fakes.peer import Talk, peer


class Loopback:
    """Every host has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses or ("127.0.0.1",)

    async def ask(self, name: str, kind: str) -> Answer:
        return Answer(self._addresses if kind == "A" else (), 60.0)


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
    subject = destination(ports.unused()[0], sessions=8)
    results = await asyncio.gather(*(subject.acquire(soon()) for _ in range(20)), return_exceptions=True)
    assert len({str(each) for each in results}) == 1
    assert subject.pool.counters.dialed == 1
    assert subject.unused


class Ears:
    """Fits Watcher."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def reached(self, destination: tuple[str, ...]) -> None:
        self.heard.append("reached")

    def missed(self, destination: tuple[str, ...], why: str) -> None:
        self.heard.append("missed")


BLOCKED = RefusedError("banner", Reply(554, ("5.7.1 blocked",)))


async def test_only_who_was_called_speaks_of_a_destination_and_no_mark() -> None:
    """A mark is up to a minute old: by it one that has died just now would be up, and one that is back would be down."""
    subject = destination(ports.unused()[0])
    subject.pool.watcher = ears = Ears()
    for _ in range(3):
        with pytest.raises(ConnectError):
            await subject.acquire(soon())
    assert (ears.heard, subject.pool.counters.dialed) == (["missed"], 1)
    subject.pool.marks.put(subject.source, "127.0.0.1", BLOCKED)
    with pytest.raises(RefusedError):
        await subject.acquire(soon())
    assert ears.heard == ["missed"]


async def test_who_refuses_when_called_was_reached_whatever_marks_say_of_others() -> None:
    async def refuses(talk: Talk) -> None:
        talk.say(b"554 5.7.1 blocked\r\n")

    async with peer(refuses) as running:
        subject = destination(running.port)
        subject.pool.watcher = ears = Ears()
        with pytest.raises(RefusedError):
            await subject.acquire(soon())
    assert ears.heard == ["reached"]


async def test_nobody_is_missed_where_one_address_was_silent_and_another_one_refused_a_moment_ago() -> None:
    subject = destination(ports.unused()[0])
    subject.pool.router = Router(Resolver(Loopback("127.0.0.1", "127.0.0.9")), (), (), Random(1))
    subject.pool.watcher = ears = Ears()
    subject.pool.marks.put(subject.source, "127.0.0.9", BLOCKED)
    with pytest.raises(RefusedError):
        await subject.acquire(soon())
    assert (ears.heard, subject.pool.counters.dialed) == ([], 1)


async def test_of_two_hosts_that_refuse_the_better_one_says_what_becomes_of_mail_also_when_that_is_a_mark() -> None:
    """A decoy of a worse preference takes no mail at all (RFC 7504), and says so for good."""
    busy = RefusedError("banner", Reply(421, ("4.3.2 busy",)))

    async def decoy(talk: Talk) -> None:
        talk.say(b"521 5.3.2 no mail here\r\n")

    async with peer(decoy) as running:
        subject = destination(running.port)
        subject.pool.router = Router(Resolver(Loopback("127.0.0.9", "127.0.0.1")), (), (), Random(1))
        subject.pool.marks.put(subject.source, "127.0.0.9", busy)
        with pytest.raises(RefusedError) as raised:
            await subject.acquire(soon())
    assert raised.value.reply.code == 421
    assert subject.pool.counters.dialed == 1


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


def takes(most: int) -> Callable[[Talk], Awaitable[None]]:
    """A peer that greets so many sessions at a time, and no more."""
    running: set[Talk] = set()

    async def behave(talk: Talk) -> None:
        if len(running) >= most:
            talk.say(b"421 4.7.0 too many connections from your address\r\n")
            return
        running.add(talk)
        try:
            await quiet(talk)
        finally:
            running.discard(talk)

    return behave


async def test_it_begins_with_five_sessions_and_adds_one_when_all_goes_well() -> None:
    async with peer(quiet) as running:
        subject = destination(running.port, sessions=20)
        sessions = await asyncio.gather(*(subject.acquire(soon()) for _ in range(5)))
        sixth = asyncio.create_task(subject.acquire(soon()))
        await asyncio.sleep(0)
        assert (subject.open, sixth.done()) == (5, False)
        subject.hear(Signal.WELL, 0.0)
        sessions.append(await asyncio.wait_for(sixth, 5))
        assert (subject.open, len(running.talks)) == (6, 6)
        for each in sessions:
            each.abort()


async def test_one_session_too_many_is_no_mails_failure() -> None:
    async with peer(takes(2)) as running:
        subject = destination(running.port, sessions=20)
        tasks = [asyncio.create_task(subject.acquire(soon())) for _ in range(6)]
        served: list[asyncio.Task[Session]] = []
        while len(served) < len(tasks):
            done, _ = await asyncio.wait(
                [each for each in tasks if each not in served], timeout=5, return_when=asyncio.FIRST_COMPLETED
            )
            assert done, "nobody gets a turn"
            for each in done:
                served.append(each)
                subject.give_back(each.result())
        assert (subject.open, subject.limit) == (2, 2)
        # No address is marked, so that a session which ends can be replaced; and nobody asks for more again and again.
        assert subject.pool.marks.get(subject.source, "127.0.0.1") is None
        assert len(running.talks) <= 5
        subject.close_idle(0.0)


async def test_a_peer_that_takes_no_session_at_all_is_told_to_the_mail() -> None:
    async with peer(takes(0)) as running:
        subject = destination(running.port, sessions=20)
        with pytest.raises(SmtpError):
            await subject.acquire(soon())
        assert subject.pool.marks.get(subject.source, "127.0.0.1") is not None


async def test_after_strain_half_of_the_sessions_are_left_and_that_is_remembered() -> None:
    async with peer(quiet) as running:
        subject = destination(running.port, sessions=4)
        sessions = await asyncio.gather(*(subject.acquire(soon()) for _ in range(4)))
        for _ in sessions:
            subject.hear(Signal.STRAIN, asyncio.get_running_loop().time() - 1)
        for each in sessions:
            subject.give_back(each)
        assert (subject.open, subject.limit) == (2, 2)
        subject.close_idle(0.0)
        assert not subject.unused
        subject.pool.sweep()
        assert subject.pool.destination(subject.source, subject.route) is subject


@pytest.mark.parametrize("why", ["cancelled", "no source", "no DNS"])
async def test_a_place_that_comes_to_no_session_goes_to_the_next(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(quiet) as running:
        subject = destination(running.port, sessions=2)
        first = await subject.acquire(soon())
        gate = asyncio.Event()

        async def fails(*_: object) -> None:
            await gate.wait()
            raise DnsTemporary("no answer") if why == "no DNS" else LocalError("local", "the address is not here")

        with monkeypatch.context() as patch:
            patch.setattr(subject.pool, "dial", fails)
            patch.setattr(subject.pool.router, "addresses", fails)
            second, third = (asyncio.create_task(subject.acquire(soon())) for _ in range(2))
            await asyncio.sleep(0)
            assert (subject.open, len(running.talks)) == (2, 1)
        if why == "cancelled":
            second.cancel()
        gate.set()
        session = await asyncio.wait_for(third, 5)
        assert (subject.open, subject.limit, len(running.talks)) == (2, 2, 2)
        with pytest.raises((asyncio.CancelledError, DnsTemporary, LocalError)):
            await second
        for each in (first, session):
            each.abort()


async def test_a_broken_session_costs_one() -> None:
    async with peer(quiet) as running:
        subject = destination(running.port, sessions=4)
        session = await subject.acquire(soon())
        subject.hear(Signal.BROKEN, 0.0)
        assert subject.limit == 3
        subject.hear(Signal.NOTHING, 0.0)
        assert subject.limit == 3
        session.abort()
