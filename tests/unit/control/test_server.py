"""The control server over real sockets and TLS: whom it serves, what it says, and that nothing grows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relayfleet.protocol.telemetry import BEAT, MOST_BYTES, Confirms, Hello, Order, PoolUsage, Stand, Usage, Window
from relayfleet.relay.control import door, server, telling
from relayfleet.relay.control.keys import Keys
from relayfleet.relay.control.pulse import Pulse
from relayfleet.relay.control.server import ControlServer
from relayfleet.relay.control.tally import Ending, Tally
from relayfleet.relay.control.vitals import Vitals
from relayfleet.relay.control.windows import Windows
from tests.fakes import ports
from tests.fakes.leader import PATIENCE, Authority, Leader, leading, led

LEAVE = Order(Stand.LEAVE, "a reason")


class Scene:
    """A running control server, and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.tally = Tally()
        self.orders: list[Order] = []
        self.learnt: list[PoolUsage] = []
        self.pulse = Pulse()
        windows = Windows(self.tally, lambda: (0, 0), Vitals(lambda: 0.0, self.pulse), self.stand)
        self.control = ControlServer(Keys(folder), windows, self.orders.append, "127.0.0.1", self.learnt.append)

    def stand(self) -> Stand:
        return self.orders[-1].stand if self.orders else Stand.SERVE


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def folder(authority: Authority, tmp_path: Path) -> Path:
    return authority.mount(tmp_path / "control")


@asynccontextmanager
async def controlled(folder: Path, *, listens: bool = True) -> AsyncIterator[Scene]:
    scene = Scene(folder)
    task = asyncio.create_task(scene.control.run(0))
    try:
        if listens:
            await until(lambda: scene.control.port != 0)
        yield scene
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        scene.pulse.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - the other side of a socket has no event
            await asyncio.sleep(0.005)


async def test_the_leader_hears_of_live_traffic_and_is_obeyed(authority: Authority, folder: Path) -> None:
    async with controlled(folder) as scene, led(scene.control.port, authority.client()) as leader:
        scene.tally.confirm("broker:5671", True)  # a late one is not told by a relay that was away itself
        assert await heard(leader, lambda window: bool(window.confirms)) == [Confirms("broker:5671", 1)]
        leader.say(LEAVE)
        assert await heard(leader, lambda window: window.stand is Stand.LEAVE) == []
        assert scene.orders == [LEAVE]


async def test_what_all_relays_took_is_learnt_from_the_leader_and_orders_nothing(
    authority: Authority, folder: Path
) -> None:
    told = PoolUsage(7, (Usage("ann", 1, 3),))
    async with controlled(folder) as scene, led(scene.control.port, authority.client()) as leader:
        leader.say(told, LEAVE)
        await until(lambda: scene.orders == [LEAVE])
        assert scene.learnt == [told]
        async with leading(scene.control.port, authority.client(), told) as stranger:
            assert await stranger.ended(), "a leader says first who it is"
        assert scene.learnt == [told]


async def heard(leader: Leader, enough: Callable[[Window], bool]) -> list[Confirms]:
    """What windows say of confirms up to the one that is enough; between them there is one a beat without news."""
    confirms: list[Confirms] = []
    while True:
        window = await leader.hear()
        confirms += window.confirms
        if enough(window):
            return confirms


async def test_a_relay_without_news_says_so_once_a_beat(authority: Authority, folder: Path) -> None:
    async with controlled(folder) as scene, led(scene.control.port, authority.client()) as leader:
        for _ in range(2):
            assert (await leader.hear()).age >= 0.99 * BEAT / 2, "it is the middle of the time that the window covers"


async def test_the_leader_of_the_highest_epoch_is_served_and_no_other(authority: Authority, folder: Path) -> None:
    context = authority.client()
    async with controlled(folder) as scene:
        port = scene.control.port
        async with leading(port, context, Hello("a", 4)) as old, leading(port, context, Hello("b", 5)) as new:
            assert await old.ended()
            await new.hear()
            async with leading(port, context, Hello("a", 4), LEAVE) as late:
                assert await late.ended()
            async with leading(port, context, Hello("c", 5), LEAVE) as other:
                assert await other.ended(), "one epoch has one leader"
            assert scene.orders == []
            assert scene.control.counters.refused == 2
            await new.hear()
            async with leading(port, context, Hello("b", 5)) as again:
                await again.hear()
                assert await new.ended()
                again.say(LEAVE)
                await until(lambda: scene.orders == [LEAVE])


