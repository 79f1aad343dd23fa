"""What probers and relays tell of brokers, from their words to the queue's status."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuebrokers, queueprobes
from relayfleet.controllers.brokersights import FIRST_LOOKS, BrokerSights
from relayfleet.controllers.queuebrokers import CANARIES, prober_password
from relayfleet.controllers.queuecluster import AGAIN, reconcile, retell
from relayfleet.controllers.queuememory import of
from relayfleet.controllers.queuesecrets import Held
from relayfleet.decide.health.roster import Vantage
from relayfleet.decide.queue.facts import Brokers, Cluster
from relayfleet.kube.client import Object
from relayfleet.protocol.brokerprobing import BrokerSight, BrokerTarget
from relayfleet.protocol.probing import Seen
from relayfleet.protocol.telemetry import Confirms, Window
from relayfleet.runtime.brokermetrics import BrokerMetrics
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import context

QUEUE: Object = {
    "apiVersion": "relayfleet.io/v1alpha1",
    "kind": "QueueCluster",
    "metadata": {"namespace": "mail", "name": "q", "generation": 1},
    "spec": {"type": "RabbitMQ"},
    "status": {"conditions": []},
}
NAME = ("mail", "q")
ADMIN = {"username": "operator", "password": "of the operator", "ca.crt": "PEM"}
HELD = Held(ADMIN, {"username": "relay", "password": "x"})
START = datetime.datetime(2026, 11, 28, 8, 0, tzinfo=datetime.UTC)
VANTAGES = (Vantage("one", "node-1"), Vantage("two", "node-2"))


def broker(number: int, *, ready: bool = True, leaving: bool = False, uid: str = "u") -> Object:
    metadata: dict[str, Any] = {
        "namespace": "mail",
        "name": f"q-rabbitmq-{number}",
        "uid": f"{uid}{number}",
        "labels": {"relayfleet.io/queue": "q"},
        "creationTimestamp": "2026-11-24T12:00:00Z",
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-24T13:00:00Z"
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-11-24T12:00:05Z"}
    status = {"phase": "Running", "podIP": f"198.18.0.{number + 1}", "conditions": [condition]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n"}, "status": status}


@dataclass
class Told:
    """What the probers are told to probe."""

    targets: list[BrokerTarget] = field(default_factory=list)

    def watch_brokers(self, targets: Any) -> None:
        self.targets = list(targets)


class Scene:
    """A queue of three brokers, two probers and a clock."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.changes: list[tuple[str, str]] = []
        self.sights = BrokerSights(
            lambda *name: self.changes.append(name),
            lambda: self.time,
            lambda: START + datetime.timedelta(seconds=self.time),
        )
        self.told = Told()
        self.sights.probers = self.told
        self.sights.present(VANTAGES)
        self.kube = FakeKube(QUEUE)
        object.__setattr__(made := context(self.kube), "brokers", self.sights)
        self.context = made
        self.look(broker(0), broker(1), broker(2))

    def look(self, *pods: Object) -> None:
        queueprobes.watch(self.context, QUEUE, list(pods), HELD, 3)

    def goes_on(self, seconds: float, *silent: int, prober: tuple[str, ...] = ("one", "two")) -> None:
        """Time passes; brokers answer each second but for these, of which probers say four times a second how long they have been silent."""
        began = self.time
        for _ in range(int(seconds * 4)):
            self.time += 0.25
            for vantage in prober:
                sights = [self._sight(each, silent, began) for each in self.told.targets]
                self.sights.take(vantage, Seen((), self.time, tuple(sights)))
            self.sights.tick()

    def _sight(self, target: BrokerTarget, silent: tuple[int, ...], began: float) -> BrokerSight:
        if any(target.key.endswith(f"-{number}/u{number}") for number in silent):
            return BrokerSight(target.key, "Silent", "Publish", 0.0, since=self.time - began, why="mute")
        return BrokerSight(target.key, "Answered", "Publish", 0.01, latency=0.02)

    def named(self) -> dict[str, str]:
        return {each.pod: each.reason for each in self.sights.of(NAME).silent}


