"""The relays' users at the brokers: who is fenced and who gets its user back, whoever leads, and whatever does not answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Self, cast

import pytest

from relayfleet.act.broker.errors import BrokerUnreachable
from relayfleet.act.broker.management import EVERYTHING, Rights
from relayfleet.api.labels import MANAGED_BY, MANAGER, PAUSED
from relayfleet.controllers import relaypool, relayuserhand, relayusers
from relayfleet.controllers.queuefarewell import _lock
from relayfleet.controllers.relayuserhand import Memory, Way
from relayfleet.decide.health.state import State
from relayfleet.decide.health.store import load
from relayfleet.kube.client import Object
from relayfleet.kube.errors import NotLeader
from relayfleet.protocol import brokeruser
from relayfleet.protocol.telemetry import Stand, Window
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool, queue, resource
from tests.unit.controllers.scene import relay_pod
from tests.unit.controllers.test_relayhealth import NAMES, Stage

SEED = "the password that relays share"


class FakeBrokers:
    """Users with passwords, permissions, connections; `done` tells what was done, in order. `fails` makes every question fail."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {"operator": "x", "relay": SEED}
        self.rights: dict[str, Rights] = {"relay": EVERYTHING}
        self.done: list[str] = []
        self.fails: Callable[[], Awaitable[None]] | None = None
        self.looks = 0

    @property
    def relays(self) -> set[str]:
        """Relays that can log in."""
        own = {relay: user for user in self.passwords if (relay := brokeruser.relay_of(user))}
        return {
            relay
            for relay, user in own.items()
            if self.passwords[user] == brokeruser.password(relay, SEED) and self.rights.get(user) == EVERYTHING
        }

    # As `Way` and `Management` have it.

    serving, seed = True, SEED

    def management(self) -> FakeBrokers:
        return self

    async def __aenter__(self) -> Self:
        self.looks += 1
        if self.fails:
            await self.fails()
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def users(self) -> dict[str, str]:
        return {name: hashed(password) for name, password in self.passwords.items()}

    async def permissions(self, vhost: str) -> dict[str, Rights]:
        return dict(self.rights)

    async def put_user(self, name: str, password: str, vhost: str) -> None:
        self.done.append(f"put {name}")
        self.passwords[name], self.rights[name] = password, EVERYTHING

    async def delete_user(self, name: str) -> bool:
        self.done.append(f"delete {name}")
        self.rights.pop(name, None)
        return self.passwords.pop(name, None) is not None

    async def close_connections(self, user: str) -> None:
        self.done.append(f"close {user}")


def hashed(password: str) -> str:
    """As RabbitMQ stores it."""
    salt = b"salt"
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def pod(name: str, *, own: bool = True, secret: str = "mail-rabbitmq-client", **what: Any) -> Object:
    """A relay's pod that logs in at queue `mail`."""
    made = relay_pod(name, f"198.18.0.{ord(name[0]) - 96}", **what)
    made["metadata"]["labels"][MANAGED_BY] = MANAGER
    made["spec"]["volumes"] = [{"name": "broker", "secret": {"secretName": secret}}]
    variable = {"name": brokeruser.VARIABLE, "value": brokeruser.OWN}
    made["spec"]["containers"] = [{"name": "relay", "env": [variable] if own else []}]
    return made


class Fencing(Stage):
    """Three relays at a queue whose brokers are a fake."""

    def __init__(self, *pods: Object, state: State | None = None) -> None:
        super().__init__(FakeKube(pool(), queue()[0], *(pods or map(pod, NAMES))))
        self.brokers = FakeBrokers()
        self.waits: float | None = None
        self.meet()

    def meet(self) -> None:
        """As a leader that knows how to reach the brokers, and nothing else."""
        self.context.memory["users", "mail", "mail"] = Memory(cast("Way", self.brokers), read_at=float("inf"))

    async def look(self) -> float | None:
        """Traffic first, then users, as in the operator."""
        await self.direct()
        return await self.users()

    async def users(self) -> float | None:
        memory = self.context.memory["users", "mail", "mail"]
        memory.brought_at -= relayusers.CALM  # as if time went on
        memory.read_at = float("inf")
        self.waits = await relayusers.reconcile(self.context, "mail", "mail")
        return self.waits

    async def frozen(self, relay: str = "b", seconds: float = 6.0) -> None:
        await self.look()
        self.hear({})
        self.hear({relay: "Silent"}, seconds)
        await self.look()

    def events(self, action: str) -> list[tuple[str, str, str]]:
        """About whom, the reason and the type."""
        found = [obj for (kind, _, _), obj in self.kube.objects.items() if kind == "Event" and obj["action"] == action]
        return [(each["involvedObject"]["name"], each["reason"], each["type"]) for each in found]