async def test_what_a_replaced_leader_said_before_its_end_is_not_obeyed(
    authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = authority.client()
    async with controlled(folder) as scene:
        port = scene.control.port
        async with led(port, context, 1) as old:

            def obey(order: Order) -> None:
                """In this very moment another leader takes over."""
                scene.orders.append(order)
                scene.control._leader = telling.Telling(old.writer.transport, scene.control._windows, lambda: None)

            monkeypatch.setattr(scene.control, "_obey", obey)
            old.say(LEAVE, Order(Stand.SERVE), LEAVE)
            await old.ended()
            assert scene.orders == [LEAVE]


GARBAGE = [b"nonsense\n", b"\n", b'{"order":{"stand":"Leave","reason":""}}\n', b"x" * (MOST_BYTES * 3), b"\xff\n"]


@pytest.mark.parametrize("line", GARBAGE, ids=lambda line: str(line[:12]))
async def test_who_does_not_say_hello_is_not_served(authority: Authority, folder: Path, line: bytes) -> None:
    async with controlled(folder) as scene:
        async with leading(scene.control.port, authority.client(), line) as leader:
            assert await leader.ended()
        assert scene.control.counters.garbage == 1
        async with led(scene.control.port, authority.client()) as leader:
            leader.say(line if b"order" not in line else Hello("leader", 1))
            assert await leader.ended()
        assert scene.control.counters.garbage == 2
        assert scene.orders == []


async def test_a_leader_keeps_its_place_while_somebody_else_talks_nonsense(authority: Authority, folder: Path) -> None:
    async with controlled(folder) as scene, led(scene.control.port, authority.client()) as leader:
        async with leading(scene.control.port, authority.client(), b"nonsense\n") as other:
            assert await other.ended()
        await leader.hear()


@pytest.mark.parametrize("who", ["nobody", "a relay", "a stranger"])
async def test_who_has_no_client_certificate_of_ours_is_not_served(
    authority: Authority, folder: Path, tmp_path: Path, who: str
) -> None:
    if who == "nobody":
        context = ssl.create_default_context()
    else:
        context = Authority(tmp_path / "other").client() if who == "a stranger" else authority.client(client=False)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with controlled(folder) as scene:
        with contextlib.suppress(OSError):
            async with leading(scene.control.port, context, Hello("leader", 99), LEAVE) as leader:
                assert await leader.ended()
        await until(lambda: scene.control.counters.broken == 1)
        assert scene.orders == []
        async with led(scene.control.port, authority.client()):
            pass


async def test_tls_is_of_version_1_3(authority: Authority, folder: Path) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with controlled(folder) as scene:
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", scene.control.port, ssl=context, server_hostname="x")


@pytest.mark.parametrize("stage", ["handshake", "hello"])
async def test_who_says_nothing_has_to_go(
    authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE" if stage == "handshake" else "INTRODUCTION", 0.1)
    async with controlled(folder) as scene:
        context = authority.client() if stage == "hello" else None
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", scene.control.port, ssl=context, server_hostname="relay.relayfleet" if context else None
        )
        with contextlib.suppress(OSError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        await until(lambda: scene.control.counters.broken == 1)
        writer.transport.abort()


async def test_strangers_are_few_and_keep_no_leader_out(authority: Authority, folder: Path) -> None:
    async with controlled(folder) as scene, led(scene.control.port, authority.client()) as leader:
        with contextlib.ExitStack() as stack:
            for _ in range(3 * door.MOST_CONNECTIONS):
                stack.enter_context(socket.create_connection(("127.0.0.1", scene.control.port)))
            await until(lambda: scene.control.counters.crowded == 2 * door.MOST_CONNECTIONS + 1)
            await until(lambda: len(scene.control._door._guests) == door.MOST_CONNECTIONS)
            await leader.hear()
            async with led(scene.control.port, authority.client(), epoch=2) as successor:
                successor.say(LEAVE)
                await until(lambda: scene.orders == [LEAVE])


async def test_a_leader_that_does_not_read_is_left_and_costs_no_memory(
    authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "DEAF", 0.5)
    monkeypatch.setattr(telling, "PERIOD", 0.001)
    async with controlled(folder) as scene, led(scene.control.port, authority.client()) as leader:
        leader.writer.transport.pause_reading()  # type: ignore[attr-defined]
        held = scene.control._leader
        assert held is not None
        most = number = 0
        async with asyncio.timeout(PATIENCE):
            while scene.control.counters.deaf == 0:
                for _ in range(64):
                    number += 1
                    scene.tally.attempt("source", f"{number:0>100}", Ending.RESET)
                most = max(most, held._transport.get_write_buffer_size())
                await asyncio.sleep(0.001)
        assert telling.FULL < most < telling.FULL + MOST_BYTES
        await until(lambda: scene.control._leader is None)
        async with led(scene.control.port, authority.client()) as again:
            again.say(LEAVE)
            await until(lambda: scene.orders == [LEAVE])


async def test_without_certificates_there_is_no_control_server_until_there_are_some(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(door, "LOOK_EVERY", 0.02)
    folder = tmp_path / "later"
    async with controlled(folder, listens=False) as scene:
        await asyncio.sleep(0.1)
        assert scene.control.port == 0
        assert [each.getMessage() for each in caplog.records if each.levelname == "WARNING"] == [
            f"control: no certificates in {folder}: no orders, no telemetry until there are some"
        ]
        authority.mount(folder)
        await until(lambda: scene.control.port != 0)
        async with led(scene.control.port, authority.client()):
            pass


async def test_certificates_that_change_are_used_from_then_on(
    authority: Authority, folder: Path, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other")
    async with controlled(folder) as scene, led(scene.control.port, authority.client()) as leader:
        (folder / "tls.key").write_text("broken")
        async with led(scene.control.port, authority.client()) as again:
            assert await leader.ended()
            other.mount(folder)
            async with led(scene.control.port, other.client(), epoch=2):
                assert await again.ended()
            with pytest.raises(OSError):
                async with led(scene.control.port, authority.client(), epoch=3):
                    pass


async def test_a_port_that_is_taken_is_tried_again(
    authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "AGAIN", 0.02)
    scene = Scene(folder)
    (port,) = ports.unused()
    with socket.create_server(("127.0.0.1", port)):
        task = asyncio.create_task(scene.control.run(port))
        await asyncio.sleep(0.1)
        assert scene.control.port == 0
    await until(lambda: scene.control.port == port)
    async with led(port, authority.client()):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    scene.pulse.close()