def test_brokers_that_are_ready_are_probed_as_a_user_that_may_only_make_canaries() -> None:
    scene = Scene()
    first = scene.told.targets[0]
    assert [each.host for each in scene.told.targets] == ["198.18.0.1", "198.18.0.2", "198.18.0.3"]
    assert (first.port, first.server_name, first.authority) == (5671, names.host(QUEUE, 0), "PEM")
    assert first.username == names.PROBER_USER
    assert first.password == prober_password(ADMIN)
    assert first.password not in repr(first)
    assert ADMIN["password"] not in first.password
    for right in (CANARIES.configure, CANARIES.write, CANARIES.read):
        assert "*" not in right.replace(r"relayfleet\.canary\..*", "")
        assert "amq.default" not in right


def test_a_broker_that_starts_or_leaves_is_not_probed_and_one_that_broke_down_is() -> None:
    scene = Scene()
    scene.look(broker(0, ready=False), broker(1, leaving=True), broker(2))
    assert [each.host for each in scene.told.targets] == ["198.18.0.3"]
    scene.goes_on(2)
    scene.look(broker(0), broker(2, ready=False))
    assert [each.host for each in scene.told.targets] == ["198.18.0.1", "198.18.0.3"]
    scene.look(broker(0), broker(2, ready=False, uid="another"))
    assert [each.host for each in scene.told.targets] == ["198.18.0.1"], "it was made anew, and starts"


def test_a_broker_that_falls_silent_is_named_within_two_seconds_and_taken_back_after_a_few_answers() -> None:
    scene = Scene()
    scene.goes_on(5)
    assert scene.changes == []
    scene.goes_on(2, 1)
    assert scene.named() == {"q-rabbitmq-1": "BrokerSilent"}
    assert scene.changes == [NAME]
    (said,) = scene.sights.of(NAME).silent
    assert said.known
    assert "since 2026-11-28T08:16:45Z, as 2 of 2 probers see: mute" in said.message
    scene.goes_on(30, 1)
    assert scene.sights.of(NAME).silent == (said,), "the words stay, or the status would be written again and again"
    scene.goes_on(0.5)
    assert scene.named()
    scene.goes_on(1)
    assert scene.named() == {}
    assert scene.changes == [NAME, NAME]


def test_a_relay_that_publishes_through_a_broker_keeps_it_from_being_named() -> None:
    scene = Scene()
    scene.goes_on(5)
    for _ in range(8):
        scene.goes_on(0.5, 1)
        window = Window(confirms=(Confirms(f"{names.host(QUEUE, 1)}:5671", confirmed=3),), age=0.1)
        scene.sights.take_window(window)
        scene.sights.take_window(Window(confirms=(Confirms("stranger:5671", confirmed=3), Confirms("", late=1))))
    assert scene.named() == {}
    assert scene.sights.of(NAME).publishing


def test_words_about_brokers_that_nobody_asked_about_and_of_probers_that_are_gone_count_for_nothing() -> None:
    scene = Scene()
    scene.sights.take("one", Seen((), 1.0, (BrokerSight("x/y/z/u", "Refused", "Connect", 0.0),)))
    scene.goes_on(3, 1)
    assert scene.named()
    scene.sights.present(VANTAGES[:1])
    scene.goes_on(1, prober=("one",))
    assert scene.named() == {}
    scene.sights.forget(NAME)
    assert scene.told.targets == []
    scene.goes_on(1)
    assert scene.sights.of(NAME).silent == ()


def test_what_is_seen_is_in_the_metrics() -> None:
    scene = Scene()
    scene.goes_on(5)
    scene.goes_on(3, 1)
    registry = CollectorRegistry()
    registry.register(BrokerMetrics(scene.sights))
    text = generate_latest(registry).decode()
    labels = 'broker="q-rabbitmq-1",namespace="mail",queue="q"'
    assert f"relayfleet_broker_confirm_seconds_count{{{labels}}} 40.0" in text
    assert (
        'relayfleet_broker_confirm_seconds_bucket{broker="q-rabbitmq-1",le="0.025",namespace="mail",queue="q"} 40.0'
        in text
    )
    assert (
        'relayfleet_broker_probe_failures_total{broker="q-rabbitmq-1",kind="Silent",namespace="mail",queue="q"} 24.0'
        in text
    )
    assert f"relayfleet_broker_confirmed_age_seconds{{{labels}}} 3.0" in text
    assert f'relayfleet_broker_silent{{{labels},reason="BrokerSilent"}} 1.0' in text