@pytest.fixture(autouse=True)
def _no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayuserhand, "MOMENT", 0.01)


async def test_every_relay_gets_a_user_when_its_pod_is_there_ready_or_not() -> None:
    stage = Fencing(*map(pod, NAMES), pod("d", ready=False))
    await stage.look()
    assert stage.brokers.relays == {*NAMES, "d"}
    stage.brokers.done.clear()
    assert await stage.look() == relayusers.CALM
    assert stage.brokers.done == []


async def test_users_of_pods_that_are_gone_or_ended_go_and_strangers_stay() -> None:
    stage = Fencing()
    await stage.look()
    stage.brokers.passwords["somebody"] = "x"
    await stage.kube.delete("Pod", "mail", "a")
    ended = pod("c")
    ended["status"]["phase"] = "Failed"
    stage.kube.put(ended)
    await stage.look()
    assert stage.brokers.relays == {"b"}
    assert {"operator", "relay", "somebody"} <= stage.brokers.passwords.keys()


async def test_a_pod_that_the_watch_has_not_told_of_keeps_its_user() -> None:
    stage = Fencing()
    await stage.look()
    stage.kube.mirrors.clear()
    stage.kube.put(pod("d"))
    await stage.brokers.put_user(brokeruser.username("d"), brokeruser.password("d", SEED), "/")
    await stage.users()
    assert "d" in stage.brokers.relays


async def test_users_that_the_brokers_lost_or_that_are_not_right_are_made_again() -> None:
    stage = Fencing()
    await stage.look()
    stage.brokers.passwords = {"operator": "x", brokeruser.username("b"): "of another seed"}
    del stage.brokers.rights[brokeruser.username("c")]
    await stage.users()
    assert stage.brokers.relays == set(NAMES)


async def test_a_frozen_relay_is_fenced_after_the_slices_and_told_of_in_the_words_of_its_cordon() -> None:
    stage = Fencing()
    await stage.frozen()
    user = brokeruser.username("b")
    assert stage.brokers.relays == {"a", "c"}
    assert stage.brokers.done[-3:] == [f"delete {user}", f"close {user}", f"close {user}"]
    assert stage.waits == relayusers.WATCHFUL
    assert stage.events("Fence") == [("b", "Silent", "Warning")]
    assert stage.context.fences.counts.fences == {("mail", "tx", "Silent"): 1}
    assert stage.context.fences.numbers() == {("mail", "tx"): 1}
    await stage.look()
    assert len(stage.events("Fence")) == 1, "told once"
    assert stage.brokers.done[-1] == f"close {user}", "what came in between is closed too"


async def test_a_relay_that_answers_again_gets_its_user_back_while_it_is_still_out_of_traffic() -> None:
    stage = Fencing()
    await stage.frozen()
    stage.hear({}, 0.2)
    await stage.look()
    assert stage.brokers.relays == set(NAMES)
    verdict = stage.health.verdict(("mail", "tx"), "b")
    assert verdict and verdict.level.value == "HardCordoned"
    assert stage.events("Unfence") == [("b", "Silent", "Normal")]
    assert stage.context.fences.counts.returns == {("mail", "tx"): 1}


async def test_so_does_one_that_only_its_own_word_tells_of() -> None:
    stage = Fencing()
    await stage.frozen()
    stage.health.take_window(("mail", "tx"), "b", Window(stand=Stand.LEAVE))
    await stage.look()
    assert stage.brokers.relays == set(NAMES)


