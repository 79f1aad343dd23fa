"""The watcher of a broker against scripted brokers: what it sees, how soon it says so, and what it does to brokers that misbehave.

The broker's side is written with an independent codec; real brokers are in tests/relay/broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pamqp import base, commands
from pamqp import frame as codec

from relayfleet.observe.probing import brokerwatcher, perches
from relayfleet.observe.probing.brokersighting import BrokerSighting
from relayfleet.observe.probing.brokerwatcher import Around, BrokerWatcher
from relayfleet.observe.probing.pulse import Pulse
from relayfleet.protocol.brokerprobing import CANARY, EXCHANGE, BrokerTarget

INTERVAL = 0.1


@dataclass
class Peer:
    """One connection from the broker's side, which answers by the book unless `says` has another answer to a method, by its name."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    says: dict[str, Callable[[Peer, int], None]]
    heard: list[base.Frame]
    published: int = 0

    async def talk(self) -> None:
        """Until the client goes."""
        if await self.reader.readexactly(8) != b"AMQP\x00\x00\x09\x01":
            return
        self._do("Greeting", 0, commands.Connection.Start())
        data = b""
        while chunk := await self.reader.read(65536):
            data += chunk
            while len(data) >= 7 and len(data) >= 8 + int.from_bytes(data[3:7], "big"):
                size, channel, frame = codec.unmarshal(data)
                data = data[size:]
                if isinstance(frame, base.Frame):
                    self._answer(frame, channel)

    def send(self, frame: base.Frame, channel: int = 0) -> None:
        self.writer.write(codec.marshal(frame, channel))

    def confirm(self, channel: int) -> None:
        self.send(commands.Basic.Ack(self.published), channel)

    def _answer(self, frame: base.Frame, channel: int) -> None:
        self.heard.append(frame)
        self.published += isinstance(frame, commands.Basic.Publish)
        usual: dict[type[base.Frame], base.Frame] = {
            commands.Connection.StartOk: commands.Connection.Tune(100, 131072, 60),
            commands.Connection.Open: commands.Connection.OpenOk(),
            commands.Connection.Close: commands.Connection.CloseOk(),
            commands.Channel.Open: commands.Channel.OpenOk(),
            commands.Confirm.Select: commands.Confirm.SelectOk(),
            commands.Queue.Declare: commands.Queue.DeclareOk("q", 0, 0),
            commands.Queue.Bind: commands.Queue.BindOk(),
            commands.Basic.Get: commands.Basic.GetEmpty(),
            commands.Basic.Publish: commands.Basic.Ack(self.published),
        }
        if type(frame) in usual or frame.name in self.says:
            self._do(frame.name, channel, usual.get(type(frame)))

    def _do(self, name: str, channel: int, usual: base.Frame | None) -> None:
        if name in self.says:
            self.says[name](self, channel)
        elif usual is not None:
            self.send(usual, channel)


