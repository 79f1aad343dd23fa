"""The Secret with a queue's sealing keys: made once, restored, rotated, and never made anew over mail that it may have sealed."""

from __future__ import annotations

import asyncio
import base64
import copy
from typing import Any

import pytest

from relayfleet.api.labels import PAUSED
from relayfleet.children.sealing import volume
from relayfleet.controllers import queuecluster, queuesealing
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuememory import forget, of
from relayfleet.controllers.queuesealing import Sealing, bring
from relayfleet.decide.queue.sealing import SPREAD
from relayfleet.kube.client import Object
from relayfleet.kube.errors import KubeForbidden
from relayfleet.observe import greeting
from relayfleet.protocol.sealing import ENTRY, Key, current, load
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import queue
from tests.unit.controllers.scene import context

NAME, COPY = "mail-sealing", "mail-sealing-copy"
MONTH = 720 * 3600


class Clock:
    now = 1_790_000_000

    def time(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return float(self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(queuesealing, "time", clock)
    return clock


async def look(both: Context, **more: Any) -> Sealing:
    """One look of this leader; `more` is what the queue says besides."""
    obj, spec = queue()
    return await bring(both, obj | more, spec, of(both.memory, "mail", "mail"))


def keys(kube: FakeKube) -> tuple[Key, ...]:
    return load(base64.b64decode(kube.seen("Secret", NAME)["data"][ENTRY]).decode())


def begun(sealing: Sealing) -> Object:
    """What the queue's status says afterwards."""
    return {"sealingKey": sealing.key}


async def test_a_queue_gets_its_keys_once_without_an_owner(clock: Clock) -> None:
    kube = FakeKube()
    both = context(kube)
    said = await look(both)
    made = kube.seen("Secret", NAME)
    assert "ownerReferences" not in made["metadata"]
    assert said == Sealing(keys(kube)[0].id)
    assert await look(both, status=begun(said)) == said
    assert kube.writes == [("create", "Secret", NAME), ("apply", "Secret", COPY)]


async def test_a_leader_that_read_deleted_or_damaged_keys_restores_them(clock: Clock) -> None:
    kube = FakeKube()
    both = context(kube)
    said = await look(both)
    before = keys(kube)
    del kube.objects["Secret", "mail", NAME]
    assert await look(both, status=begun(said)) == said
    assert keys(kube) == before
    kube.seen("Secret", NAME)["data"][ENTRY] = base64.b64encode(b"{}").decode()
    assert await look(both, status=begun(said)) == said
    assert keys(kube) == before


@pytest.mark.parametrize("damage", [None, b"{}"])
async def test_a_leader_that_never_read_them_restores_them_from_the_copy(clock: Clock, damage: bytes | None) -> None:
    kube = FakeKube()
    said = await look(context(kube))
    clock.now += MONTH
    await look(context(kube), status=begun(said))
    before = keys(kube)
    if damage is None:
        del kube.objects["Secret", "mail", NAME]
    else:
        kube.seen("Secret", NAME)["data"][ENTRY] = base64.b64encode(damage).decode()
    assert await look(context(kube), status=begun(said)) == said
    assert keys(kube) == before
    assert len(before) == 2


@pytest.mark.parametrize("emptied", [False, True])
async def test_a_secret_that_was_put_back_with_fewer_keys_gets_what_it_lacks_from_the_copy(
    clock: Clock, emptied: bool
) -> None:
    """From an older backup, or emptied by mistake, while no leader remembers them."""
    kube = FakeKube()
    said = await look(context(kube))
    old = copy.deepcopy(kube.seen("Secret", NAME)["data"])
    clock.now += MONTH
    await look(context(kube), status=begun(said))
    before = keys(kube)
    kube.seen("Secret", NAME)["data"] = {} if emptied else old
    await look(context(kube), status=begun(said))
    assert keys(kube) == before
    assert kube.seen("Secret", COPY)["data"] == kube.seen("Secret", NAME)["data"]


async def test_a_copy_that_is_refused_holds_nothing_up(clock: Clock) -> None:
    kube = FakeKube()

    def refuse(obj: Object) -> None:
        if obj["metadata"]["name"] == COPY:
            raise KubeForbidden("exceeded quota", 403)

    kube.refuse = refuse
    both = context(kube)
    assert (await look(both)).key == keys(kube)[0].id
    assert ("Secret", "mail", COPY) not in kube.objects
    kube.refuse = lambda _: None
    await look(both)
    assert ("Secret", "mail", COPY) not in kube.objects  # it was refused this moment
    clock.now += 60
    await look(both)
    assert kube.seen("Secret", COPY)["data"] == kube.seen("Secret", NAME)["data"]


async def test_a_queue_made_again_after_its_keys_were_deleted_has_the_old_ones(clock: Clock) -> None:
    kube = FakeKube()
    said = await look(context(kube))
    del kube.objects["Secret", "mail", NAME]
    assert await look(context(kube)) == said


@pytest.mark.parametrize("damage", [None, b"{}"])
async def test_a_copy_that_is_gone_or_damaged_is_made_again_by_the_next_leader(
    clock: Clock, damage: bytes | None
) -> None:
    kube = FakeKube()
    said = await look(context(kube))
    if damage is None:
        del kube.objects["Secret", "mail", COPY]
    else:
        kube.seen("Secret", COPY)["data"][ENTRY] = base64.b64encode(damage).decode()
    assert await look(context(kube), status=begun(said)) == said
    assert kube.seen("Secret", COPY)["data"] == kube.seen("Secret", NAME)["data"]


async def test_a_leader_that_never_read_them_and_finds_no_copy_makes_none_and_says_what_to_do(clock: Clock) -> None:
    kube = FakeKube()
    said = await look(context(kube))
    kept = copy.deepcopy(kube.seen("Secret", NAME))
    del kube.objects["Secret", "mail", NAME]
    del kube.objects["Secret", "mail", COPY]
    later = context(kube)
    lost = await look(later, status=begun(said))
    assert (lost.key, "Restore it from a backup" in lost.lost) == (said.key, True)
    assert ("Secret", "mail", NAME) not in kube.objects
    kube.put(kept)
    assert await look(later, status=begun(said)) == said


@pytest.mark.parametrize("data", [{ENTRY: base64.b64encode(b"{}").decode()}, {"password": "bWluZQ=="}])
async def test_a_secret_that_cannot_be_read_is_not_written_over(clock: Clock, data: Object) -> None:
    kube = FakeKube({"kind": "Secret", "metadata": {"namespace": "mail", "name": NAME}, "data": data})
    assert (await look(context(kube))).lost
    assert kube.writes == []


async def test_a_person_who_gives_the_old_keys_up_gets_new_ones(clock: Clock) -> None:
    kube = FakeKube({"kind": "Secret", "metadata": {"namespace": "mail", "name": NAME}})
    said = await look(context(kube), status={"sealingKey": "0" * 16})
    assert said.key == keys(kube)[0].id


async def test_a_new_key_is_known_for_an_hour_before_it_seals_and_the_old_one_stays(clock: Clock) -> None:
    kube = FakeKube()
    first = (await look(context(kube))).key
    clock.now += MONTH
    assert (await look(context(kube))).key == first
    assert len(keys(kube)) == 2
    clock.now += SPREAD - 1
    assert (await look(context(kube))).key == first
    clock.now += 1
    second = (await look(context(kube))).key
    assert second != first
    assert {each.id for each in keys(kube)} == {first, second}
    assert getattr(current(keys(kube)), "id", None) == second


async def test_a_queue_that_is_made_again_adopts_the_keys_of_the_one_before(clock: Clock) -> None:
    kube = FakeKube()
    both = context(kube)
    said = await look(both)
    forget(both.memory, "mail", "mail")
    assert await look(both) == said


async def test_a_paused_queues_keys_are_left_alone(clock: Clock) -> None:
    kube = FakeKube()
    obj, spec = queue()
    obj["metadata"]["annotations"] = {PAUSED: "true"}
    both = context(kube)
    assert await bring(both, obj, spec, of(both.memory, "mail", "mail")) == Sealing(None)
    assert kube.writes == []


async def test_mail_for_external_brokers_has_keys_too_and_their_loss_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "greet", lambda *_, **__: asyncio.sleep(0, greeting.Greeting()))
    external = {"addresses": ["broker.test:5671"], "credentialsRef": {"name": "theirs"}}
    kube = FakeKube(queue(type="External", external=external)[0])
    await queuecluster.reconcile(context(kube), "mail", "mail")
    assert kube.seen("QueueCluster", "mail")["status"]["sealingKey"] == keys(kube)[0].id
    del kube.objects["Secret", "mail", NAME]
    del kube.objects["Secret", "mail", COPY]
    await queuecluster.reconcile(context(kube), "mail", "mail")
    status = kube.seen("QueueCluster", "mail")["status"]
    said = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
    assert said["Ready"] == ("True", "Serving")
    assert said["Degraded"] == said["Stalled"] == ("True", "SealingKeysLost")
    assert status["sealingKey"]


def test_relays_mount_the_secret_that_the_operator_makes() -> None:
    assert volume("mail")["secret"] == {
        "secretName": NAME,
        "defaultMode": 0o440,
        "items": [{"key": ENTRY, "path": ENTRY}],
    }