async def test_a_relay_whose_clients_are_refused_but_that_obeys_is_not_fenced() -> None:
    stage = Fencing()
    await stage.look()
    stage.hear({})
    for _ in range(30):
        stage.health.take_window(("mail", "tx"), "b", Window(stand=Stand.LEAVE))
        stage.hear({"b": "Refused"}, 0.1)
    await stage.look()
    assert stage.health.verdict(("mail", "tx"), "b").level.value == "HardCordoned"  # type: ignore[union-attr]
    assert stage.brokers.relays == set(NAMES)


async def test_a_persons_order_alone_fences_nobody_but_a_relay_that_froze_before_it_stays_fenced() -> None:
    stage = Fencing()
    await stage.look()
    stage.kube.put(pod("a", cordon="Hard"))
    stage.hear({}, 3.0)
    await stage.look()
    assert stage.brokers.relays == set(NAMES)
    stage.hear({"b": "Silent"}, 6.0)
    stage.kube.put(pod("b", cordon="Hard"))
    await stage.look()
    assert stage.brokers.relays == {"a", "c"}


async def test_when_all_relays_look_dead_none_is_cut_off() -> None:
    stage = Fencing()
    await stage.look()
    stage.hear({})
    stage.hear(dict.fromkeys(NAMES, "Silent"), 8.0)
    await stage.look()
    assert stage.brokers.relays == set(NAMES)


async def test_a_new_leader_gives_nobody_back_what_the_one_before_took_away_and_fences_nobody_it_has_not_listened_to() -> (
    None
):
    old = Fencing()
    await old.frozen()
    assert old.brokers.relays == {"a", "c"}
    new = Fencing()
    new.kube, new.brokers = old.kube, old.brokers
    new.context = replace(new.context, kube=old.context.kube)
    new.kube.mirrors[:] = [new.context.mirror]
    new.meet()
    await new.users()
    assert new.brokers.relays == {"a", "c"}, "the pool was not looked at yet"
    await new.look()
    assert new.brokers.relays == {"a", "c"}
    assert load(json.loads(new.kube.seen("ConfigMap", "tx-health")["data"]["state.json"])).relays.keys() == {"b"}
    new.hear({"b": "Silent"}, 6.0)
    await new.look()
    assert new.brokers.relays == {"a", "c"}
    assert new.events("Fence") == old.events("Fence"), "it is no news"
    new.hear({}, 0.2)
    await new.look()
    assert new.brokers.relays == set(NAMES)


async def test_a_fence_is_asked_for_again_until_the_brokers_have_done_it_and_the_status_says_why_not() -> None:
    stage = Fencing()
    await stage.look()

    async def unreachable() -> None:
        raise BrokerUnreachable("mail-rabbitmq-0: no answer in time")

    stage.brokers.fails = unreachable
    stage.hear({})
    stage.hear({"b": "Silent"}, 6.0)
    assert await stage.look() == relayusers.TROUBLED
    assert stage.kube.seen("EndpointSlice", "tx-ipv4-0"), "the cordon did not wait"
    assert stage.context.fences.why_not(("mail", "mail")) == "mail-rabbitmq-0: no answer in time"
    assert stage.context.fences.counts.failures == {("mail", "mail"): 1}
    assert stage.events("Fence") == []
    stage.brokers.fails = None
    await stage.users()
    assert stage.brokers.relays == {"a", "c"}
    assert stage.context.fences.why_not(("mail", "mail")) == ""
    assert stage.events("Fence") == [("b", "Silent", "Warning")]


async def test_brokers_that_never_answer_hold_a_look_up_for_no_longer_than_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relayusers, "DEADLINE", 0.05)
    stage = Fencing()
    stage.brokers.fails = lambda: asyncio.sleep(60)
    async with asyncio.timeout(5):
        assert await stage.look() == relayusers.TROUBLED
    assert "within 0.05 s" in stage.context.fences.why_not(("mail", "mail"))


async def test_without_the_lease_nothing_is_done_at_the_brokers() -> None:
    stage = Fencing()
    await stage.look()
    stage.hear({"b": "Silent"}, 6.0)
    await stage.direct()

    def lost() -> None:
        raise NotLeader("not ours")

    stage.context = replace(stage.context, permit=lost)
    with pytest.raises(NotLeader):
        await stage.users()
    assert stage.brokers.relays == set(NAMES)


