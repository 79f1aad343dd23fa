"""Looking at a pool's relays as the Service lists them, and at what its status says of those that are out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from relayfleet.api.labels import CORDON, POOL, SLICE_SERVICE
from tests.e2e import operating, waiting
from tests.e2e.api import ApiError, Object
from tests.e2e.fleet import Fleet
from tests.e2e.objects import relay_pool
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for
from tests.testbed import faults
from tests.testbed.shell import TestbedError

READY, LAST_RESORT, OUT = (True, True, False), (False, True, True), (False, False, False)
LEAVES, RETURNS = 15.0 + operating.TAKEOVER, 240.0
"""Seconds that a test waits. How long it really takes is measured by `make bench BENCH=cordon`: a silence is final after 3, on busy cores the news of it
takes some more, and the leader may change just then. One that busy cores had made leave before is out for 80 s the second time; those that are out
for good are made anew after a minute each, one after the other, and have to start."""
FIRST_RETURN = 30.0
"""Seconds in which one that left for the first time is back: ten, if it is well, and some on busy cores."""
SEEN = 2.0
"""Seconds in which the operator sees a word on a relay that is listed as before, so that there is nothing to ask."""
STAYS = {"annotations": {CORDON: "None"}}
"""A pool's `template` by which its relays stay in traffic whatever busy cores do: for tests of something else."""
FROZEN = 150.0
"""Seconds after which a relay goes on although its test has not come that far: longer than any waits for it (at most 120, see `test_faults`)."""


