"""What the relays of a pool say of themselves: their logs, and what they count.

Their /metrics answer to the operator and to namespaces that monitor, and to nobody else, so they are read from within: each look starts a program in each
pod. Whoever waits for them looks seldom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from relayfleet.children.relay.names import STATUS_PORT
from tests.e2e.fleet import Fleet
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for
from tests.e2e.watching import relays

SELDOM = 2.0
_ASK = 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3'


async def logged(region: Region, pool: Fleet) -> str:
    """The logs of all relays, one behind the other."""
    names = await relays(region, pool)
    return "\n".join([await region.api.logs(pool.namespace, each, "relay") for each in names])


async def logged_at_last(region: Region, pool: Fleet, has: Callable[[str], bool], budget: float, what: str) -> str:
    """The same as soon as it has that."""

    async def holds() -> str:
        found = await logged(region, pool)
        if not has(found):
            await asyncio.sleep(SELDOM)
            raise NotYet(found[-1000:])
        return found

    return await wait_for(holds, budget, f"the relays of {pool.pool} log that {what}")


async def counted(region: Region, pool: Fleet, metric: str) -> dict[str, float]:
    """What each relay counts, of all labels together."""
    names = await relays(region, pool)
    commands = (region.execute(pool.namespace, each, "bash", "-c", _ASK, str(STATUS_PORT)) for each in names)
    return {each: total(text, metric) for each, text in zip(names, await asyncio.gather(*commands), strict=True)}


async def counted_at_last(
    region: Region, pool: Fleet, metric: str, such: Callable[[Collection[float]], bool], budget: float
) -> Collection[float]:
    """The counts of all relays as soon as they are such."""

    async def holds() -> Collection[float]:
        found = await counted(region, pool, metric)
        if not such(found.values()):
            await asyncio.sleep(SELDOM)
            raise NotYet(str(found))
        return found.values()

    return await wait_for(holds, budget, f"{metric} of the relays of {pool.pool} is as it should be")


def total(text: str, metric: str) -> float:
    """The sum of a metric's samples in what Prometheus reads."""
    lines = (each.strip() for each in text.splitlines())
    return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith((f"{metric} ", f"{metric}{{")))
