"""The leader hears relays and is obeyed, whatever is lost on the way, and bounds what a relay can do to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from relayfleet.controllers.evidence import PoolName
from relayfleet.controllers.relaypeers import Peer
from relayfleet.kube.client import Kube
from relayfleet.protocol import telemetry
from relayfleet.protocol.telemetry import MOST_BYTES, Hello, Order, PoolUsage, Stand, Usage, Usages, Window
from relayfleet.runtime import relaylink
from relayfleet.runtime.control import SERVER_NAME, identity
from relayfleet.runtime.linkmetrics import LinkMetrics
from relayfleet.runtime.relaylinks import RelayLinks
from tests.fakes import ports
from tests.fakes.kube import FakeKube
from tests.fakes.relay import FakeRelay
from tests.unit.controllers.scene import SETTINGS, operators_authority

TX = ("mail", "tx")
SPOKEN = Usages(7, "run", (Usage("ann", 1),))
LEAVE, SERVE = Order(Stand.LEAVE, "Unfit: no memory"), Order(Stand.SERVE)


class World:
    """A leader and one relay on real sockets."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operators = operators_authority()
        self.taken: list[tuple[PoolName, str, Window]] = []
        self.relay = FakeRelay(self.operators, folder)
        self.usage: tuple[Usage, ...] = ()
        self.looked = 0
        self.links = RelayLinks(Hello("leader", 7), lambda *each: self.taken.append(each), self.told)
        self._folder, self._patch = folder, monkeypatch

    def told(self, pool: PoolName, relay: str, last: Usages) -> tuple[Usage, ...]:
        assert (pool, relay) == (TX, "a")
        assert last == SPOKEN
        self.looked += 1
        return self.usage

    def follow(self, order: Order | None) -> None:
        self.links.follow(TX, [Peer("a", "127.0.0.1", order)])

    def outcome(self, word: str) -> int:
        return self.links.windows[(*TX, word)]

    def metric(self, name: str, **labels: str) -> float | None:
        registry = CollectorRegistry()
        registry.register(LinkMetrics(self.links))
        return registry.get_sample_value(name, {"namespace": "mail", "pool": "tx", **labels})

    @asynccontextmanager
    async def talking(self, *, listening: bool = True) -> AsyncIterator[None]:
        """The links run; the relay listens, or only has a port."""
        known = await identity(cast("Kube", FakeKube(self.operators)), SETTINGS, self._folder)
        async with self.relay.listening(0 if listening else ports.unused()[0]) as port:
            self._patch.setattr(telemetry, "PORT", port)
            if listening:
                async with self._running(known.client()):
                    yield
        if not listening:
            async with self._running(known.client()):
                yield

    @asynccontextmanager
    async def _running(self, tls: object) -> AsyncIterator[None]:
        running = asyncio.create_task(self.links.run(tls))  # type: ignore[arg-type]
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is awaited is another task's doing
            await asyncio.sleep(0.01)


async def test_a_leader_says_who_it_is_and_what_to_do_and_hears_what_happens(world: World) -> None:
    async with world.talking():
        world.follow(LEAVE)
        await until(lambda: bool(world.relay.orders))
        assert world.relay.heard == [[Hello("leader", 7), LEAVE]]
        assert world.metric("relayfleet_control_links") == 0
        window = Window(accepted=3, stand=Stand.LEAVE)
        world.relay.say(window)
        await until(lambda: bool(world.taken))
        assert world.taken == [(TX, "a", window)]
        assert world.metric("relayfleet_control_links") == 1
        assert world.metric("relayfleet_relay_windows_total", outcome="taken") == 1


async def test_who_is_followed_before_there_are_certificates_is_talked_to_as_soon_as_there_are(world: World) -> None:
    world.follow(SERVE)
    async with world.talking():
        await until(lambda: world.relay.orders == [SERVE])


async def test_another_stand_is_said_and_another_reason_is_not(world: World) -> None:
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.orders == [SERVE])
        world.follow(LEAVE)
        world.follow(Order(Stand.LEAVE, "Unfit: still no memory"))
        world.follow(SERVE)
        await until(lambda: len(world.relay.orders) > 2)
        assert world.relay.orders == [SERVE, LEAVE, SERVE]


async def test_a_relay_that_is_left_as_it_is_gets_no_orders(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaylink, "AGAIN", 0.0)
    async with world.talking():
        world.follow(None)
        await until(lambda: world.relay.connections == 1)
        world.relay.say(Window(stand=Stand.LEAVE))
        await until(lambda: bool(world.taken))
        world.follow(LEAVE)
        world.follow(None)
        world.relay.say(Window(stand=Stand.SERVE))
        await until(lambda: len(world.taken) > 1)
        await until(lambda: bool(world.relay.orders))
        assert world.relay.heard == [[Hello("leader", 7), LEAVE]]


