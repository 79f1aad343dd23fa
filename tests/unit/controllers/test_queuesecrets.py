"""The admin Secret of a managed queue: made once, and restored from what the leader remembers or from its copy."""

from __future__ import annotations

import copy

import pytest

from relayfleet.controllers.queuememory import of
from relayfleet.controllers.queuesecrets import Held, Secrets
from relayfleet.kube.client import Object
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import queue
from tests.unit.controllers.scene import context

NAME, COPY = "mail-rabbitmq-admin", "mail-rabbitmq-admin-copy"


async def look(kube: FakeKube, *, made_before: bool = True) -> Held:
    """The first look of a new leader."""
    both = context(kube)
    return await Secrets(both, queue()[0], of(both.memory, "mail", "mail")).bring(made_before)


@pytest.fixture(scope="module")
def secrets_made() -> dict[tuple[str, str, str], Object]:
    """What the first leader of a queue leaves. Made once: keys of certificates take their time."""
    return {}


@pytest.fixture
async def kube(secrets_made: dict[tuple[str, str, str], Object]) -> FakeKube:
    kube = FakeKube()
    if not secrets_made:
        await look(kube, made_before=False)
        secrets_made.update(copy.deepcopy(kube.objects))
    kube.objects.update(copy.deepcopy(secrets_made))
    kube.writes.clear()
    return kube


async def test_a_new_leader_changes_nothing(kube: FakeKube) -> None:
    assert (await look(kube)).usable
    assert kube.seen("Secret", COPY)["data"] == kube.seen("Secret", NAME)["data"]
    assert kube.writes == []


@pytest.mark.parametrize("missing", ["erlang-cookie", ""])
async def test_a_leader_that_never_read_it_restores_it_from_the_copy(kube: FakeKube, missing: str) -> None:
    before = kube.seen("Secret", NAME)["data"]
    if missing:
        kube.seen("Secret", NAME)["data"] = {key: before[key] for key in before if key != missing}
    else:
        del kube.objects["Secret", "mail", NAME]
    assert (await look(kube)).usable
    assert kube.seen("Secret", NAME)["data"] == before


async def test_of_two_that_are_whole_the_copy_follows(kube: FakeKube) -> None:
    theirs = dict(kube.seen("Secret", NAME)["data"], password="dGhlaXJz")
    kube.seen("Secret", NAME)["data"] = dict(theirs)
    assert (await look(kube)).admin["password"] == "theirs"
    assert kube.seen("Secret", NAME)["data"] == kube.seen("Secret", COPY)["data"] == theirs


async def test_a_copy_that_is_gone_is_made_again_by_the_next_leader(kube: FakeKube) -> None:
    del kube.objects["Secret", "mail", COPY]
    await look(kube)
    assert kube.seen("Secret", COPY)["data"] == kube.seen("Secret", NAME)["data"]


async def test_without_both_nothing_is_made_and_what_to_do_is_said(kube: FakeKube) -> None:
    del kube.objects["Secret", "mail", NAME]
    kube.seen("Secret", COPY)["data"].pop("ca.key")
    held = await look(kube)
    assert not held.usable
    assert "restore it from a backup" in held.lost
    assert kube.writes == []
