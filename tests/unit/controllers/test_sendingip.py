"""A SendingIP's claim, and the pools that use it."""

from __future__ import annotations

from typing import Any

from relayfleet.controllers.sendingip import reconcile
from relayfleet.kube.client import Object
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool, resource
from tests.unit.controllers.scene import context


def sending_ip(name: str, created: str, *, namespace: str = "mail", address: str = "203.0.113.10") -> Object:
    obj = resource("SendingIP", name, address=address, region="eu", heloName="a.mail.example.com")
    obj["metadata"] |= {
        "namespace": namespace,
        "creationTimestamp": f"2026-11-24T{created}Z",
        "labels": {"pool": "tx"},
    }
    return obj


def ready(kube: FakeKube, name: str, namespace: str = "mail") -> tuple[str, str]:
    conditions: list[Any] = kube.objects["SendingIP", namespace, name]["status"]["conditions"]
    found = {each["type"]: each for each in conditions}["Ready"]
    return found["status"], found["reason"]


async def test_the_younger_of_two_in_the_cluster_stands_back_and_takes_over_when_the_older_is_gone() -> None:
    old, young = sending_ip("a", "12:00:00", namespace="other"), sending_ip("b", "12:00:01")
    kube = FakeKube(old, young)
    both = context(kube)
    await reconcile(both, "other", "a")
    await reconcile(both, "mail", "b")
    assert (ready(kube, "a", "other"), ready(kube, "b")) == (("True", "Claimed"), ("False", "AddressClaimed"))
    del kube.objects["SendingIP", "other", "a"]
    await reconcile(both, "mail", "b")  # at once: a list that is a moment old must not hold it back
    assert ready(kube, "b") == ("True", "Claimed")


async def test_one_that_is_newer_than_the_list_at_hand_is_not_taken_for_the_first() -> None:
    kube = FakeKube(sending_ip("z", "11:00:00", address="203.0.113.99"))
    both = context(kube)
    await reconcile(both, "mail", "z")
    kube.put(sending_ip("a", "12:00:00", namespace="other"))
    kube.put(sending_ip("b", "12:00:01"))
    await reconcile(both, "mail", "b")
    assert ready(kube, "b") == ("False", "AddressClaimed")


async def test_many_at_once_share_one_list() -> None:
    kube = FakeKube(*(sending_ip(f"s{each}", "12:00:00", address=f"203.0.113.{each}") for each in range(20)))
    lists = []
    read = kube.list

    async def counted(kind: str, *more: Any, **named: Any) -> Any:
        lists.append(kind)
        return await read(kind, *more, **named)

    kube.list = counted  # type: ignore[method-assign]
    both = context(kube)
    for each in range(20):
        await reconcile(both, "mail", f"s{each}")
    assert lists.count("SendingIP") < 20


async def test_it_names_the_pools_that_select_it() -> None:
    other = pool(sendingIPSelector={"matchLabels": {"pool": "other"}})
    other["metadata"] = other["metadata"] | {"name": "other"}
    kube = FakeKube(sending_ip("a", "12:00:00"), pool(), other)
    await reconcile(context(kube), "mail", "a")
    assert kube.seen("SendingIP", "a")["status"]["pools"] == ["tx"]
