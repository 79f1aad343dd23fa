"""A pool uses provider lanes when it is asked to and each of its relays takes mail from them."""

from __future__ import annotations

import json
from typing import Any

from relayfleet.api.labels import FOLLOWS, PAUSED, TEMPLATE
from relayfleet.controllers.context import Context
from relayfleet.controllers.relaypool import reconcile
from relayfleet.controllers.relaywords import LaneWords
from relayfleet.protocol.telemetry import Window
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import context, relay_pod
from tests.unit.controllers.test_relaypool import config, listed_pods, world

TX = ("mail", "tx")
LANES: dict[str, Any] = {"delivery": {"providerLanes": "ByProvider"}}


def hear(both: Context, *relays: str) -> None:
    for each in relays:
        both.lanes.take_window(TX, each, Window(lanes=True))


def uses(kube: FakeKube) -> tuple[bool, bool]:
    """What the relays are told, and what the pool says."""
    return config(kube)["delivery"]["lanes"], kube.seen("RelayPool", "tx")["status"].get("providerLanes", False)


def ask(kube: FakeKube, lanes: str) -> None:
    kube.objects["RelayPool", "mail", "tx"]["spec"]["delivery"] = {"providerLanes": lanes}


def pause(kube: FakeKube, paused: str) -> None:
    kube.objects["RelayPool", "mail", "tx"]["metadata"].setdefault("annotations", {})[PAUSED] = paused


async def running(image: str = "relayfleet:old") -> FakeKube:
    """A pool that uses no lanes, with its relays."""
    kube = world(template={"image": image})
    await reconcile(context(kube), "mail", "tx")
    for each in listed_pods():
        kube.put(each)
    return kube


async def test_a_pool_that_does_not_ask_uses_none_whatever_its_relays_can_do() -> None:
    kube = world(*listed_pods())
    both = context(kube)
    hear(both, "a", "b", "c")
    await reconcile(both, "mail", "tx")
    assert uses(kube) == (False, False)


async def test_a_new_pool_uses_them_from_its_first_mail() -> None:
    kube = world(**LANES)
    await reconcile(context(kube), "mail", "tx")
    assert uses(kube) == (True, True)


async def test_of_an_image_that_the_user_chose_all_relays_have_to_tell_first_those_that_leave_too() -> None:
    kube = await running()
    both = context(kube)
    ask(kube, "ByProvider")
    hear(both, "a", "b")
    await reconcile(both, "mail", "tx")
    assert uses(kube) == (False, False)
    kube.put(relay_pod("c", "198.18.0.2", leaving=True))
    await reconcile(both, "mail", "tx")
    assert uses(kube) == (False, False)
    hear(both, "c")
    await reconcile(both, "mail", "tx")
    assert uses(kube) == (True, True)


async def test_a_relay_that_comes_later_and_a_new_leader_change_nothing_and_the_user_ends_it() -> None:
    kube = await running()
    both = context(kube)
    ask(kube, "ByProvider")
    hear(both, "a", "b", "c")
    await reconcile(both, "mail", "tx")
    kube.put(relay_pod("d", "198.18.0.9", ready=False))
    for leader in (both, context(kube)):
        await reconcile(leader, "mail", "tx")
        assert uses(kube) == (True, True)
    ask(kube, "None")
    await reconcile(both, "mail", "tx")
    assert uses(kube) == (False, False)


async def test_a_paused_pool_neither_begins_nor_ends() -> None:
    kube = await running()
    both = context(kube)
    hear(both, "a", "b", "c")
    ask(kube, "ByProvider")
    for paused, expected in (("true", False), ("false", True)):
        pause(kube, paused)
        await reconcile(both, "mail", "tx")
        assert uses(kube) == (expected, expected)
    ask(kube, "None")
    for paused, expected in (("true", True), ("false", False)):
        pause(kube, paused)
        await reconcile(both, "mail", "tx")
        assert uses(kube) == (expected, expected)


async def test_pods_of_a_template_from_before_are_replaced_once_by_the_wish_and_by_nothing_else() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    annotations = kube.seen("Deployment", "tx-relay")["metadata"]["annotations"]
    older = json.loads(annotations[TEMPLATE])
    older["metadata"]["annotations"][FOLLOWS] = "DeliveryRules,Requeue"
    annotations[TEMPLATE] = json.dumps(older)
    images = []
    for version, lanes in ((2, "None"), (3, "ByProvider"), (4, "None"), (5, "ByProvider")):
        ask(kube, lanes)
        await reconcile(context(kube, image=f"relayfleet:{version}"), "mail", "tx")
        images.append(kube.seen("Deployment", "tx-relay")["spec"]["template"]["spec"]["containers"][0]["image"])
    assert images == ["relayfleet:1", *["relayfleet:3"] * 3]


def test_only_news_wake_a_pool_and_relays_that_left_are_forgotten() -> None:
    woken: list[tuple[str, str]] = []
    news = LaneWords(lambda *pool: woken.append(pool))
    for window in (Window(), Window(lanes=True), Window(lanes=True), Window()):
        news.take_window(TX, "gone", window)
    assert woken == [TX] * 2
    news.take_window(TX, "gone", Window(lanes=True))
    news.keep(TX, {"other"})
    assert not news.of(TX, "gone")
