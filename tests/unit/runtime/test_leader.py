"""Which work the leader does beside which other."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from relayfleet.controllers import queuesweep
from relayfleet.controllers.context import Context
from relayfleet.protocol.telemetry import Usage, Usages, Window
from relayfleet.runtime.leader import Leader
from relayfleet.runtime.workqueue import Key
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import SETTINGS


async def test_a_queue_that_is_looked_at_is_swept_by_a_work_that_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swept: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def never_ends(context: Context, namespace: str, name: str) -> None:
        swept.put_nowait((namespace, name))
        await asyncio.Event().wait()

    monkeypatch.setattr(queuesweep, "reconcile", never_ends)
    lease = SimpleNamespace(epoch=1, check=lambda: None)
    leader = Leader(SETTINGS, cast("Any", lease), cast("Any", FakeKube()))
    works = [asyncio.create_task(each.run()) for each in leader.queues()]
    try:
        looked = await leader._work(Key("QueueCluster", "mail", "mail"))
        async with asyncio.timeout(20):
            assert await swept.get() == ("mail", "mail")
            await leader._work(Key("QueueCluster", "mail", "mail"))
        assert looked is None, "there is no such queue any more"
        await leader._work(Key("RelayPool", "mail", "tx"))
        assert swept.empty()
    finally:
        for each in works:
            each.cancel()
        await asyncio.gather(*works, return_exceptions=True)


async def test_what_relays_say_of_credentials_is_told_to_them_and_known_to_the_work_on_pools() -> None:
    lease = SimpleNamespace(epoch=1, check=lambda: None)
    leader = Leader(SETTINGS, cast("Any", lease), cast("Any", FakeKube()))
    said = Usages(int(time.time() // 86400), "run", (Usage("ann", 3),))
    for relay in ("a", "b"):
        leader.links.take(("mail", "tx"), relay, Window(usage=said))
    assert leader.links.usage(("mail", "tx"), "a", said) == (Usage("ann", 3, 6),)
    await leader._work(Key("RelayPool", "mail", "tx"))
    assert leader.links.usage(("mail", "tx"), "a", said) == (), "there is no such pool any more"
