"""Queues of pools that are gone: removed once nobody can write to them and they are empty, and whatever comes in between ends it."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Self, cast

import pytest

from relayfleet.act.broker.errors import BrokerUnreachable
from relayfleet.act.broker.management import EVERYTHING, Listing, Rights
from relayfleet.api.labels import MANAGED_BY, MANAGER, PAUSED, POOL
from relayfleet.children.relay.config import queue_space
from relayfleet.controllers import queuebrokers, queuesweep, relayusers
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuebrokers import CANARIES
from relayfleet.controllers.queuememory import QueueMemory, of
from relayfleet.decide.pool.fencing import Access
from relayfleet.decide.queue.facts import Brokers, Queue
from relayfleet.decide.queue.sweep import APART, GONE, SETTLING
from relayfleet.kube.client import Object
from relayfleet.kube.errors import KubeUnavailable, NotLeader
from relayfleet.protocol import brokeruser
from relayfleet.relay.spool.rabbitmq.topology import LANES, Topology
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool, queue
from tests.unit.controllers import scene
from tests.unit.controllers.test_relayusers import pod

SPACE = queue_space("mail", "eu")
NODES = ("rabbit@0", "rabbit@1", "rabbit@2")


def queues_of(name: str) -> dict[str, dict[str, Any]]:
    """A pool's queues at the brokers, all empty but the journal."""
    topology = Topology(f"{SPACE}{name}", 3)
    found = [each.name for lane in LANES for each in topology.queues(lane)]
    found += [each.name for each in topology.provider_lanes()]
    return {each: listed(each) for each in found} | {
        f"{SPACE}{name}.v1.journal": listed(f"{SPACE}{name}.v1.journal", type="stream", messages=5)
    }


def listed(name: str, **what: Any) -> dict[str, Any]:
    found = {"name": name, "vhost": "/", "type": "quorum", "messages": 0, "members": NODES, "online": NODES}
    return found | what


class FakeBrokers:
    """Queues, users, connections. `hidden`: queues with a record that is not counted yet. `uncounted`: why nothing is counted. `done` tells what was done, in order; `when` is called before
    a queue or user is removed, with its name."""

    serving, admin, seed = True, {"username": "operator"}, "seed"
    first = "mail-rabbitmq-0.mail-rabbitmq.mail.svc"

    def __init__(self) -> None:
        self.found = queues_of("gone") | queues_of("tx")
        self.rights = {"operator": EVERYTHING, "relay": EVERYTHING, "prober": CANARIES}
        self.logged_in = {"prober"}
        self.hidden: set[str] = set()
        self.down: set[str] = set()
        self.uncounted = ""
        self.consumers: set[str] = set()
        self.done: list[str] = []
        self.when: Callable[[str], Awaitable[None]] | None = None
        self.looks = 0

    @property
    def left(self) -> set[str]:
        """Pools that have queues."""
        return {each.removeprefix(SPACE).split(".")[0] for each in self.found}

    def management(self, deadline: float) -> FakeBrokers:
        return self

    async def __aenter__(self) -> Self:
        self.looks += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def nodes(self) -> list[dict[str, Any]]:
        return [{"name": each, "running": each not in self.down} for each in NODES]

    async def listing(self) -> Listing:
        told = ("name", "vhost", "type", "members") if self.uncounted else tuple(listed(""))
        queues = ({key: value for key, value in each.items() if key in told} for each in self.found.values())
        return Listing(tuple(queues), self.uncounted)

    async def consumed(self, vhost: str) -> set[str]:
        return self.consumers

    async def permissions(self, vhost: str) -> dict[str, Rights]:
        return dict(self.rights)

    async def connected(self) -> set[str]:
        return self.logged_in

    async def holds_record(self, vhost: str, name: str) -> bool:
        assert self.found[name]["type"] == "quorum"
        return name in self.hidden

    async def delete_user(self, name: str) -> bool:
        if self.when:
            await self.when(name)
        self.done.append(f"delete {name}")
        return self.rights.pop(name, None) is not None

    async def delete_queue(self, vhost: str, name: str) -> bool:
        if self.when:
            await self.when(name)
        self.done.append(name)
        return self.found.pop(name, None) is not None