async def test_after_a_lost_connection_everything_is_said_again(world: World) -> None:
    async with world.talking():
        world.follow(LEAVE)
        await until(lambda: bool(world.relay.orders))
        world.relay.hang_up()
        await until(lambda: len(world.relay.orders) > 1)
        assert world.relay.heard == [[Hello("leader", 7), LEAVE]] * 2


async def test_an_order_that_does_not_show_is_said_again_now_and_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaylink, "AGAIN", 0.2)
    async with world.talking():
        began = time.monotonic()  # before the first one, which may be seen late
        world.follow(LEAVE)
        await until(lambda: bool(world.relay.orders))
        while len(world.relay.orders) < 4:
            world.relay.say(Window(stand=Stand.SERVE))
            await asyncio.sleep(0.06)
        orders, passed = list(world.relay.orders), time.monotonic() - began
        assert set(orders) == {LEAVE}
        assert passed >= (len(orders) - 1) * 0.2


@pytest.mark.parametrize(
    "garbage", [b"nonsense\n", b'{"order":{"stand":"Leave","reason":""}}\n', b"\n", b"x" * (MOST_BYTES + 1)]
)
async def test_garbage_ends_the_connection_and_another_one_follows(
    world: World, monkeypatch: pytest.MonkeyPatch, garbage: bytes
) -> None:
    for name in ("LONGEST", "SELDOM"):
        monkeypatch.setattr(relaylink, name, 0.1)
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.connections == 1)
        world.relay.say(garbage, Window(accepted=1))
        await until(lambda: len(world.relay.hellos) > 1)
        assert (world.outcome("garbled"), world.taken) == (1, [])
        world.relay.say(Window(accepted=2))
        await until(lambda: bool(world.taken))


async def test_of_a_flood_little_is_taken_and_then_it_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaylink, "FLOOD", 100)
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.connections == 1)
        began = time.monotonic()
        world.relay.say(*[Window(accepted=1)] * 120)
        await until(lambda: world.outcome("taken") + world.outcome("dropped") == 120)
        most = relaylink.RATE * (1 + time.monotonic() - began)
        assert relaylink.RATE <= world.outcome("taken") <= most
        assert len(world.taken) == world.outcome("taken")
        async with asyncio.timeout(30):
            while world.relay.connections:  # a look may divide any one burst into two halves that are no floods
                world.relay.say(*[Window(accepted=1)] * 120)
                await asyncio.sleep(0.01)


async def test_who_is_watched_no_more_is_left_alone(world: World) -> None:
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.connections == 1)
        world.links.follow(TX, [])
        await until(lambda: world.relay.connections == 0)
        await asyncio.sleep(0.3)
        assert len(world.relay.heard) == 1
        assert world.metric("relayfleet_control_links") is None


@pytest.mark.parametrize("other", ["authority", "name"])
async def test_who_cannot_prove_to_be_a_relay_of_ours_is_told_nothing(world: World, tmp_path: Path, other: str) -> None:
    stranger = operators_authority() if other == "authority" else world.operators
    world.relay = FakeRelay(stranger, tmp_path, telemetry.SERVER_NAME if other == "authority" else SERVER_NAME)
    async with world.talking():
        world.follow(LEAVE)
        await asyncio.sleep(0.5)
        assert world.relay.hellos == []


async def test_a_link_that_heard_nothing_for_long_is_made_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaylink, "SILENCE", 0.1)
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: len(world.relay.hellos) > 1)


async def test_a_relay_without_control_port_is_dialled_seldom_and_comes_as_soon_as_its_stand_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaylink, "FIRST", 0.01)
    monkeypatch.setattr(relaylink, "LONGEST", 0.02)
    dials: list[relaylink.Link] = []
    dial = world.links.dial

    def dialled(link: relaylink.Link) -> None:
        dials.append(link)
        dial(link)

    monkeypatch.setattr(world.links, "dial", dialled)
    async with world.talking(listening=False):
        world.follow(SERVE)
        await until(lambda: len(dials) >= 2)
        await asyncio.sleep(0.5)
        assert len(dials) <= 4
        async with world.relay.listening(telemetry.PORT):
            world.follow(LEAVE)
            await until(lambda: world.relay.orders == [LEAVE])