async def relays(region: Region, fleet: Fleet) -> list[str]:
    """Names of the pool's pods."""
    pods = await region.api.list("Pod", fleet.namespace, {POOL: fleet.pool})
    return sorted(each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"])


async def places(region: Region, fleet: Fleet) -> dict[str, tuple[bool, bool, bool]]:
    """What the Service's first lane says of each relay."""
    slices = await region.api.list("EndpointSlice", fleet.namespace, {SLICE_SERVICE: fleet.pool})
    first = [each for each in slices if each["metadata"]["name"] == f"{fleet.pool}-ipv4-0"]
    return {
        endpoint["targetRef"]["name"]: tuple(endpoint["conditions"][key] for key in ("ready", "serving", "terminating"))
        for each in first
        for endpoint in each["endpoints"]
    }


async def placed(region: Region, fleet: Fleet, relay: str, *wanted: tuple[bool, bool, bool], budget: float) -> None:
    """Return when the relay is listed so."""

    async def holds() -> bool:
        found = await places(region, fleet)
        if found.get(relay) not in wanted:
            raise NotYet(str(found))
        return True

    await wait_for(holds, budget, f"{relay} is listed as {wanted}")


async def all_return(region: Region, fleet: Fleet, count: int = 3, budget: float = RETURNS) -> None:
    """Return when each of the pool's relays has been listed for traffic: those that broke, or those that were made in their place, as happens to one
    that is out for a minute. Each at some look, not all at the same: on busy cores a good one may be passed over for a moment."""
    seen: set[str] = set()

    async def holds() -> bool:
        found = await places(region, fleet)
        seen.update(name for name, state in found.items() if state == READY)
        present = await relays(region, fleet)
        if len(present) != count or not seen.issuperset(present):
            raise NotYet(f"{present}; listed for traffic at some time: {sorted(seen)}; now: {found}")
        return True

    await wait_for(holds, budget, f"all {count} relays of {fleet.pool} take traffic again")


async def cordoned(region: Region, fleet: Fleet, relay: str, budget: float = LEAVES, reason: str = "") -> Object:
    """The status's entry for a relay, as soon as there is one, with this reason if there is any: on busy cores it may have been slow before."""

    async def holds() -> Object:
        pool = await region.api.get("RelayPool", fleet.namespace, fleet.pool)
        assert pool is not None
        found: list[Object] = [each for each in pool["status"].get("cordoned", []) if each["name"] == relay]
        if not found or (reason and found[0]["reason"] != reason):
            raise NotYet(str(pool["status"]))
        return found[0]

    return await wait_for(holds, budget, f"{relay} in the status")


@asynccontextmanager
async def frozen(region: Region, fleet: Fleet, relay: str) -> AsyncIterator[None]:
    """A relay that stands still: its kernel still takes connections, nobody answers them."""
    fault = faults.frozen_pod(region.name, fleet.namespace, relay, longest=FROZEN)
    await asyncio.to_thread(fault.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(fault.__exit__, None, None, None)


_SWEEP = """
Kept = [{kept}],
[(catch rabbit_amqqueue:delete(Each, false, false, <<"tests">>))
 || Each <- rabbit_amqqueue:list(),
    {{resource, _, queue, Name}} <- [amqqueue:get_name(Each)],
    string:find(Name, <<".{namespace}.watched-">>) =/= nomatch,
    not lists:any(fun(Pool) -> string:find(Name, Pool) =/= nomatch end, Kept)].
"""


async def swept(region: Region, fleet: Fleet, but: str) -> None:
    """Remove the queues of watched pools that are gone with their relays, `but` those of one whose relays are to come. Deleting a pool deletes no
    mail, so its queues stay; here, some five hundred of them in the end, with members that the brokers keep an eye on. One that cannot go just now, since relays are declaring
    others at the same moment, goes the next time."""
    pods = await region.api.list("Pod", fleet.namespace)
    pools = {str(each["metadata"]["labels"][POOL]) for each in pods if POOL in each["metadata"].get("labels", {})}
    kept = ", ".join(f'<<".{each}.">>' for each in sorted(pools | {but}))
    text = _SWEEP.format(kept=kept, namespace=fleet.namespace)
    try:
        await region.execute(fleet.namespace, f"{fleet.queue}-rabbitmq-0", "rabbitmqctl", "eval", text)
    except TestbedError as error:
        print(f"old queues are swept the next time: {error}")  # no test is about them


@asynccontextmanager
async def watched_pool(eu: Region, fleet: Fleet, **spec: Any) -> AsyncIterator[Fleet]:
    """A pool of its own, whose relays have no past: all are listed, and both replicas of the operator watch them. `spec`: what else it asks
    for."""
    found = await begin_watched_pool(eu, fleet, **spec)
    try:
        await all_well(eu, found)
        yield found
    finally:
        await eu.api.delete("RelayPool", found.namespace, found.pool)


async def begin_watched_pool(eu: Region, fleet: Fleet, **spec: Any) -> Fleet:
    """A new pool beside the fleet's, which whoever wants it has to delete."""
    found = Fleet(fleet.namespace, f"watched-{secrets.token_hex(2)}", fleet.queue)
    selector = {"matchLabels": {"pool": fleet.pool}}
    await eu.apply(relay_pool(found.namespace, found.pool, found.queue, 3, sendingIPSelector=selector, **spec))
    try:
        await swept(eu, fleet, found.pool)  # while its relays start
    except BaseException:
        await eu.api.delete("RelayPool", found.namespace, found.pool)
        raise
    return found


async def all_well(eu: Region, fleet: Fleet) -> None:
    """Return when all relays of a watched pool are listed, and both replicas of the operator watch them. Relays that busy cores made leave while they
    started are forgiven that: the third time in ten minutes would keep one out for longer than any test waits."""
    pool = relay_pool(fleet.namespace, fleet.pool, fleet.queue, 3)
    for kind, status in (("Ready", "True"), ("Reconciling", "False")):
        await waiting.condition(eu.api, pool, kind, status, RETURNS)
    try:
        await waiting.condition(eu.api, pool, "Degraded", "False", FIRST_RETURN)
    except AssertionError as error:
        print(f"forgiven: {error}")
        await forgiven(eu, fleet)
        await waiting.condition(eu.api, pool, "Degraded", "False", RETURNS)
    await all_return(eu, fleet)
    await _seen_by_both(eu)


async def forgiven(eu: Region, fleet: Fleet) -> None:
    """The relays have no past any more: what one test did to them, or the busy cores, is not held against them in the next."""
    for word in ("None", None):
        for each in await relays(eu, fleet):
            try:
                await eu.api.patch("Pod", fleet.namespace, each, {"metadata": {"annotations": {CORDON: word}}})
            except ApiError as error:
                if error.status != 404:
                    raise
                # It is being made anew; the next one has no past.
        await asyncio.sleep(SEEN)
        await all_return(eu, fleet)


async def _seen_by_both(region: Region) -> None:
    await operating.complete(region)

    async def holds() -> bool:
        name, _ = await operating.leader(region)
        text = await region.api.metrics(operating.NAMESPACE, name, operating.METRICS)
        vantages = {line.split('vantage="')[1].split('"')[0] for line in text.splitlines() if 'vantage="' in line}
        replicas = {each["metadata"]["name"] for each in await operating.replicas(region)}
        if not replicas <= vantages:
            raise NotYet(f"vantages {vantages}, replicas {replicas}")
        return True

    await wait_for(holds, 60, "both replicas of the operator see relays")
