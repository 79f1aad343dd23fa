"""What kopf is told."""

from __future__ import annotations

import kopf
import pytest

from relayfleet.api.labels import POOL, QUEUE
from relayfleet.controllers.handlers import TRAFFIC, USERS, Wiring
from relayfleet.kube.client import Object
from relayfleet.kube.mirror import Mirror
from relayfleet.runtime.liveness import Liveness
from relayfleet.runtime.workqueue import Key, WorkQueue

CURED = 90.0
"""Seconds within which a frozen watch has to be cured."""


def test_kopf_waits_for_nothing_longer_than_a_frozen_watch_may_last() -> None:
    settings = kopf.OperatorSettings()
    Wiring.configure(settings)
    networking, watching = settings.networking, settings.watching
    waits = (networking.request_timeout, networking.connect_timeout, watching.inactivity_timeout)
    assert all(each is not None and each < CURED for each in waits)


def test_kopf_copies_no_object_to_find_changes_that_nobody_handles() -> None:
    settings = kopf.OperatorSettings()
    Wiring.configure(settings)
    body = kopf.Body({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}})
    storage = settings.persistence.diffbase_storage
    assert (storage.fetch(body=body), storage.build(body=body)) == (None, {})


class Woken(WorkQueue):
    """What was added."""

    def __init__(self) -> None:
        self.keys: list[Key] = []

    def add(self, key: Key) -> None:
        self.keys.append(key)


def relays_pod(secret: str) -> Object:
    volumes = [{"name": "broker", "secret": {"secretName": secret}}]
    return {"metadata": {"namespace": "mail", "name": "a", "labels": {POOL: "tx"}}, "spec": {"volumes": volumes}}


BROKERS_POD = {"metadata": {"namespace": "mail", "name": "mail-rabbitmq-0", "labels": {QUEUE: "mail"}}, "spec": {}}
QUEUE_CLUSTER = {"metadata": {"namespace": "mail", "name": "mail"}, "spec": {}}
EVENTS = {
    "a relay's pod comes or goes": ("pods", relays_pod("mail-rabbitmq-client"), True),
    "one that logs in at somebody else's brokers": ("pods", relays_pod("somebodys"), False),
    "a broker's pod": ("pods", BROKERS_POD, True),
    "the brokers' other children": ("configmaps", BROKERS_POD, False),
    "the queue": ("QueueCluster", QUEUE_CLUSTER, True),
}


@pytest.mark.parametrize(("param", "obj", "woken"), EVENTS.values(), ids=EVENTS)
async def test_what_wakes_the_work_on_relays_users(param: str, obj: Object, woken: bool) -> None:
    users = Woken()
    wiring = Wiring(Woken(), Woken(), users, Liveness(lambda: True), Mirror())
    see = wiring._resource if param == "QueueCluster" else wiring._child
    await see(param, {"type": "ADDED", "object": obj})
    assert users.keys == ([Key(USERS, "mail", "mail")] if woken else [])


async def test_what_the_mirror_knew_already_wakes_no_traffic() -> None:
    """A thousand pods that a watch lists when it begins would have each pool looked at fifty times."""
    traffic, mirror = Woken(), Mirror()
    wiring = Wiring(Woken(), traffic, Woken(), Liveness(lambda: True), mirror)

    def pod(version: str) -> Object:
        obj = relays_pod("mail-rabbitmq-client")
        return obj | {"metadata": obj["metadata"] | {"uid": "1", "resourceVersion": version}}

    mirror.put("Pod", pod("8"))
    await wiring._child("pods", {"type": None, "object": pod("8")})
    assert traffic.keys == []
    await wiring._child("pods", {"type": "MODIFIED", "object": pod("7")})  # somebody else's, under ours
    await wiring._child("pods", {"type": "DELETED", "object": pod("8")})
    assert traffic.keys == [Key(TRAFFIC, "mail", "tx")] * 2
