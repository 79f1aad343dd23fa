"""Traffic with a judge: an independent client that remembers every 250, and the sinks' records beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relayfleet.api.labels import SLICE_SERVICE
from tests.e2e.fleet import PASSWORD, USER, Fleet
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for
from tests.ledger.entries import Entry, Ledger, read
from tests.ledger.judge import Verdict, judge
from tests.ledger.submit import Plan, submit

MOST = 100_000
"""Mails of a flow that has no number: more than any test lets flow."""
AFTER = 75
"""Mails that such a flow still brings in after its block: what was broken in it has to be whole again."""
ARRIVE_SECONDS = 900.0
"""A mail whose relay was cut off between its claim and the answer to the dot is *uncertain*, and held for ten minutes before the next try."""


@dataclass
class Traffic:
    """What was sent; `verdict` is there after the block."""

    ledger: Path
    region: Region
    verdict: Verdict | None = field(default=None)

    @property
    def entries(self) -> list[Entry]:
        return list(read(self.ledger)) if self.ledger.exists() else []

    @property
    def sent(self) -> int:
        """Mails that the client has tried to hand over."""
        return len({each.test_id for each in self.entries})

    async def more(self, count: int, budget: float = 120.0) -> None:
        """Return when the client has seen this many 250 more than now."""
        before = [each.outcome for each in self.entries].count("accepted")
        await self.accepted(before + count, budget)

    async def accepted(self, count: int, budget: float = 120.0) -> None:
        """Return when the client has seen this many 250."""

        async def holds() -> bool:
            outcomes = [each.outcome for each in self.entries]
            if outcomes.count("accepted") < count:
                raise NotYet(f"{outcomes.count('accepted')} accepted; last: {self.entries[-1:]}")
            return True

        await wait_for(holds, budget, f"{count} mails accepted")


async def submission_targets(region: Region, fleet: Fleet) -> tuple[str, ...]:
    """host:port of the pool's node port, on each node that runs workloads."""
    service = await region.api.get("Service", fleet.namespace, fleet.pool)
    assert service is not None
    port = service["spec"]["ports"][0]["nodePort"]
    addresses = await region.node_addresses()
    nodes = [name for name in addresses if "worker" in name] or list(addresses)
    return tuple(f"{addresses[name]}:{port}" for name in nodes)


async def serving_targets(region: Region, fleet: Fleet) -> tuple[str, ...]:
    """As `submission_targets`, but only of nodes on which a relay is listed: the others take no connection (externalTrafficPolicy Local). For a
    client that does not try another one."""
    slices = await region.api.list("EndpointSlice", fleet.namespace, {SLICE_SERVICE: fleet.pool})
    listed = {
        str(each.get("nodeName"))
        for one in slices
        for each in one.get("endpoints") or []
        if each["conditions"]["ready"]
    }
    addresses = await region.node_addresses()
    serving = {addresses[name] for name in listed if name in addresses}
    found = [each for each in await submission_targets(region, fleet) if each.rpartition(":")[0] in serving]
    assert found, f"no relay of {fleet.pool} is listed: {slices}"
    return tuple(found)


@asynccontextmanager
async def flowing(
    region: Region,
    fleet: Fleet,
    folder: Path,
    *,
    rate: float,
    count: int | None = None,
    arrives: bool = True,
    **more: Any,
) -> AsyncIterator[Traffic]:
    """Mails flow while the block runs, and a little longer; with `count`, so many, however long they take. At its end all are sent, and, when
    they can arrive, everything accepted has or time is up, and the verdict stands."""
    traffic, enough = Traffic(folder / "ledger.jsonl", region), asyncio.Event()
    plan = Plan(
        targets=await submission_targets(region, fleet),
        count=MOST if count is None else count,
        rate=rate,
        tls="starttls",
        username=USER,
        password=PASSWORD,
        timeout=10.0,
        give_up=400.0,  # with one relay left, only one of the nodes answers
        **{"recipients": ("r{n}@example.test",), "concurrency": 4, "reuse": 20, **more},
    )
    with Ledger(traffic.ledger) as ledger:
        sending = asyncio.create_task(submit(plan, ledger, enough))
        try:
            yield traffic
            if count is None:
                more_accepted = asyncio.create_task(traffic.more(AFTER))
                await asyncio.wait({more_accepted, sending}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()  # raises what ended it
                await more_accepted
                enough.set()
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    if arrives:
        traffic.verdict = await arrived(traffic)


async def arrived(traffic: Traffic, budget: float = ARRIVE_SECONDS) -> Verdict:
    """The verdict as soon as nothing is missing, or after the budget as it then is."""
    entries = traffic.entries

    async def verdict() -> Verdict:
        messages = [each for sink in traffic.region.sinks.values() for each in await sink.messages()]
        return judge(entries, messages)

    async def nothing_missing() -> bool:
        found = await verdict()
        if found.lost:
            raise NotYet(str(found))
        return True

    try:
        await wait_for(nothing_missing, budget, "everything accepted has arrived")
    except AssertionError:
        return await verdict()
    return await verdict()
