"""A pool parks mail when it is asked to and each of its relays knows that; by the same steps as provider lanes, and apart from them."""

from __future__ import annotations

import json
from typing import Any

from relayfleet.api.labels import FOLLOWS, TEMPLATE
from relayfleet.controllers.context import Context
from relayfleet.controllers.relaypool import reconcile
from relayfleet.controllers.relaywords import ParkingWords
from relayfleet.protocol.telemetry import Window, decode_window, encode
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import context
from tests.unit.controllers.test_relaylanes import TX, pause, running
from tests.unit.controllers.test_relaypool import config, listed_pods, world


def hear(both: Context, *relays: str) -> None:
    for each in relays:
        both.parking.take_window(TX, each, Window(parks=True))


def parks(kube: FakeKube) -> tuple[bool, bool]:
    """What the relays are told, and what the pool says."""
    return config(kube)["delivery"]["parks"], kube.seen("RelayPool", "tx")["status"].get("parking", False)


def ask(kube: FakeKube, dead: str) -> None:
    kube.objects["RelayPool", "mail", "tx"]["spec"]["delivery"] = {"deadDestinations": dead}


async def test_a_pool_that_does_not_ask_parks_nothing_whatever_its_relays_can_do() -> None:
    kube = world(*listed_pods(), delivery={"providerLanes": "ByProvider"})
    both = context(kube)
    hear(both, "a", "b", "c")
    await reconcile(both, "mail", "tx")
    assert parks(kube) == (False, False)


async def test_a_new_pool_parks_from_its_first_mail() -> None:
    delivery: dict[str, Any] = {"deadDestinations": "Park"}
    kube = world(delivery=delivery)
    await reconcile(context(kube), "mail", "tx")
    assert parks(kube) == (True, True)
    assert not config(kube)["delivery"]["lanes"]


async def test_all_relays_have_to_tell_first_and_the_user_ends_it() -> None:
    kube = await running()
    both = context(kube)
    ask(kube, "Park")
    for relay, expected in (("a", False), ("b", False), ("c", True)):
        hear(both, relay)
        await reconcile(both, "mail", "tx")
        assert parks(kube) == (expected, expected)
    await reconcile(context(kube), "mail", "tx")
    assert parks(kube) == (True, True), "a new leader keeps to it"
    pause(kube, "true")
    ask(kube, "Retry")
    await reconcile(both, "mail", "tx")
    assert parks(kube) == (True, True)
    pause(kube, "false")
    await reconcile(both, "mail", "tx")
    assert parks(kube) == (False, False)


async def test_pods_of_a_template_from_before_are_replaced_once_by_the_wish() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    annotations = kube.seen("Deployment", "tx-relay")["metadata"]["annotations"]
    older = json.loads(annotations[TEMPLATE])
    older["metadata"]["annotations"][FOLLOWS] = "DeliveryRules,Requeue,ProviderLanes"
    annotations[TEMPLATE] = json.dumps(older)
    images = []
    for version, dead in ((2, "Retry"), (3, "Park"), (4, "Retry"), (5, "Park")):
        ask(kube, dead)
        await reconcile(context(kube, image=f"relayfleet:{version}"), "mail", "tx")
        images.append(kube.seen("Deployment", "tx-relay")["spec"]["template"]["spec"]["containers"][0]["image"])
    assert images == ["relayfleet:1", *["relayfleet:3"] * 3]


def test_a_relay_says_so_in_its_windows_and_one_of_before_does_not() -> None:
    news = ParkingWords()
    assert [news.heard(decode_window(encode(Window(parks=each)))) for each in (True, False)] == [True, False]
    assert not news.heard(Window())
