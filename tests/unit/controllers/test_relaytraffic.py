"""Slices and readiness gates follow the pods."""

from __future__ import annotations

import copy

import pytest

from relayfleet.api.labels import PAUSED, POOL
from relayfleet.controllers.context import Context
from relayfleet.controllers.relaysight import OVERDUE, TRUSTED, look, pods, renew
from relayfleet.controllers.relaytraffic import follow, reconcile
from relayfleet.kube.errors import KubeConflict
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool
from tests.unit.controllers.scene import context, endpoints, gates, relay_pod

READY, LAST, OUT = (True, True, False), (False, True, True), (False, False, False)


async def direct(kube: FakeKube) -> None:
    surroundings = context(kube)
    await reconcile(surroundings, "mail", "tx")
    await follow(surroundings, "mail", "tx")


async def test_a_relay_that_serves_is_listed_and_then_its_gate_opens() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"), relay_pod("b", "198.18.0.2", ready=False))
    await direct(kube)
    assert endpoints(kube) == {"a": READY, "b": OUT}
    assert gates(kube) == {"a": "True", "b": ""}
    assert kube.writes == [("create", "EndpointSlice", "tx-ipv4-0"), ("patch", "Pod", "a")]


async def test_what_is_as_it_should_be_is_not_written_again() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    await direct(kube)
    kube.writes.clear()
    await direct(kube)
    assert kube.writes == []


async def test_a_relay_that_leaves_is_unlisted_first_and_then_its_gate_closes() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"), relay_pod("b", "198.18.0.2"))
    await direct(kube)
    kube.writes.clear()
    kube.seen("Pod", "a")["metadata"]["deletionTimestamp"] = "2026-11-24T13:00:00Z"
    await direct(kube)
    assert endpoints(kube) == {"a": LAST, "b": READY}
    assert kube.writes == [("replace", "EndpointSlice", "tx-ipv4-0"), ("patch", "Pod", "a")]
    assert gates(kube) == {"a": "False", "b": "True"}


async def test_a_relay_that_is_gone_or_has_failed_is_listed_no_more() -> None:
    kube = FakeKube(pool(), *(relay_pod(name, f"198.18.0.{number}") for number, name in enumerate("abc")))
    await direct(kube)
    del kube.objects["Pod", "mail", "a"]
    kube.seen("Pod", "b")["status"]["phase"] = "Failed"
    await direct(kube)
    assert endpoints(kube) == {"c": READY}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param("Soft", LAST, id="soft"),
        pytest.param("Hard", OUT, id="hard"),
        pytest.param("yes please", LAST, id="a word that nobody knows is taken as soft"),
    ],
)
async def test_a_person_can_cordon_a_relay_by_annotation(word: str, expected: tuple[bool, bool, bool]) -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1", cordon=word), relay_pod("b", "198.18.0.2"))
    await direct(kube)
    assert endpoints(kube) == {"a": expected, "b": READY}
    assert gates(kube) == {"a": "", "b": "True"}


async def test_a_slice_that_somebody_edited_is_put_right() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    await direct(kube)
    edited = kube.seen("EndpointSlice", "tx-ipv4-0")
    as_it_was = copy.deepcopy(edited["endpoints"])
    edited["endpoints"][0]["addresses"] = ["198.18.9.9"]
    edited["metadata"]["labels"] = {POOL: "tx"}
    await direct(kube)
    assert kube.seen("EndpointSlice", "tx-ipv4-0")["endpoints"] == as_it_was
    assert kube.seen("EndpointSlice", "tx-ipv4-0")["metadata"]["labels"]["kubernetes.io/service-name"] == "tx"


async def test_a_slice_that_lost_all_its_labels_is_found_by_its_name() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    await direct(kube)
    kube.seen("EndpointSlice", "tx-ipv4-0")["metadata"]["labels"] = {}
    await direct(kube)
    assert kube.seen("EndpointSlice", "tx-ipv4-0")["metadata"]["labels"][POOL] == "tx"


async def test_a_slice_of_ours_with_a_name_that_we_never_give_goes() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    await direct(kube)
    stray = copy.deepcopy(kube.seen("EndpointSlice", "tx-ipv4-0"))
    stray["metadata"]["name"] = "tx-stray"
    kube.put(stray)
    await direct(kube)
    assert [name for kind, _, name in kube.objects if kind == "EndpointSlice"] == ["tx-ipv4-0"]


async def test_a_slice_that_somebody_changed_unseen_is_looked_at_again_and_then_written() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    surroundings = context(kube)
    await reconcile(surroundings, "mail", "tx")
    edited = copy.deepcopy(kube.seen("EndpointSlice", "tx-ipv4-0"))
    edited["endpoints"] = []
    kube.mirrors.clear()  # the watch is late
    kube.put(edited)
    surroundings.mirror.put("Pod", kube.put(relay_pod("b", "198.18.0.2")))
    await reconcile(surroundings, "mail", "tx")
    assert endpoints(kube) == {"a": READY, "b": READY}