@dataclass
class Scene:
    """A scripted broker, and what was seen of it. `says` may be changed while it runs."""

    port: int = 0
    says: dict[str, Callable[[Peer, int], None]] = field(default_factory=dict)
    heard: list[base.Frame] = field(default_factory=list)
    seen: list[BrokerSighting] = field(default_factory=list)
    peers: list[asyncio.StreamWriter] = field(default_factory=list)
    server: asyncio.Server | None = None

    def kinds(self, since: int = 0) -> set[tuple[str, str]]:
        return {(each.kind, each.step) for each in self.seen[since:]}

    def of(self, kind: type[base.Frame]) -> list[Any]:
        return [each for each in self.heard if isinstance(each, kind)]

    async def until(self, holds: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - what is awaited is the watcher's doing
                await asyncio.sleep(0.01)

    async def sees(self, kind: str, step: str, times: int = 1) -> BrokerSighting:
        """The next sights of that kind; returns the last one."""
        start = len(self.seen)

        def found() -> list[BrokerSighting]:
            return [each for each in self.seen[start:] if (each.kind, each.step) == (kind, step)]

        await self.until(lambda: len(found()) >= times)
        return found()[times - 1]


@contextlib.asynccontextmanager
async def probed(
    handle: Callable[[Scene, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None,
    **says: Callable[[Peer, int], None],
) -> AsyncIterator[Scene]:
    """A broker that is probed ten times a second, without TLS. `says` by method, with _ for the dot."""
    scene = Scene(says={name.replace("_", "."): what for name, what in says.items()})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scene.peers.append(writer)
        try:
            if handle is not None:
                await handle(scene, reader, writer)
            else:
                await Peer(reader, writer, scene.says, scene.heard).talk()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    scene.server = await asyncio.start_server(serve, "127.0.0.1", 0)
    scene.port = scene.server.sockets[0].getsockname()[1]
    pulse = Pulse()
    target = BrokerTarget(
        "mail/q/q-0/u", "127.0.0.1", scene.port, "q-0.q.mail.svc", "/", 3, "", "prober", "secret",
        interval=INTERVAL, connect_timeout=0.6, confirm_timeout=0.6,
    )  # fmt: skip
    watcher = BrokerWatcher(target, Around(scene.seen.append, pulse, 0.0), None)
    try:
        yield scene
    finally:
        watcher.close()
        pulse.close()
        scene.server.close()
        for writer in scene.peers:
            writer.transport.abort()
        await asyncio.sleep(0.05)


def nothing(_: Peer, __: int) -> None:
    return


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """On busy cores this process is away now and then, and what it misses so is no silence of the broker's. Where a silence is what is looked for,
    that shall not count: True, until False."""
    just_back = Pulse.just_back

    def turn(on: bool) -> None:
        monkeypatch.setattr(Pulse, "just_back", (lambda *_: False) if on else just_back)

    return turn


async def test_a_broker_that_confirms_is_seen_to_by_one_connection_with_one_channel() -> None:
    async with probed() as scene:
        began, start = time.monotonic(), len(scene.seen)
        answer = await scene.sees("Answered", "Publish", 5)
        passed, confirms = time.monotonic() - began, [each for each in scene.seen[start:] if each.step == "Publish"]
        assert answer.since is None
        assert 0 < sum(each.latency for each in confirms) <= passed, "one after the other"
        assert scene.kinds() <= {("Answered", "Connect"), ("Answered", "Publish")}
        assert len(scene.peers) == 1
        assert len(scene.of(commands.Channel.Open)) == 1


async def test_the_canary_is_small_ends_by_itself_and_is_reached_by_no_other_exchange() -> None:
    async with probed() as scene:
        await scene.sees("Answered", "Publish")
        (declared,), (bound,) = scene.of(commands.Queue.Declare), scene.of(commands.Queue.Bind)
        assert declared.queue.startswith(CANARY)
        assert declared.durable
        assert declared.arguments["x-queue-type"] == "quorum"
        assert declared.arguments["x-quorum-initial-group-size"] == 3
        assert declared.arguments["x-queue-leader-locator"] == "client-local"
        assert declared.arguments["x-max-length"] == 1
        assert declared.arguments["x-expires"] == 60_000
        assert (bound.exchange, bound.queue, bound.routing_key) == (EXCHANGE, declared.queue, declared.queue)
        published = scene.of(commands.Basic.Publish)
        assert {(each.exchange, each.routing_key) for each in published} == {(EXCHANGE, declared.queue)}


async def test_connecting_is_proven_again_and_again_and_renews_the_same_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokerwatcher, "LIFE", 0.3)
    async with probed() as scene:
        await scene.sees("Answered", "Connect", 4)
        assert len(scene.of(commands.Queue.Declare)) == len(scene.of(commands.Queue.Bind)) == 1, "made once"
        used = scene.of(commands.Basic.Get)
        assert {(each.queue, each.no_ack) for each in used} == {(scene.of(commands.Queue.Declare)[0].queue, True)}
        assert len(used) >= 3, "each new connection renews its lease"
        assert len(scene.of(commands.Connection.Close)) >= 3, "it says goodbye"
        assert scene.kinds() <= {("Answered", "Connect"), ("Answered", "Publish")}


async def test_a_record_that_is_not_confirmed_is_told_of_soon_and_again(watchful: Callable[[bool], None]) -> None:
    async with probed() as scene:
        await scene.sees("Answered", "Publish", 2)
        watchful(True)
        scene.says["Basic.Publish"] = nothing
        began = time.monotonic()
        first = await scene.sees("Silent", "Publish")
        assert time.monotonic() - began < 5
        assert first.since is not None
        await scene.sees("Answered", "Connect")  # the old connection was left for a new one
        later = await scene.sees("Silent", "Publish", 2)
        assert later.since == first.since, "one trouble, however many connections it lasts"
        del scene.says["Basic.Publish"]
        assert (await scene.sees("Answered", "Publish")).since is None


async def test_after_a_trouble_the_canary_moves_and_after_the_next_one_back(
    monkeypatch: pytest.MonkeyPatch, watchful: Callable[[bool], None]
) -> None:
    """It may be led by another broker since."""
    monkeypatch.setattr(brokerwatcher, "LIFE", 0.3)
    monkeypatch.setattr(perches, "LONG", 0.2)  # a test that is starved counts its time anew
    async with probed() as scene:
        await scene.sees("Answered", "Publish")
        names = [scene.of(commands.Queue.Bind)[-1].queue]
        for number in range(2):
            watchful(True)
            scene.says["Basic.Publish"] = nothing
            await scene.sees("Silent", "Publish", 8)
            assert len(scene.of(commands.Queue.Bind)) == number + 1, "nothing is made in a trouble"
            del scene.says["Basic.Publish"]
            await scene.sees("Answered", "Publish")
            watchful(False)
            await scene.until(lambda made=number + 2: len(scene.of(commands.Queue.Bind)) == made)  # type: ignore[misc]
            names.append(scene.of(commands.Queue.Bind)[-1].queue)
        assert names[0] == names[2] != names[1]


async def test_a_canary_that_cannot_move_stays_and_is_no_trouble(
    monkeypatch: pytest.MonkeyPatch, watchful: Callable[[bool], None]
) -> None:
    monkeypatch.setattr(brokerwatcher, "LIFE", 0.3)
    monkeypatch.setattr(brokerwatcher, "MOVING", 0.3)
    monkeypatch.setattr(perches, "LONG", 0.2)
    async with probed() as scene:
        await scene.sees("Answered", "Publish")
        watchful(True)
        scene.says["Basic.Publish"] = nothing
        await scene.sees("Silent", "Publish", 8)
        scene.says["Queue.Bind"] = nothing
        del scene.says["Basic.Publish"]
        await scene.sees("Answered", "Publish")
        watchful(False)
        await scene.until(lambda: len(scene.of(commands.Queue.Bind)) == 2)
        start = len(scene.seen)
        await scene.sees("Answered", "Publish", 5)
        assert {kind for kind, _ in scene.kinds(start)} == {"Answered"}
        assert len(scene.of(commands.Queue.Bind)) == 2, "it is not tried again at once"


async def test_that_a_canary_is_long_in_the_making_is_no_silence_until_it_is_too_long(
    monkeypatch: pytest.MonkeyPatch, watchful: Callable[[bool], None]
) -> None:
    monkeypatch.setattr(brokerwatcher, "MAKING", 3.0)
    async with probed(Queue_Bind=nothing) as scene:
        await scene.sees("Answered", "Connect")
        await asyncio.sleep(1.0)
        assert {kind for kind, _ in scene.kinds()} == {"Answered"}
        watchful(True)
        assert (await scene.sees("Silent", "Publish")).since is not None


async def test_that_a_broker_speaks_is_told_of_all_the_time_that_a_canary_is_in_the_making(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Making one waits for a broker that stands still; a prober that has heard nothing since would be blind for that one."""
    monkeypatch.setattr(brokerwatcher, "LIFE", 60.0)  # no new connection but those that knock
    waiting: list[tuple[Peer, int]] = []
    async with probed(Queue_Declare=lambda *asked: waiting.append(asked)) as scene:
        await scene.sees("Answered", "Connect", 5)
        assert "Publish" not in {step for _, step in scene.kinds()}
        ((peer, channel),) = waiting
        peer.send(commands.Queue.DeclareOk("q", 0, 0), channel)
        await scene.sees("Answered", "Publish", 2)
        knocks = len(scene.peers)
        await scene.sees("Answered", "Publish", 5)
        assert len(scene.peers) == knocks, "and no longer"


async def test_a_broker_that_takes_connections_and_says_nothing_is_silent(watchful: Callable[[bool], None]) -> None:
    watchful(True)

    async def mute(_: Scene, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.sleep(60)

    async with probed(mute) as scene:
        sight = await scene.sees("Silent", "Connect", 3)
        assert sight.since is not None
        assert scene.kinds() == {("Silent", "Connect")}
        assert len(scene.peers) <= 3, "each connection gets its time"


async def test_a_broker_that_is_slower_than_the_deadline_is_heard_in_the_end(watchful: Callable[[bool], None]) -> None:
    watchful(True)

    def slowly(peer: Peer, channel: int) -> None:
        tag = peer.published
        asyncio.get_running_loop().call_later(1.2, lambda: peer.send(commands.Basic.Ack(tag), channel))

    async with probed(Basic_Publish=slowly) as scene:
        await scene.sees("Answered", "Publish")
        assert ("Silent", "Publish") in scene.kinds()
        assert len(scene.peers) >= 3, "and was given up in time before"


async def test_a_broker_that_is_gone_resets_and_refuses() -> None:
    async with probed() as scene:
        await scene.sees("Answered", "Publish")
        assert scene.server is not None
        scene.server.close()
        for writer in scene.peers:
            writer.transport.abort()
        began = time.monotonic()
        refused = await scene.sees("Refused", "Connect", 3)
        assert time.monotonic() - began < 5
        assert ("Reset", "Publish") in scene.kinds()
        assert refused.since is not None
        assert refused.why == "connections are refused"


@pytest.mark.parametrize(
    "bytes_", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64, b"AMQP\x00\x01\x00\x00", b"\x01" * 4096],
)  # fmt: skip
async def test_garbage_is_an_error_and_no_crash(bytes_: bytes) -> None:
    async def rubbish(_: Scene, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes_)
        await reader.read()

    async with probed(rubbish) as scene:
        await scene.sees("Erred", "Connect", 2)
        assert {kind for kind, _ in scene.kinds()} <= {"Erred", "Reset"}


async def test_an_endless_answer_is_cut_off_after_a_few_bytes() -> None:
    sent = 0

    async def flood(_: Scene, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        beat = b"\x08\x00\x00\x00\x00\x00\x00\xce" * 512
        while True:
            writer.write(beat)
            await writer.drain()
            sent += len(beat)

    async with probed(flood) as scene:
        sight = await scene.sees("Erred", "Connect")
        assert "far more than was asked" in sight.why
        assert len(sight.why) <= 200


async def test_methods_that_nobody_asked_for_are_bounded_too() -> None:
    async def flood(_: Scene, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(codec.marshal(commands.Connection.Tune(1, 131072, 1), 0) * 64)
        await reader.read()

    async with probed(flood) as scene:
        await scene.sees("Erred", "Connect")


async def test_a_slow_drip_costs_the_deadline_and_no_more(watchful: Callable[[bool], None]) -> None:
    watchful(True)

    async def drip(_: Scene, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in codec.marshal(commands.Connection.Start(), 0) * 10:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.1)

    async with probed(drip) as scene:
        await scene.until(lambda: len(scene.peers) >= 3)
        assert scene.kinds() == {("Silent", "Connect")}


async def test_a_nack_and_a_closed_channel_are_errors() -> None:
    def nack(peer: Peer, channel: int) -> None:
        peer.send(commands.Basic.Nack(peer.published), channel)

    def refuse(peer: Peer, channel: int) -> None:
        peer.send(commands.Channel.Close(541, "INTERNAL_ERROR - no majority", 0, 0), channel)

    async with probed(Basic_Publish=nack) as scene:
        assert "could not store" in (await scene.sees("Erred", "Publish")).why
        del scene.says["Basic.Publish"]
        await scene.sees("Answered", "Publish")
        scene.says["Basic.Get"] = refuse
        scene.says["Basic.Publish"] = nack
        await scene.until(lambda: any("no majority" in each.why for each in scene.seen))


async def test_a_canary_that_the_broker_removed_is_made_again_and_nothing_is_wrong() -> None:
    def returned(peer: Peer, channel: int) -> None:
        tag = peer.published
        method = codec.marshal(commands.Basic.Return(312, "NO_ROUTE", EXCHANGE, "x"), channel)
        correlation = str(tag).encode()
        payload = (
            (60).to_bytes(2, "big")
            + bytes(10)
            + (1 << 10).to_bytes(2, "big")
            + bytes((len(correlation),))
            + correlation
        )
        header = b"\x02" + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"
        peer.writer.write(method + header)
        peer.confirm(channel)
        del peer.says["Basic.Publish"]

    async with probed() as scene:
        await scene.sees("Answered", "Publish")
        scene.says["Basic.Publish"] = returned
        await scene.sees("Answered", "Publish", 3)
        assert len(scene.of(commands.Queue.Bind)) == 2
        assert {kind for kind, _ in scene.kinds()} == {"Answered"}


async def test_an_alarm_of_the_brokers_is_no_silence_of_this_one() -> None:
    def blocked(peer: Peer, _: int) -> None:
        peer.send(commands.Connection.Blocked("low on disk"))

    async with probed(Basic_Publish=blocked) as scene:
        sight = await scene.sees("Blocked", "Publish", 2)
        assert sight.since is None
        assert {kind for kind, _ in scene.kinds()} == {"Answered", "Blocked"}


async def test_a_password_that_the_broker_does_not_take_is_no_fault_of_the_broker() -> None:
    def denied(peer: Peer, _: int) -> None:
        peer.send(commands.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))

    async with probed(Connection_StartOk=denied) as scene:
        sight = await scene.sees("Denied", "Connect", 2)
        assert sight.since is None
        assert "secret" not in sight.why


async def test_a_prober_that_was_away_itself_blames_nobody() -> None:
    async with probed() as scene:
        await scene.sees("Answered", "Publish")
        held: list[tuple[Peer, int]] = []
        scene.says["Basic.Publish"] = lambda peer, channel: held.append((peer, channel))
        await scene.until(lambda: bool(held))
        del scene.says["Basic.Publish"]
        seen = len(scene.seen)
        time.sleep(1.5)  # noqa: ASYNC251 - this very process stands still
        held[0][0].confirm(held[0][1])
        await scene.sees("Answered", "Publish", 3)
        assert scene.kinds(seen) <= {("Answered", "Publish"), ("Answered", "Connect")}
