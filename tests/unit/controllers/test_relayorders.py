"""Which relays are talked to, and what each is told: what the slices say, in the words of the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from relayfleet.api.labels import PAUSED
from relayfleet.controllers.evidence import PoolName
from relayfleet.controllers.relaypeers import Peer
from relayfleet.kube.client import Object
from relayfleet.protocol.telemetry import Order, Stand, Usage, Usages, Window
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool
from tests.unit.controllers.scene import endpoints, relay_pod
from tests.unit.controllers.test_relayhealth import LAST, NAMES, OUT, READY, Stage

SERVE = Order(Stand.SERVE)


class Told:
    """What goes out to the relays of the pool; `slices` is what the first slice said at that moment."""

    def __init__(self, kube: FakeKube) -> None:
        self.peers: dict[str, Peer] = {}
        self.slices: dict[str, tuple[bool, bool, bool]] = {}
        self._kube = kube

    def follow(self, pool: PoolName, peers: Sequence[Peer]) -> None:
        assert pool == ("mail", "tx")
        self.peers = {each.relay: each for each in peers}
        self.slices = endpoints(self._kube) if peers else {}

    @property
    def orders(self) -> dict[str, Order | None]:
        return {name: each.order for name, each in self.peers.items()}


class Ordering(Stage):
    """The stage with relays that are talked to; `cordons` are annotations by relay."""

    def __init__(self, *more: Object, **cordons: str) -> None:
        pods = [relay_pod(name, f"198.18.0.{n}", cordon=cordons.get(name, "")) for n, name in enumerate(NAMES, start=1)]
        super().__init__(FakeKube(pool(), *pods, *more))
        self.told = Told(self.kube)
        self.context = replace(self.context, links=self.told)


async def test_relays_that_are_watched_are_talked_to_at_their_addresses() -> None:
    stage = Ordering(relay_pod("d", "198.18.0.9", ready=False), relay_pod("e", "198.18.0.8", leaving=True))
    await stage.direct()
    assert stage.told.peers == {name: Peer(name, f"198.18.0.{n}", SERVE) for n, name in enumerate(NAMES, start=1)}


async def test_a_hard_cordon_by_hand_is_ordered_after_the_slices_say_so_and_taken_back() -> None:
    stage = Ordering(b="Hard", c="Soft")
    await stage.direct()
    order = stage.told.orders.pop("b")
    assert stage.told.orders == {"a": SERVE, "b": order, "c": SERVE}
    assert order and order.stand is Stand.LEAVE
    assert order.reason.startswith("Ordered: cordoned by order")
    assert stage.told.slices == {"a": READY, "b": OUT, "c": LAST}
    stage.kube.put(relay_pod("b", "198.18.0.2"))
    await stage.direct()
    assert set(stage.told.orders.values()) == {SERVE}


async def test_when_nobody_else_is_left_a_hard_cordoned_relay_serves() -> None:
    stage = Ordering(a="Hard", b="Hard", c="Hard")
    await stage.direct()
    assert set(stage.told.orders.values()) == {SERVE}


async def test_a_relay_that_says_it_cannot_serve_leaves_in_its_own_words_and_comes_back() -> None:
    stage = Ordering()
    await stage.direct()
    stage.hear({})
    stage.health.take_window(("mail", "tx"), "b", Window(unfit="no memory is left"))
    stage.health.tick()
    assert stage.changed == [("mail", "tx")]
    await stage.direct()
    order = stage.told.orders["b"]
    assert order and order.stand is Stand.LEAVE
    assert order.reason.startswith("Unfit: ")
    assert "no memory is left" in order.reason
    assert endpoints(stage.kube)["b"] == OUT
    stage.health.take_window(("mail", "tx"), "b", Window())
    stage.hear({}, 30.0)
    await stage.direct()
    assert stage.told.orders["b"] == SERVE
    assert endpoints(stage.kube)["b"] == READY


async def test_a_window_waits_no_longer_than_the_next_word_of_a_prober() -> None:
    stage = Ordering()
    await stage.direct()
    stage.hear({})
    stage.health.take_window(("mail", "tx"), "b", Window(unfit="no memory is left"))
    assert stage.changed == []
    stage.hear({}, 0.1)
    assert stage.changed == [("mail", "tx")]


async def test_windows_of_relays_that_are_gone_are_counted_and_dropped() -> None:
    stage = Ordering()
    await stage.direct()
    stage.health.take_window(("mail", "tx"), "gone", Window(unfit="x"))
    stage.health.take_window(("mail", "other"), "a", Window(unfit="x"))
    stage.health.tick()
    assert (stage.health.counts.ignored, stage.changed) == (2, [])


async def test_a_paused_pools_relays_are_heard_and_ordered_nothing() -> None:
    stage = Ordering(b="Hard")
    paused = pool()
    paused["metadata"]["annotations"] = {PAUSED: "true"}
    await stage.direct()
    stage.kube.put(paused)
    await stage.direct()
    assert stage.told.orders == dict.fromkeys(NAMES)


async def test_a_pool_that_is_gone_is_talked_to_no_more() -> None:
    stage = Ordering()
    await stage.direct()
    await stage.kube.delete("RelayPool", "mail", "tx")
    await stage.direct()
    assert stage.told.peers == {}


async def test_of_pods_that_are_gone_it_is_forgotten_what_they_said_of_credentials() -> None:
    stage = Ordering()
    await stage.direct()
    usages = Usages(int(time.time() // 86400), "run", (Usage("ann", 5),))
    for name in ("a", "b"):
        stage.context.usage.take(("mail", "tx"), name, Window(usage=usages))
    stage.context.mirror.drop("Pod", stage.kube.objects.pop(("Pod", "mail", "a")))
    await stage.direct()
    told = [stage.context.usage.told(("mail", "tx"), name, usages) for name in ("a", "b")]
    assert told == [(), (Usage("ann", 5, 10),)]
