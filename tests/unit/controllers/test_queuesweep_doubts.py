"""Removals of a queue that were not answered: relays of a new pool stay out until it is proven that they came, or never will."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from relayfleet.act.broker.errors import BrokerUnreachable
from relayfleet.api.labels import QUEUE
from relayfleet.controllers import queuesweep
from relayfleet.decide.queue.sweep import SETTLING
from relayfleet.kube.client import Object
from tests.unit.children.scene import pool
from tests.unit.controllers.test_queuesweep import NODES, SPACE, Stage

READY, JOURNAL = f"{SPACE}gone.v1.ready.a", f"{SPACE}gone.v1.journal"


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def in_doubt(stage: Stage, queue: str, *, carried_out: bool = False) -> None:
    """Whether it was removed: that was not answered."""

    async def frozen(name: str) -> None:
        if name == queue:
            if carried_out:
                stage.brokers.found.pop(name)
            raise BrokerUnreachable("no answer in time")

    await stage.until_locked()
    stage.brokers.when = frozen
    await stage.look(SETTLING)
    assert stage.memory.sweep.doubt
    stage.brokers.when = None


def put_again(stage: Stage) -> None:
    """A pool of the same name."""
    again = pool()
    again["metadata"] |= {"name": "gone", "uid": "another"}
    stage.kube.put(again)


async def unanswered(stage: Stage, queue: str, *, carried_out: bool = False) -> None:
    """Of its removal. A pool of the same name comes next."""
    await in_doubt(stage, queue, carried_out=carried_out)
    put_again(stage)


async def is_kept_out(stage: Stage) -> bool:
    """Whether the new pool's relays are, however long it lasts."""
    for _ in range(10):
        await stage.look(SETTLING)
    return stage.memory.sweep.pool == "gone"


def asked_broker(**times: str | dict[str, Any]) -> Object:
    """The pod of the broker that was asked, a year old. `times`: those of its container, or when the pod came."""
    created = times.pop("created", "2025-11-24T12:00:00Z")
    statuses = [{"name": "rabbitmq", "state": {"running": {"startedAt": "2025-11-24T12:00:00Z"}}} | times]
    metadata = {"namespace": "mail", "name": "mail-rabbitmq-0", "labels": {QUEUE: "mail"}, "creationTimestamp": created}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"containerStatuses": statuses}}


def renamed(pod: Object, name: str) -> Object:
    pod["metadata"]["name"] = name
    return pod


def now(seconds: float = 0.0) -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


async def test_a_removal_that_was_not_answered_keeps_relays_of_a_new_pool_out_until_it_cannot_come_any_more(
    stage: Stage,
) -> None:
    await unanswered(stage, READY)
    await stage.look(queuesweep.SOON)
    assert stage.memory.sweep.pool == "gone", "it may still come"
    stage.brokers.down = {NODES[0]}
    assert await is_kept_out(stage), "the broker that was asked may be the one that is away"
    stage.brokers.down = set()
    await stage.look(SETTLING)
    assert stage.memory.sweep.pool == "gone", "it has just gone on, and may be about to do it"
    stage.brokers.down = {NODES[0]}
    await stage.look(queuesweep.SOON)
    stage.brokers.down = set()
    await stage.look(SETTLING)
    assert stage.memory.sweep.pool == "gone", "it stood still once more"
    await stage.look(SETTLING)
    assert stage.memory.sweep.pool == ""
    assert stage.brokers.left == {"tx", "gone"}


@pytest.mark.parametrize("queue", [READY, JOURNAL])
async def test_one_that_was_carried_out_keeps_nobody_out_although_its_broker_stays_away(
    stage: Stage, queue: str
) -> None:
    await unanswered(stage, queue, carried_out=True)
    stage.brokers.down = {NODES[0]}
    await stage.look(queuesweep.SOON)
    await stage.look(SETTLING - queuesweep.SOON)
    assert stage.memory.sweep.pool == "gone"
    await stage.look(queuesweep.SOON)
    assert (stage.memory.sweep.pool, stage.memory.sweep.doubt) == ("", None)