async def test_a_slice_that_changes_at_every_look_is_not_overwritten() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    await direct(kube)
    kube.put(relay_pod("b", "198.18.0.2"))
    read = kube.list

    async def list_then_change(kind: str, *more: object, **named: object) -> list[dict[str, object]]:
        found = await read(kind, *more, **named)  # type: ignore[arg-type]
        if kind == "EndpointSlice":
            kube.mirrors.clear()
            kube.put(kube.seen("EndpointSlice", "tx-ipv4-0"))
        return found

    kube.list = list_then_change  # type: ignore[method-assign]
    with pytest.raises(KubeConflict):
        await direct(kube)
    assert endpoints(kube) == {"a": READY}
    assert gates(kube)["b"] == "", "a gate opens only after the slice is written"


async def test_once_the_pool_is_known_a_cordon_asks_the_api_server_nothing_before_it_writes() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"), relay_pod("b", "198.18.0.2"))
    surroundings = context(kube)
    await reconcile(surroundings, "mail", "tx")

    async def no_answer(*_: object, **__: object) -> None:
        raise AssertionError("the API server was asked")

    kube.get = kube.list = no_answer  # type: ignore[assignment,method-assign]
    kube.put(relay_pod("a", "198.18.0.1", cordon="Soft"))
    await reconcile(surroundings, "mail", "tx")
    assert endpoints(kube) == {"a": LAST, "b": READY}


async def test_a_paused_pool_is_left_alone() -> None:
    obj = pool()
    obj["metadata"]["annotations"] = {PAUSED: "true"}
    kube = FakeKube(obj, relay_pod("a", "198.18.0.1"))
    await direct(kube)
    assert kube.writes == []


async def test_nothing_is_made_for_a_pool_that_is_gone_or_going() -> None:
    going = pool()
    going["metadata"]["deletionTimestamp"] = "2026-11-24T13:00:00Z"
    for kube in (FakeKube(relay_pod("a", "198.18.0.1")), FakeKube(going, relay_pod("a", "198.18.0.1"))):
        await direct(kube)
        assert kube.writes == []


async def test_a_dual_stack_service_gets_slices_of_both_families() -> None:
    both = relay_pod("a", "198.18.0.1")
    both["status"]["podIPs"].append({"ip": "2001:db8::1"})
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "mail", "name": "tx"},
        "spec": {"ipFamilies": ["IPv6", "IPv4"]},
    }
    kube = FakeKube(pool(), both, service)
    await direct(kube)
    for family, address in (("4", "198.18.0.1"), ("6", "2001:db8::1")):
        found = kube.seen("EndpointSlice", f"tx-ipv{family}-0")
        assert (found["addressType"], found["endpoints"][0]["addresses"]) == (f"IPv{family}", [address])


async def test_a_gate_that_was_opened_is_known_before_the_watch_tells_of_it() -> None:
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    surroundings = context(kube)
    kube.mirrors.clear()  # no watch
    await reconcile(surroundings, "mail", "tx")
    await follow(surroundings, "mail", "tx")
    kube.writes.clear()
    await follow(surroundings, "mail", "tx")
    assert kube.writes == []


async def a_pool_whose_slice_went_unseen() -> tuple[FakeKube, Context]:
    """A watch that is begun anew says nothing of what went meanwhile; then a relay comes."""
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    surroundings = context(kube)
    await reconcile(surroundings, "mail", "tx")
    kube.mirrors.clear()
    del kube.objects["EndpointSlice", "mail", "tx-ipv4-0"]
    surroundings.mirror.put("Pod", kube.put(relay_pod("b", "198.18.0.2")))
    return kube, surroundings


async def test_a_slice_that_is_gone_unseen_is_made_anew_at_once() -> None:
    kube, surroundings = await a_pool_whose_slice_went_unseen()
    await reconcile(surroundings, "mail", "tx")
    assert endpoints(kube) == {"a": READY, "b": READY}


async def test_a_look_that_is_overdue_fetches_everything() -> None:
    _, surroundings = await a_pool_whose_slice_went_unseen()
    surroundings.memory["looked", "mail", "tx"] -= OVERDUE + 1
    seen = await look(surroundings, "mail", "tx")
    assert seen and seen.slices == {}


async def test_what_the_watches_missed_is_found_now_and_then_and_has_to_be_looked_at() -> None:
    _, surroundings = await a_pool_whose_slice_went_unseen()
    assert not await renew(surroundings, "mail", "tx")
    surroundings.memory["looked", "mail", "tx"] -= TRUSTED + 1
    assert await renew(surroundings, "mail", "tx")
    assert surroundings.mirror.list("EndpointSlice", "mail", {POOL: "tx"}) == []
    assert not await renew(surroundings, "mail", "tx")


async def test_of_a_pool_that_traffic_does_not_know_nothing_is_renewed() -> None:
    assert not await renew(context(FakeKube(pool())), "mail", "tx")


async def test_pods_are_asked_for_until_traffic_has_looked() -> None:
    """A leader that has just begun has seen none, which does not mean that there are none."""
    kube = FakeKube(pool(), relay_pod("a", "198.18.0.1"))
    surroundings = context(kube)
    assert [each["metadata"]["name"] for each in await pods(surroundings, "mail", "tx")] == ["a"]
    await reconcile(surroundings, "mail", "tx")
    kube.mirrors.clear()
    kube.put(relay_pod("b", "198.18.0.2"))  # which no watch has told of
    assert [each["metadata"]["name"] for each in await pods(surroundings, "mail", "tx")] == ["a"]
