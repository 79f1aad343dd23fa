"""A pool seals its mail from the moment on when each of its relays can open it, and says when some of it waits."""

from __future__ import annotations

import json
from typing import Any

from relayfleet.api.labels import INPUTS, PAUSED, TEMPLATE
from relayfleet.controllers.context import Context
from relayfleet.controllers.relaypool import reconcile
from relayfleet.controllers.relaywords import SealingWords
from relayfleet.protocol.telemetry import Window
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import context, relay_pod
from tests.unit.controllers.test_relaypool import condition, config, listed_pods, world

TX = ("mail", "tx")


def hear(both: Context, *relays: str, **word: Any) -> None:
    for each in relays:
        both.sealing.take_window(TX, each, Window(**({"opens": True} | word)))


def sealed(kube: FakeKube) -> tuple[bool, bool]:
    """What the relays are told, and what the pool says."""
    return config(kube)["seal"], kube.seen("RelayPool", "tx")["status"].get("sealed", False)


async def test_a_new_pool_seals_from_its_first_mail() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    assert sealed(kube) == (True, True)
    (mounted,) = kube.seen("Deployment", "tx-relay")["spec"]["template"]["spec"]["containers"]
    assert {"name": "sealing", "mountPath": "/etc/relayfleet/sealing", "readOnly": True} in mounted["volumeMounts"]


async def test_of_an_image_that_the_user_chose_the_relays_have_to_tell_first() -> None:
    kube = world(template={"image": "relayfleet:old"})
    both = context(kube)
    await reconcile(both, "mail", "tx")
    assert sealed(kube) == (False, False)
    for each in listed_pods():
        kube.put(each)
    hear(both, "a", "b", "c")
    await reconcile(both, "mail", "tx")
    assert sealed(kube) == (True, True)


async def older() -> FakeKube:
    """A pool as an operator left it that knew of no seals, with its relays."""
    kube = world(template={"image": "relayfleet:old"})
    await reconcile(context(kube), "mail", "tx")
    deployment = kube.seen("Deployment", "tx-relay")
    template = json.loads(deployment["metadata"]["annotations"][TEMPLATE])
    template["spec"]["volumes"] = [each for each in template["spec"]["volumes"] if each["name"] != "sealing"]
    deployment["metadata"]["annotations"][TEMPLATE] = json.dumps(template)
    deployment["spec"]["template"] = template
    for each in listed_pods():
        kube.put(each)
    return kube


async def test_a_new_operator_restarts_no_relay_for_it_and_has_none_seal() -> None:
    kube = await older()
    before = kube.seen("Deployment", "tx-relay")
    await reconcile(context(kube), "mail", "tx")
    after = kube.seen("Deployment", "tx-relay")
    assert after["spec"]["template"] == before["spec"]["template"]
    assert after["metadata"]["annotations"][INPUTS] == before["metadata"]["annotations"][INPUTS]
    assert sealed(kube) == (False, False)


async def test_one_relay_that_cannot_open_keeps_all_from_sealing_even_while_it_leaves() -> None:
    kube = await older()
    both = context(kube)
    hear(both, "a", "b")
    await reconcile(both, "mail", "tx")
    assert sealed(kube) == (False, False)
    kube.put(relay_pod("c", "198.18.0.2", leaving=True))
    hear(both, "a", "b")
    await reconcile(both, "mail", "tx")
    assert sealed(kube) == (False, False)
    del kube.objects["Pod", "mail", "c"]
    await reconcile(both, "mail", "tx")
    assert sealed(kube) == (True, True)


async def test_a_relay_that_starts_later_does_not_have_the_others_store_in_the_clear() -> None:
    kube = await older()
    both = context(kube)
    hear(both, "a", "b", "c")
    await reconcile(both, "mail", "tx")
    kube.put(relay_pod("d", "198.18.0.9", ready=False))
    for leader in (both, context(kube)):
        await reconcile(leader, "mail", "tx")
        assert sealed(kube) == (True, True)


async def test_a_paused_pool_does_not_begin() -> None:
    kube = await older()
    kube.seen("RelayPool", "tx")["metadata"]["annotations"][PAUSED] = "true"
    both = context(kube)
    hear(both, "a", "b", "c")
    await reconcile(both, "mail", "tx")
    assert sealed(kube) == (False, False)


async def test_mail_that_waits_for_a_key_is_told_until_it_does_not() -> None:
    kube = world(*listed_pods())
    both = context(kube)
    hear(both, "b", sealing="mail waits that is sealed by key 1f")
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("True", "SealingKeyUnavailable")
    assert condition(kube) == ("True", "Serving")
    hear(both, "b")
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("False", "AsAsked")


def test_only_news_wake_a_pool_and_relays_that_left_are_forgotten() -> None:
    woken: list[tuple[str, str]] = []
    news = SealingWords(lambda *pool: woken.append(pool))
    for window in (Window(), Window(opens=True), Window(opens=True), Window(opens=True, sealing="a")):
        news.take_window(TX, "gone", window)
    assert woken == [TX] * 2
    news.keep(TX, {"other"})
    assert (news.of(TX, "gone"), news.open(TX, ["gone"])) == ((False, ""), [False])