ENDED: dict[str, Callable[[], Object]] = {
    "its container ends again and again": lambda: asked_broker(
        state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"finishedAt": now()}}
    ),
    "it ended": lambda: asked_broker(state={"terminated": {"finishedAt": now()}}),
    "it began anew and is not back": lambda: asked_broker(state={"running": {"startedAt": now()}}),
    "another pod has its place, for which there is no node": lambda: asked_broker(created=now(), state={}),
}


@pytest.mark.parametrize("made", ENDED.values(), ids=ENDED)
async def test_one_whose_broker_has_ended_comes_no_more_when_a_majority_answers(
    stage: Stage, made: Callable[[], Object]
) -> None:
    await unanswered(stage, READY)
    stage.brokers.down = {NODES[0]}
    assert await is_kept_out(stage)
    stage.kube.put(made())
    await stage.look(queuesweep.SOON)
    assert stage.memory.sweep.pool == "gone", "what it told the others last may be on its way"
    await stage.look(SETTLING)
    assert (stage.memory.sweep.pool, stage.memory.sweep.doubt) == ("", None)
    assert READY in stage.brokers.found


NO_PROOF: dict[str, Callable[[], Object]] = {
    "another broker ended": lambda: renamed(asked_broker(created=now()), "mail-rabbitmq-1"),
    "it runs, and stands still": asked_broker,
    "it ended before it was asked": lambda: asked_broker(lastState={"terminated": {"finishedAt": now(-700)}}),
    "it ended as it was asked, by clocks that may differ": lambda: asked_broker(
        lastState={"terminated": {"finishedAt": now(-180)}}
    ),
    "another container in its pod ended": lambda: asked_broker(
        name="proxy", lastState={"terminated": {"finishedAt": now()}}
    ),
}


@pytest.mark.parametrize("made", NO_PROOF.values(), ids=NO_PROOF)
async def test_what_is_no_proof_keeps_relays_out(stage: Stage, made: Callable[[], Object]) -> None:
    await unanswered(stage, READY)
    stage.brokers.down = {NODES[0]}
    stage.kube.put(made())
    assert await is_kept_out(stage)


async def test_a_queue_without_a_majority_proves_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(vhost: str, name: str) -> bool:
        raise BrokerUnreachable("no answer in time")

    await unanswered(stage, READY)
    monkeypatch.setattr(stage.brokers, "holds_record", unavailable)
    stage.brokers.down = {NODES[0]}
    stage.kube.put(asked_broker(created=now()))
    assert await is_kept_out(stage)


async def test_nobody_can_be_asked_whether_a_journal_will_go(stage: Stage) -> None:
    await unanswered(stage, JOURNAL)
    stage.brokers.down = {NODES[0]}
    stage.kube.put(asked_broker(created=now()))
    assert await is_kept_out(stage)


async def test_one_that_was_not_answered_is_made_up_for(stage: Stage) -> None:
    async def frozen(name: str) -> None:
        raise BrokerUnreachable("no answer in time")

    await stage.until_locked()
    stage.brokers.when = frozen
    await stage.look(SETTLING)
    stage.brokers.when = None
    await stage.look(SETTLING)
    await stage.look(SETTLING)
    assert stage.brokers.left == {"tx"}


async def test_a_doubt_that_is_over_stays_over_whatever_happens_to_other_brokers(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unanswered_look(vhost: str, name: str) -> bool:
        raise BrokerUnreachable("one is restarting")

    await in_doubt(stage, READY)
    with monkeypatch.context() as patched:
        patched.setattr(stage.brokers, "holds_record", unanswered_look)
        await stage.look(SETTLING)
        await stage.look(SETTLING)
    put_again(stage)
    stage.kube.put(asked_broker())
    stage.brokers.down = {NODES[1]}
    assert not await is_kept_out(stage)