def found(scene: Scene) -> None:
    """What the last whole look at the queue found."""
    nodes = frozenset(names.node(QUEUE, number) for number in range(3))
    of(scene.context.memory, *NAME).cluster = Cluster(
        3, 3, brokers=Brokers("4", nodes, nodes), set_up=True, served=True
    )
    for number in range(3):
        scene.kube.put(broker(number))


def conditions(scene: Scene) -> dict[str, Object]:
    return {each["type"]: each for each in scene.kube.seen("QueueCluster", "q")["status"]["conditions"]}


async def test_the_status_names_the_broker_without_asking_any_other() -> None:
    scene = Scene()
    found(scene)
    scene.goes_on(5)
    scene.goes_on(2, 2)
    await retell(scene.context, *NAME)
    said = conditions(scene)
    assert (said["Degraded"]["status"], said["Degraded"]["reason"]) == ("True", "BrokerSilent")
    assert "q-rabbitmq-2" in said["Degraded"]["message"]
    assert said["Ready"]["status"] == "True"
    assert scene.kube.seen("QueueCluster", "q")["status"]["brokers"] == "2/3"
    events = [each for (kind, *_), each in scene.kube.objects.items() if kind == "Event"]
    assert ("BrokerSilent", "Warning") in {(each["reason"], each["type"]) for each in events}
    scene.goes_on(2)
    await retell(scene.context, *NAME)
    assert conditions(scene)["Degraded"]["status"] == "False"


async def test_a_new_leader_takes_nothing_back_before_it_has_looked() -> None:
    scene = Scene()
    found(scene)
    scene.goes_on(2, 2)
    await retell(scene.context, *NAME)
    assert "status" not in conditions(scene).get("Degraded", {}) or conditions(scene)["Degraded"]["status"] == "True"
    after = Scene()
    after.kube.put(scene.kube.seen("QueueCluster", "q"))
    found(after)
    await retell(after.context, *NAME)
    assert conditions(after)["Degraded"]["reason"] == "BrokerSilent", "it is said by the one before"
    after.goes_on(FIRST_LOOKS + 1)
    await retell(after.context, *NAME)
    assert conditions(after)["Degraded"]["status"] == "False"


@pytest.mark.parametrize("held", [Held({}, {}), Held({}, {}, "lost")])
def test_without_credentials_nothing_is_probed(held: Held) -> None:
    scene = Scene()
    queueprobes.watch(scene.context, QUEUE, [broker(0)], held, 3)
    assert scene.told.targets == []


async def test_a_look_at_the_queue_has_its_brokers_probed_before_their_management_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that stands still holds the management up, and must not hold up that it is noticed."""
    scene = Scene()
    scene.sights.forget(NAME)
    resource = {**QUEUE, "status": {"version": "4.0.5", "conditions": []}}
    for each in (resource, broker(0), broker(1), broker(2)):
        scene.kube.put(each)
    asked: list[int] = []

    async def look_after(*_: Any) -> None:
        asked.append(len(scene.told.targets))
        scene.goes_on(5)
        scene.goes_on(2, 1)
        await retell(scene.context, *NAME)  # there is no last look yet, so there is nothing to tell

    monkeypatch.setattr(queuebrokers, "look_after", look_after)
    assert await reconcile(scene.context, *NAME) == AGAIN
    assert asked == [3]
    assert {each.username for each in scene.told.targets} == {names.PROBER_USER}
    assert (conditions(scene)["Degraded"]["reason"], conditions(scene)["Ready"]["status"]) == ("BrokerSilent", "True")
    scene.goes_on(2)
    await retell(scene.context, *NAME)
    assert conditions(scene)["Degraded"]["status"] == "False"
    await scene.kube.delete("QueueCluster", *NAME)
    await reconcile(scene.context, *NAME)
    assert scene.told.targets == []