async def test_a_relay_that_has_spoken_is_dialled_often(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaylink, "FIRST", 0.01)
    monkeypatch.setattr(relaylink, "LONGEST", 0.02)
    async with world.talking():
        world.follow(SERVE)
        dialled = 0
        for _ in range(12):
            await until(lambda: len(world.relay.heard) > dialled)  # noqa: B023 - awaited at once
            dialled, before = len(world.relay.heard), len(world.taken)
            world.relay.say(Window())
            await until(lambda: len(world.taken) > before)  # noqa: B023 - awaited at once
            world.relay.hang_up()


async def test_many_relays_at_once(world: World) -> None:
    async with world.talking():
        world.links.follow(TX, [Peer(f"r{number}", "127.0.0.1", SERVE) for number in range(100)])
        await until(lambda: len(world.relay.orders) == 100)
        world.relay.say(Window(accepted=1))
        await until(lambda: len({relay for _, relay, _ in world.taken}) == 100)
        assert world.metric("relayfleet_control_links") == 100


async def test_a_relay_that_speaks_of_its_credentials_is_told_of_them_when_something_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaylink, "SHARE", 0.0)
    ann, bob = Usage("ann", 1, 4), Usage("bob", 0, 9)
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.orders == [SERVE])
        world.usage = (ann, bob)
        world.relay.say(Window(accepted=1))
        await until(lambda: len(world.taken) == 1)
        assert world.relay.heard == [[Hello("leader", 7), SERVE]], "an older one would hang up"
        world.relay.say(Window(usage=SPOKEN))
        await until(lambda: world.relay.heard[0][2:] == [PoolUsage(7, (ann, bob))])
        world.relay.say(Window(accepted=2))
        await until(lambda: len(world.taken) == 3)
        world.usage = (ann, more := Usage("bob", 0, 10))
        world.relay.say(Window(accepted=3))
        await until(lambda: world.relay.heard[0][2:] == [PoolUsage(7, (ann, bob)), PoolUsage(7, (more,))])
        world.relay.hang_up()
        await until(lambda: len(world.relay.orders) > 1)
        world.relay.say(Window(accepted=4))
        await until(lambda: len(world.taken) == 5)
        assert world.relay.heard[1] == [Hello("leader", 7), SERVE], "it may be another one behind the same address"
        world.relay.say(Window(usage=SPOKEN))
        await until(lambda: world.relay.heard[1][2:] == [PoolUsage(7, (ann, more))])


async def test_a_relay_is_told_of_its_credentials_no_oftener_than_now_and_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaylink, "SHARE", 60.0)
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.orders == [SERVE])
        for total in range(1, 4):
            world.usage = (Usage("ann", 1, total),)
            world.relay.say(Window(usage=SPOKEN))
            await until(lambda total=total: len(world.taken) == total)  # type: ignore[misc]
        world.follow(LEAVE)
        await until(lambda: world.relay.orders == [SERVE, LEAVE])
        assert world.relay.heard[0][1:] == [SERVE, PoolUsage(7, (Usage("ann", 1, 1),)), LEAVE]


async def test_a_relay_that_forgot_a_credential_meanwhile_is_told_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaylink, "SHARE", 0.0)
    world.usage = (ann := Usage("ann", 1, 4), Usage("bob", 0, 9))
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.orders == [SERVE])
        world.relay.say(Window(usage=SPOKEN))
        await until(lambda: world.relay.heard[0][2:] == [PoolUsage(7, world.usage)])
        world.relay.say(Window(usage=SPOKEN))
        await until(lambda: world.relay.heard[0][3:] == [PoolUsage(7, (ann,))])


async def test_windows_in_which_no_count_changed_cost_the_leader_no_look_at_all_counts(world: World) -> None:
    async with world.talking():
        world.follow(SERVE)
        await until(lambda: world.relay.orders == [SERVE])
        began = time.monotonic()
        world.relay.say(Window(usage=SPOKEN))
        for _ in range(15):
            world.relay.say(Window(accepted=1))
        await until(lambda: len(world.taken) == 16)
        assert world.looked <= 1 + (time.monotonic() - began) / relaylink.SHARE


async def test_a_large_fleet_is_told_less_often_so_that_the_leader_has_no_more_to_do(world: World) -> None:
    for pool, size, seconds in (("small", 10, 0.5), ("large", 1000, 2.02)):
        world.links.follow(("mail", pool), [Peer(f"r{number}", "127.0.0.1", SERVE) for number in range(size)])
        assert world.links.share == seconds
    world.links.follow(("mail", "large"), [])
    assert world.links.share == 0.5