class Stage:
    """A queue `mail`, a pool `tx` that exists, and one `gone` of which only queues are left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *objects: Object) -> None:
        self.brokers, self.kube = FakeBrokers(), FakeKube()
        self.context: Context = scene.context(cast("Any", self.kube))
        for each in (queue()[0], pool(), pod("a"), *objects):
            self.kube.put(each)
        self.brokers.rights[brokeruser.username("a")] = EVERYTHING
        self.way: FakeBrokers | None = self.brokers
        monkeypatch.setattr(relayusers, "read_way", self._way)
        monkeypatch.setattr(queuesweep, "PAUSE", 0.0)

    async def _way(self, context: Context, name: tuple[str, str]) -> FakeBrokers | None:
        return self.way

    @property
    def memory(self) -> QueueMemory:
        return of(self.context.memory, "mail", "mail")

    async def look(self, after: float = queuesweep.LOOK) -> None:
        """A look that is so many seconds after the last one."""
        sweep = self.memory.sweep
        for times in (sweep.watch.gone, sweep.watch.empty):
            times.update({each: since - after for each, since in times.items()})
        sweep.look_at -= after
        sweep.locked = None if sweep.locked is None else sweep.locked - after
        if doubt := sweep.doubt:
            since = None if doubt.over_since is None else doubt.over_since - after
            sweep.doubt = replace(doubt, asked=doubt.asked - datetime.timedelta(seconds=after), over_since=since)
        quorum = [each for each in self.brokers.found.values() if each["type"] == "quorum"]
        seen = tuple(Queue("/", each["name"], frozenset(NODES), frozenset(NODES)) for each in quorum)
        self.memory.brokers = Brokers("4.0", frozenset(NODES), frozenset(NODES), queues=seen)
        await queuesweep.reconcile(self.context, "mail", "mail")

    async def until_locked(self) -> None:
        await self.look()
        await self.look(GONE)
        await self.look(APART)
        assert self.memory.sweep.pool == "gone"
        assert self.brokers.done == ["delete relay"]

    def events(self) -> list[str]:
        return [each["message"] for (kind, _, _), each in self.kube.objects.items() if kind == "Event"]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_while_all_pools_exist_nobody_is_asked(stage: Stage) -> None:
    stage.brokers.found = queues_of("tx")
    lists = stage.kube.list

    async def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is to be done")

    stage.kube.list = asked  # type: ignore[method-assign]
    for _ in range(30):
        await stage.look()
    assert stage.brokers.looks == 0
    stage.kube.list = lists  # type: ignore[method-assign]


async def test_a_pool_that_is_gone_loses_its_queues_in_three_steps_and_the_others_keep_theirs(stage: Stage) -> None:
    await stage.look()
    await stage.look(GONE - 1)
    assert stage.brokers.looks == 0, "not gone for long enough"
    await stage.look()
    assert stage.brokers.looks == 1
    await stage.look(APART - 1)
    assert stage.brokers.looks == 1, "once a minute"
    await stage.look(1)
    assert stage.brokers.done == ["delete relay"]
    await stage.look(SETTLING - 1)
    assert stage.brokers.looks == 2
    await stage.look(1)
    assert stage.brokers.left == {"tx"}
    assert len(stage.brokers.done) == 46
    assert stage.brokers.done[1].startswith(f"{SPACE}gone.v1.wait.")
    assert stage.brokers.done[-1] == f"{SPACE}gone.v1.ready.b"
    assert stage.events() == ["RelayPool gone is gone and its queues were empty: 45 of 45 were removed"]
    assert (stage.memory.sweep.pool, stage.memory.sweep.locked) == ("", None)
    assert stage.memory.asked_at == float("-inf"), "the shared user is made again at once"


async def test_one_pool_after_the_other(stage: Stage) -> None:
    stage.brokers.found |= queues_of("old")
    await stage.until_locked()
    await stage.look(SETTLING)
    assert stage.brokers.left == {"tx", "old"}
    stage.brokers.rights["relay"] = EVERYTHING
    await stage.look(2)
    assert stage.memory.sweep.pool == "old"
    await stage.look(SETTLING)
    assert stage.brokers.left == {"tx"}


async def test_the_lock_holds_against_the_work_that_makes_the_user(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Management:
        """Of `queuebrokers`: only whether it makes users."""

        def __init__(self, *_: Any) -> None:
            pass

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def set_user(self, name: str, _: str) -> bool:
            made.append(name)
            return True

        async def allow(self, *_: Any) -> bool:
            return True

        async def nodes(self) -> list[Any]:
            raise BrokerUnreachable("not in this test")

    monkeypatch.setattr(queuebrokers, "Management", Management)
    secrets = {"username": "operator", "password": "x", "ca.crt": ""}
    await stage.until_locked()
    await queuebrokers.look_after([], secrets, secrets | {"username": "relay"}, [], stage.memory)
    assert made == ["prober"]
    await stage.look(SETTLING)
    await queuebrokers.look_after([], secrets, secrets | {"username": "relay"}, [], stage.memory)
    assert made == ["prober", "relay", "prober"]


async def test_a_pool_that_comes_back_at_any_time_keeps_its_queues(stage: Stage) -> None:
    await stage.until_locked()
    back = pool()
    back["metadata"] |= {"name": "gone", "uid": "another"}
    stage.kube.put(back)
    await stage.look(SETTLING)
    assert stage.brokers.done == ["delete relay"]
    assert (stage.memory.sweep.pool, stage.memory.sweep.locked) == ("", None)
    await stage.kube.delete("RelayPool", "mail", "gone")
    await stage.look()
    await stage.look(GONE - 1)
    assert stage.brokers.done == ["delete relay"], "it has to be gone for as long again"


async def test_one_that_comes_back_while_its_queues_are_removed_keeps_the_others_and_its_relays_wait_until_then(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = pod("b")
    relay["metadata"]["labels"][POOL] = "gone"
    decided: list[dict[str, Access]] = []

    async def back(name: str) -> None:
        if len(stage.brokers.done) == 3:
            again = pool()
            again["metadata"] |= {"name": "gone", "uid": "another"}
            stage.kube.put(again)
            stage.kube.put(relay)
            decided.append(wanted())

    def wanted() -> dict[str, Access]:
        pods = stage.context.mirror.list("Pod", "mail", {MANAGED_BY: MANAGER})
        return relayusers._relays(stage.context, ("mail", "mail"), pods).wanted

    monkeypatch.setattr(stage.context.health, "knows", lambda pool: True)
    await stage.until_locked()
    stage.brokers.when = back
    await stage.look(SETTLING)
    assert len(stage.brokers.done) == 4, "the one that was being removed, and no more"
    assert decided[0]["b"] is Access.AS_IS, "no user, so it cannot look for its queues yet"
    assert wanted()["b"] is Access.GRANT
    assert stage.events() == ["RelayPool gone is gone and its queues were empty: 3 of 45 were removed"]


async def test_a_record_that_no_count_shows_keeps_all_queues(stage: Stage) -> None:
    await stage.until_locked()
    stage.brokers.hidden = {f"{SPACE}gone.v1.ready.b"}
    await stage.look(SETTLING)
    assert stage.brokers.done == ["delete relay"]
    assert stage.memory.sweep.locked is None
    assert stage.events() == []


async def test_one_that_turns_up_between_two_removals_keeps_what_is_left(stage: Stage) -> None:
    async def turns_up(name: str) -> None:
        stage.brokers.hidden = {f"{SPACE}gone.v1.quarantine"}

    await stage.until_locked()
    stage.brokers.when = turns_up
    await stage.look(SETTLING)
    assert {f"{SPACE}gone.v1.quarantine", f"{SPACE}gone.v1.ready.a", f"{SPACE}gone.v1.ready.b"} <= set(
        stage.brokers.found
    )


IN_THE_WAY: dict[str, Callable[[Stage], Any]] = {
    "mail in quarantine": lambda stage: stage.brokers.found[f"{SPACE}gone.v1.quarantine"].update(messages=1),
    "a count that is missing": lambda stage: stage.brokers.found[f"{SPACE}gone.v1.ready.a"].pop("messages"),
    "brokers that count nothing": lambda stage: setattr(stage.brokers, "uncounted", "500 noproc"),
    "a member that is away": lambda stage: stage.brokers.found[f"{SPACE}gone.v1.ready.a"].update(online=NODES[:2]),
    "a consumer": lambda stage: stage.brokers.consumers.add(f"{SPACE}gone.v1.ready.a"),
    "a broker that is away": lambda stage: stage.brokers.down.add(NODES[2]),
    "a relay that is gone, and still logged in": lambda stage: stage.brokers.logged_in.add("relay@gone-1"),
    "one that still has its user": lambda stage: stage.brokers.rights.update({"relay@gone-1": EVERYTHING}),
    "somebody's user": lambda stage: stage.brokers.rights.update({"ann": Rights("", ".*", "")}),
    "probers that may write anywhere": lambda stage: stage.brokers.rights.update({"prober": EVERYTHING}),
    "the shared user in use": lambda stage: stage.brokers.logged_in.add("relay"),
    "a relay of an older template": lambda stage: stage.kube.put(pod("c", own=False)),
    "a pod that outlived its pool": lambda stage: stage.kube.put(labelled(pod("c"))),
    "a Deployment that did": lambda stage: stage.kube.put(labelled(pod("gone-relay") | {"kind": "Deployment"})),
}


def labelled(obj: Object) -> Object:
    obj["metadata"]["labels"][POOL] = "gone"
    return obj


@pytest.mark.parametrize("locked", [False, True], ids=["before the lock", "after it"])
@pytest.mark.parametrize("happens", IN_THE_WAY.values(), ids=IN_THE_WAY)
async def test_what_is_in_the_way(stage: Stage, happens: Callable[[Stage], Any], locked: bool) -> None:
    if locked:
        await stage.until_locked()
    happens(stage)
    for after in (SETTLING, GONE, APART, APART, SETTLING):
        await stage.look(after)
    assert stage.brokers.left == {"tx", "gone"}
    assert not [each for each in stage.brokers.done if each != "delete relay"]
    assert stage.memory.sweep.locked is None, "the lock was given back"


async def test_users_that_may_write_nowhere_are_in_nobodys_way(stage: Stage) -> None:
    stage.brokers.rights["reader"] = Rights("^$", "^$", ".*")
    await stage.until_locked()


async def test_a_lock_that_was_not_answered_is_none(stage: Stage) -> None:
    async def frozen(name: str) -> None:
        stage.brokers.rights.pop(name)
        raise BrokerUnreachable("no answer in time")

    stage.brokers.when = frozen
    for after in (0, GONE, APART):
        await stage.look(after)
    assert (stage.memory.sweep.pool, stage.memory.sweep.locked) == ("", None)
    assert stage.memory.asked_at == float("-inf"), "the shared user is made again at once"
    stage.brokers.when = None
    await stage.look(SETTLING)
    assert stage.brokers.done == []


async def test_a_user_that_was_made_again_during_the_lock_ends_it(stage: Stage) -> None:
    await stage.until_locked()
    stage.brokers.rights["relay"] = EVERYTHING
    await stage.look(SETTLING)
    assert stage.brokers.left == {"tx", "gone"}
    assert stage.memory.sweep.locked is None


async def test_pools_that_cannot_be_listed_prove_nothing(stage: Stage) -> None:
    await stage.look()
    lists = stage.kube.list

    async def down(*_: Any, **__: Any) -> Any:
        raise KubeUnavailable("no answer")

    stage.kube.list = down  # type: ignore[method-assign]
    with pytest.raises(KubeUnavailable):
        await stage.look(GONE)
    assert stage.brokers.looks == 0
    stage.kube.list = lists  # type: ignore[method-assign]


async def test_a_paused_queue_and_brokers_that_do_not_serve_are_left_alone(stage: Stage) -> None:
    stage.way = None
    for after in (0, GONE, APART):
        await stage.look(after)
    assert stage.brokers.looks == 0


async def test_a_pool_that_is_paused_exists(stage: Stage) -> None:
    still = pool()
    still["metadata"]["annotations"] = {PAUSED: "true"}
    stage.kube.put(still)
    stage.brokers.found = queues_of("tx")
    for after in (0, GONE, APART, SETTLING):
        await stage.look(after)
    assert stage.brokers.left == {"tx"}


async def test_the_mirrors_word_alone_is_not_believed(stage: Stage) -> None:
    stage.kube.mirrors.clear()
    new = pool()
    new["metadata"] |= {"name": "gone", "uid": "another"}
    stage.kube.put(new)
    for after in (0, GONE, APART, SETTLING):
        await stage.look(after)
    assert stage.brokers.looks == 0


async def test_without_the_lease_nothing_is_removed(stage: Stage) -> None:
    await stage.until_locked()
    asked: list[int] = []

    def lost() -> None:
        asked.append(len(stage.brokers.done))
        if len(asked) > 2:
            raise NotLeader("not ours")

    stage.context = replace(stage.context, permit=lost)
    with pytest.raises(NotLeader):
        await stage.look(SETTLING)
    assert len(stage.brokers.done) == 2, "one queue, then no more"
