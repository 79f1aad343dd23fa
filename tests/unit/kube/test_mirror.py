"""The mirror has the newest that it was told, and loses nothing that came while it asked."""

from __future__ import annotations

from typing import Any, cast

from relayfleet.api.labels import POOL
from relayfleet.kube.client import Kube, Object
from relayfleet.kube.mirror import Mirror
from tests.fakes.kube import FakeKube

LABELS = {POOL: "tx"}


def pod(name: str, version: int = 1, **metadata: Any) -> Object:
    told = {"namespace": "mail", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "labels": LABELS}
    return {"kind": "Pod", "metadata": told | metadata}


def names(mirror: Mirror) -> list[str]:
    return [each["metadata"]["name"] for each in mirror.list("Pod", "mail", LABELS)]


def test_it_lists_by_namespace_and_label() -> None:
    mirror = Mirror()
    for each in (pod("b"), pod("a"), pod("other", labels={POOL: "bulk"}), pod("far", namespace="elsewhere")):
        mirror.put("Pod", each)
    assert names(mirror) == ["a", "b"]
    assert mirror.get("Service", "mail", "a") is None


def test_an_object_that_changes_its_pool_is_in_the_new_one_only() -> None:
    mirror = Mirror()
    mirror.put("Pod", pod("a", 1))
    mirror.put("Pod", pod("a", 2, labels={POOL: "bulk", "app": "relay"}))
    mirror.put("Pod", pod("none", labels=None))
    assert names(mirror) == []
    assert [each["metadata"]["name"] for each in mirror.list("Pod", "mail", {POOL: "bulk"})] == ["a"]
    assert [each["metadata"]["name"] for each in mirror.list("Pod", "mail", {"app": "relay"})] == ["a"]
    assert [each["metadata"]["name"] for each in mirror.list("Pod", "mail", {})] == ["a", "none"]
    mirror.drop("Pod", pod("a", 3))
    assert mirror.list("Pod", "mail", {POOL: "bulk"}) == []


def test_older_news_does_not_replace_newer() -> None:
    mirror = Mirror()
    mirror.put("Pod", pod("a", 10))
    mirror.put("Pod", pod("a", 9))
    found = mirror.get("Pod", "mail", "a")
    assert found and found["metadata"]["resourceVersion"] == "10"


def test_what_is_gone_does_not_come_back_with_old_news_but_a_new_one_of_its_name_does() -> None:
    mirror = Mirror()
    mirror.put("Pod", pod("a", 10))
    mirror.drop("Pod", pod("a", 11))
    mirror.put("Pod", pod("a", 9))
    assert names(mirror) == []
    mirror.put("Pod", pod("a", 12, uid="another"))
    mirror.drop("Pod", pod("a", 11))
    assert names(mirror) == ["a"]


async def test_what_is_not_found_is_gone() -> None:
    mirror = Mirror()
    mirror.put("Pod", pod("a"))
    mirror.put("Service", pod("tx") | {"kind": "Service"})
    kube = cast("Kube", FakeKube(pod("b")))
    (await mirror.asked(kube, "Pod", "mail", LABELS))()
    (await mirror.asked_one(kube, "Service", "mail", "tx"))()
    assert names(mirror) == ["b"]
    assert mirror.get("Service", "mail", "tx") is None


async def test_what_comes_while_the_answer_is_under_way_stays() -> None:
    mirror, fake = Mirror(), FakeKube()
    read = fake.list

    async def slow(*arguments: Any, **named: Any) -> list[Object]:
        found = await read(*arguments, **named)
        mirror.put("Pod", pod("new"))
        return found

    fake.list = slow  # type: ignore[method-assign]
    (await mirror.asked(cast("Kube", fake), "Pod", "mail", LABELS))()
    assert names(mirror) == ["new"]


def test_news_is_what_nobody_was_told_yet() -> None:
    """An own write of version 9 came over somebody else's 8, which the watch tells of later."""
    mirror = Mirror()
    assert mirror.put("Pod", pod("a", 9))
    assert mirror.put("Pod", pod("a", 8))
    assert not mirror.put("Pod", pod("a", 9))
    assert mirror.put("Pod", pod("a", 10))


def test_what_loses_its_labels_and_gets_them_back_is_there_again() -> None:
    """A watch by label says that it was deleted."""
    mirror = Mirror()
    mirror.put("Pod", pod("a", 10))
    mirror.drop("Pod", pod("a", 11))
    assert not mirror.put("Pod", pod("a", 11))
    assert mirror.put("Pod", pod("a", 12))
    assert names(mirror) == ["a"]