async def test_older_pods_that_share_a_user_are_left_alone() -> None:
    stage = Fencing(pod("a"), pod("b", own=False), pod("c"))
    await stage.frozen()
    assert stage.brokers.relays == {"a", "c"}
    assert not [each for each in stage.brokers.done if "delete" in each or "close" in each]
    assert stage.brokers.passwords["relay"] == SEED


async def test_a_paused_pool_is_left_as_it_is_and_relays_of_other_queues_are_nobodys_here() -> None:
    stage = Fencing(*map(pod, NAMES), pod("x", secret="other-rabbitmq-client"), pod("y", secret="somebodys"))
    await stage.look()
    assert stage.brokers.relays == set(NAMES)
    still = pool()
    still["metadata"]["annotations"] = {PAUSED: "true"}
    stage.kube.put(still)
    stage.kube.put(pod("d"))
    stage.hear({"b": "Silent"}, 6.0)
    await stage.look()
    assert stage.brokers.relays == set(NAMES)


async def test_between_two_looks_the_brokers_are_asked_only_when_something_is_another_one() -> None:
    stage = Fencing()
    await stage.look()
    looks = stage.brokers.looks
    for _ in range(20):
        await relayusers.reconcile(stage.context, "mail", "mail")
    assert stage.brokers.looks == looks
    stage.kube.put(pod("d", ready=False))
    await relayusers.reconcile(stage.context, "mail", "mail")
    assert (stage.brokers.looks, "d" in stage.brokers.relays) == (looks + 1, True)


async def test_the_way_to_the_brokers_is_read_from_secrets_and_pods() -> None:
    kube = FakeKube(resource("QueueCluster", "mail", type="RabbitMQ"))
    stage = Fencing()
    stage.context = replace(stage.context, kube=cast("Any", kube), memory={})
    assert await relayusers.reconcile(stage.context, "mail", "mail") == relayusers.TROUBLED, "no Secrets yet"
    for name, keys in (("admin", ("username", "password", "ca.crt")), ("client", ("username", "password", "ca.crt"))):
        data = {each: base64.b64encode(f"{name} {each}".encode()).decode() for each in keys}
        metadata = {"namespace": "mail", "name": f"mail-rabbitmq-{name}"}
        kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    way = await relayusers.read_way(stage.context, ("mail", "mail"))
    assert way and (way.seed, way.admin["password"]) == ("client password", "admin password")
    assert not way.serving, "there are no brokers yet"
    assert await relayusers.reconcile(stage.context, "mail", "mail") == relayusers.TROUBLED
    assert stage.context.fences.why_not(("mail", "mail")) == "", "nobody was asked"
    kube.put(
        resource(
            "QueueCluster", "mail", type="External", external={"addresses": ["b:5671"], "credentialsRef": {"name": "c"}}
        )
    )
    assert await relayusers.read_way(stage.context, ("mail", "mail")) is None


async def test_which_queues_have_to_be_looked_at_when_a_pool_changes() -> None:
    stage = Fencing(*map(pod, NAMES), pod("x", secret="other-rabbitmq-client"), pod("y", secret="somebodys"))
    await stage.direct()
    assert relayusers.queues(stage.context, "mail", "tx") == {"mail", "other"}


async def test_the_pools_status_says_who_is_cut_off_and_who_cannot_be() -> None:
    stage = Fencing()

    async def said() -> tuple[str, str, str]:
        await relaypool.reconcile(stage.context, "mail", "tx")
        conditions = stage.kube.seen("RelayPool", "tx")["status"]["conditions"]
        (found,) = [each for each in conditions if each["type"] == "Fencing"]
        return found["status"], found["reason"], found["message"]

    await stage.frozen()
    status, reason, message = await said()
    assert (status, reason) == ("True", "Available")
    assert message.endswith("; relay b is now")
    stage.kube.put(pod("a", own=False))
    status, reason, message = await said()
    assert (status, reason) == ("False", "Unavailable")
    assert message.startswith("relay a share")


async def test_when_a_queue_is_given_up_all_its_relays_are_locked_out() -> None:
    brokers = FakeBrokers()
    await brokers.put_user(brokeruser.username("a"), brokeruser.password("a", SEED), "/")
    await _lock(cast("Any", brokers))
    assert brokers.passwords.keys() == {"operator"}
