"""The prober as a process's heart: whom it serves, what it says, and what it does without anybody to listen."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from relayfleet.kube.client import Kube
from relayfleet.protocol import probing
from relayfleet.protocol.brokerprobing import BrokerSight, BrokerTarget
from relayfleet.protocol.probing import Burst, Hello, Order, Sight, Target, Watch
from relayfleet.runtime import prober
from relayfleet.runtime.control import SERVER_NAME, Identity, identity
from tests.fakes import ports
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import SETTINGS


async def identities(folder: Path, *names: str) -> list[Identity]:
    """Of replicas that share one Secret."""
    kube, made = FakeKube(), []
    for name in names:
        (folder / name).mkdir()
        made.append(await identity(cast("Kube", kube), SETTINGS, folder / name))
    return made


@asynccontextmanager
async def probing_at(files: Identity) -> AsyncIterator[int]:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    paths = (str(files.certificate), str(files.key), str(files.authority))
    task = asyncio.create_task(prober.serve(0, *paths, host="127.0.0.1", started=started))
    try:
        yield await started
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Leader:
    """One connection to a prober."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, *orders: Order) -> None:
        self._writer.write(b"".join(map(probing.encode, orders)))

    async def hear(self, kind: str) -> Sight:
        """The next sight of this kind."""
        async with asyncio.timeout(20):
            while line := await self._reader.readline():
                for sight in probing.decode_seen(line).sights:
                    if sight.kind == kind:
                        return sight
        raise AssertionError("the prober closed the connection")

    async def hear_of_brokers(self) -> BrokerSight:
        """The next sight of a broker."""
        async with asyncio.timeout(20):
            while line := await self._reader.readline():
                for sight in probing.decode_seen(line).brokers:
                    return sight
        raise AssertionError("the prober closed the connection")

    async def drain(self) -> None:
        """Read what is there already."""
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.05):
                    await self._reader.readline()

    async def ended(self) -> bool:
        async with asyncio.timeout(20):
            with contextlib.suppress(OSError):
                while await self._reader.readline():
                    pass
        return True


@asynccontextmanager
async def leading(port: int, files: Identity, *orders: Order) -> AsyncIterator[Leader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=files.client(), server_hostname=SERVER_NAME)
    leader = Leader(reader, writer)
    leader.say(*orders)
    try:
        yield leader
    finally:
        writer.close()


@asynccontextmanager
async def relay(silent: bool = False) -> AsyncIterator[tuple[Target, asyncio.Server]]:
    """Something that talks a little SMTP, or that takes connections and says nothing."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if not silent:
                writer.write(b"220 hello\r\n")
            while await reader.readline():
                if not silent:
                    writer.write(b"250 Ok\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield Target("mail/tx/a", "127.0.0.1", server.sockets[0].getsockname()[1]), server


async def test_it_tells_its_leader_of_answers_silence_and_refusal(tmp_path: Path) -> None:
    one, two = await identities(tmp_path, "prober", "leader")
    async with probing_at(one) as port, relay() as (good, server), relay(silent=True) as (mute, _):
        mute = Target("mail/tx/b", mute.host, mute.port)
        async with leading(port, two, Hello("leader", 1), Watch((good, mute))) as leader:
            assert (await leader.hear("Answered")).key == good.key
            silence = await leader.hear("Silent")
            assert (silence.key, silence.probe) == (mute.key, "Dialogue")
            assert silence.open[0] >= 0.029
            server.close()
            gone = Target("mail/tx/c", good.host, good.port)
            leader.say(Watch((gone,)), Burst((gone.key,)))
            assert (await leader.hear("Refused")).key == gone.key


def broker(files: Identity, host: str = "127.0.0.1") -> BrokerTarget:
    """One where nobody listens."""
    (port,) = ports.unused()
    authority = files.authority.read_text()
    return BrokerTarget("mail/q/q-0/u", host, port, "q-0.q.mail.svc", "/", 3, authority, "prober", "secret", 0.1)


async def test_it_tells_its_leader_of_brokers_and_stops_when_none_is_named(tmp_path: Path) -> None:
    one, two = await identities(tmp_path, "prober", "leader")
    async with probing_at(one) as port:
        gone = broker(one)
        async with leading(port, two, Hello("leader", 1), Watch((), (gone,))) as leader:
            words = [await leader.hear_of_brokers() for _ in range(3)]
            assert {(each.key, each.kind, each.step) for each in words} == {(gone.key, "Refused", "Connect")}
            assert words[0].since <= words[1].since <= words[2].since
            leader.say(Watch(()))
            await asyncio.sleep(0.5)
            await leader.drain()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await leader.hear_of_brokers()


async def test_a_broker_that_is_named_without_an_address_ends_the_connection(tmp_path: Path) -> None:
    one, two = await identities(tmp_path, "prober", "leader")
    async with probing_at(one) as port:
        orders = Hello("leader", 1), Watch((), (broker(one, host="q-0.q.mail.svc"),))
        async with leading(port, two, *orders) as leader:
            assert await leader.ended()


async def test_it_serves_the_leader_of_the_highest_epoch(tmp_path: Path) -> None:
    one, two = await identities(tmp_path, "prober", "leader")
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(probing_at(one))
        good, _ = await stack.enter_async_context(relay())
        old = await stack.enter_async_context(leading(port, two, Hello("old", 4), Watch((good,))))
        await old.hear("Answered")
        new = await stack.enter_async_context(leading(port, two, Hello("new", 5), Watch((good,))))
        await new.hear("Answered")
        assert await old.ended()
        late = await stack.enter_async_context(leading(port, two, Hello("old", 4), Watch(())))
        assert await late.ended()
        await new.hear("Answered")


async def test_it_says_something_even_when_there_is_nothing_to_say(tmp_path: Path) -> None:
    one, two = await identities(tmp_path, "prober", "leader")
    async with probing_at(one) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=two.client(), server_hostname=SERVER_NAME)
        writer.write(probing.encode(Hello("leader", 1)))
        async with asyncio.timeout(20):
            words = [probing.decode_seen(await reader.readline()) for _ in range(3)]
        assert [each.sights for each in words] == [()] * 3
        assert words[0].now < words[1].now < words[2].now
        writer.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"watch":[]}\n', b"\n\n{}\n"])
async def test_who_does_not_say_hello_is_not_served(tmp_path: Path, line: bytes) -> None:
    one, two = await identities(tmp_path, "prober", "leader")
    async with probing_at(one) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=two.client(), server_hostname=SERVER_NAME)
        writer.write(line)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_who_has_no_certificate_of_ours_is_not_served(tmp_path: Path) -> None:
    (one,) = await identities(tmp_path, "prober")
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    async with probing_at(one) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anybody)
            writer.write(probing.encode(Hello("stranger", 99)))
            async with asyncio.timeout(20):
                if not await reader.read():
                    raise ConnectionError("closed")
