"""The operator's own life: its leader dies, it is away while nodes drain, it is upgraded and uninstalled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from tests.e2e import operating, waiting
from tests.e2e.api import ApiError, Object, Objects
from tests.e2e.fleet import Fleet
from tests.e2e.objects import queue_cluster, relay_pool
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for

TAKEOVER_SECONDS = operating.TAKEOVER + 5.0
"""That a test waits on busy cores; what it took is printed. Five more than a change of the leader takes: the machine may stand still once more."""
FEWEST_LOOKS = 20


async def slice_uid(region: Region, fleet: Fleet) -> str:
    """The uid of the pool's slice, "" while there is none."""
    found = await region.api.list("EndpointSlice", fleet.namespace, {"relayfleet.io/pool": fleet.pool})
    return str(found[0]["metadata"]["uid"]) if found else ""


async def test_a_standby_takes_over_from_a_killed_leader(us: Region, fleet: Fleet) -> None:
    await operating.complete(us)
    before, epoch = await operating.leader(us)
    pod = await us.api.get("Pod", operating.NAMESPACE, before)
    assert pod is not None
    await operating.kill(us, pod)
    began = time.monotonic()
    [old] = await us.api.list("EndpointSlice", fleet.namespace, {"relayfleet.io/pool": fleet.pool})
    await us.api.delete("EndpointSlice", fleet.namespace, old["metadata"]["name"])

    async def works() -> bool:
        uid = await slice_uid(us, fleet)
        if not uid or uid == old["metadata"]["uid"]:
            raise NotYet("nobody has put the slice back")
        return True

    await wait_for(works, 2 * TAKEOVER_SECONDS, "the standby works")
    took = time.monotonic() - began
    print(f"the standby had taken over and repaired the slice {took:.2f} s after the leader was killed")
    after, later = await operating.leader(us)
    assert later > epoch
    assert after != before or later > epoch + 1, "the killed one leads"
    assert took <= TAKEOVER_SECONDS


async def test_who_loses_the_lease_is_a_standby_again_without_a_crash(us: Region, fleet: Fleet) -> None:
    def crashes(pods: Objects) -> dict[str, int]:
        return {
            pod["metadata"]["name"]: sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
            for pod in pods
        }

    await operating.complete(us)
    before = crashes(await operating.replicas(us))
    _, epoch = await operating.leader(us)
    stolen = {"spec": {"holderIdentity": "somebody_else", "leaseTransitions": epoch + 1}}
    await us.api.patch("Lease", operating.NAMESPACE, operating.RELEASE, stolen)

    async def led_again() -> bool:
        name, later = await operating.leader(us)
        if later <= epoch + 1:
            raise NotYet(f"{name} holds the lease, epoch {later}")
        return True

    await wait_for(led_again, operating.TAKEOVER, "one of them leads again, when nobody renews the lease")
    await operating.complete(us)
    assert crashes(await operating.replicas(us)) == before


def live(slices: Objects, pods: Objects) -> list[str]:
    """Listed endpoints that can serve: ready or serving in a slice, and a pod behind them that runs and is ready for SMTP."""
    running = {
        pod["metadata"]["name"]
        for pod in pods
        if any(each.get("ready") for each in pod["status"].get("containerStatuses", []))
    }
    return [
        each["targetRef"]["name"]
        for one in slices
        for each in one.get("endpoints") or []
        if (each["conditions"].get("ready") or each["conditions"].get("serving"))
        and each["targetRef"]["name"] in running
    ]


@asynccontextmanager
async def watched(region: Region, fleet: Fleet) -> AsyncIterator[list[int]]:
    """How many live endpoints there were, at each of many looks while the block ran."""
    counts: list[int] = []

    async def look() -> None:
        labels = {"relayfleet.io/pool": fleet.pool}
        while True:
            try:
                slices = await region.api.list("EndpointSlice", fleet.namespace, labels)
                counts.append(len(live(slices, await region.api.list("Pod", fleet.namespace, labels))))
            except (aiohttp.ClientError, TimeoutError):
                pass  # no answer, no look
            except ApiError as error:
                if not error.passes:
                    raise
            await asyncio.sleep(0.2)

    task = asyncio.create_task(look())
    try:
        yield counts
        assert not task.done(), f"nobody looked to the end: {task.exception()!r}"
        assert len(counts) >= FEWEST_LOOKS, f"{len(counts)} looks show nothing"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def scale_operator(region: Region, replicas: int) -> None:
    """Scale the operator's Deployment and wait until it is so."""
    await region.kubectl("scale", "-n", operating.NAMESPACE, "deployment/relayfleet", f"--replicas={replicas}")

    async def holds() -> bool:
        found = await operating.replicas(region)
        if len(found) != replicas:
            raise NotYet(f"{len(found)} pods")
        return True

    await wait_for(holds, 60, f"{replicas} replicas of the operator")
    # Until it is there again the status of everything is that of before.
    await waiting.rolled_out(region.api, operating.DEPLOYMENT, 120)


async def test_without_the_operator_a_drain_and_a_rollout_never_leave_zero_live_endpoints(
    eu: Region, fleet: Fleet
) -> None:
    pods = await eu.api.list("Pod", fleet.namespace, {"relayfleet.io/pool": fleet.pool})
    node = next(each for each in pods if "deletionTimestamp" not in each["metadata"])["spec"]["nodeName"]
    await scale_operator(eu, 0)
    try:
        async with watched(eu, fleet) as counts:
            draining = asyncio.create_task(_drain(eu, fleet, node))
            await eu.kubectl("rollout", "restart", "-n", fleet.namespace, f"deployment/{fleet.pool}-relay")
            await draining
            await asyncio.sleep(10)  # what would go wrong now goes wrong in this time
        print(f"live endpoints while the operator was away: {min(counts)} to {max(counts)} in {len(counts)} looks")
        assert min(counts) > 0
    finally:
        await eu.kubectl("uncordon", node)
        await scale_operator(eu, 2)
    # By Kubernetes' own words first: what the status says may be of before the operator went.
    workload = {"kind": "Deployment", "metadata": {"namespace": fleet.namespace, "name": f"{fleet.pool}-relay"}}
    await waiting.rolled_out(eu.api, workload, 180)
    await waiting.ready(eu.api, relay_pool(fleet.namespace, fleet.pool), budget=180)
    await waiting.ready(eu.api, queue_cluster(fleet.namespace, fleet.queue), budget=180)


async def _drain(region: Region, fleet: Fleet, node: str) -> None:
    """Drain the relays of a node, for as long as the budget of disruptions allows, as an impatient administrator does."""
    await region.kubectl("cordon", node)
    selector = f"relayfleet.io/pool={fleet.pool}"
    command = ("drain", node, "--pod-selector", selector, "--timeout=20s", "--delete-emptydir-data")
    try:
        await region.kubectl(*command, seconds=40)
    except Exception as error:  # a drain that waits is what a budget is for
        print(f"the drain waits: {str(error).splitlines()[-1]}")


async def pods_of(region: Region, fleet: Fleet) -> Mapping[str, str]:
    """uid → image of each pod that stays: those that an earlier test replaced may still be ending."""
    pods = await region.api.list("Pod", fleet.namespace)
    return {
        each["metadata"]["uid"]: each["spec"]["containers"][0]["image"]
        for each in pods
        if "deletionTimestamp" not in each["metadata"]
    }


async def new_leader(region: Region, image: str) -> None:
    """Return when a replica of this image leads: those of before may not have ended yet when the new ones are ready."""

    async def leads() -> bool:
        name, _ = await operating.leader(region)
        pod = await region.api.get("Pod", operating.NAMESPACE, name)
        if pod is None or pod["spec"]["containers"][0]["image"] != image:
            raise NotYet(f"{name} leads")
        return True

    await wait_for(leads, 2 * operating.TAKEOVER, f"a replica of {image} leads")


async def test_upgrading_the_operator_restarts_no_relay_and_no_broker(
    us: Region, fleet: Fleet, images: Mapping[str, str]
) -> None:
    before = await pods_of(us, fleet)
    other = {
        **images,
        "relayfleet": f"{images['relayfleet'].rpartition(':')[0]}:other",
        "rabbitmq": "relayfleet/rabbitmq:other",
    }
    await us.kubectl("get", "relaypools", "-A")
    try:
        # Another image name for the same image: a new operator, as far as anybody can tell.
        await operating.tag_on_nodes(us, images["relayfleet"], other["relayfleet"])
        await operating.install(us, other)
        await new_leader(us, other["relayfleet"])
        await asyncio.sleep(5)  # time for a reconcile that would restart something
        assert await pods_of(us, fleet) == before
    finally:
        await operating.install(us, images)
    assert await pods_of(us, fleet) == before


async def test_uninstalling_keeps_crds_resources_relays_and_mail(
    us: Region, fleet: Fleet, images: Mapping[str, str]
) -> None:
    before = await pods_of(us, fleet)
    await scale_operator(us, 0)  # or it would work on for a moment after its rights are gone
    await operating.helm(us, "uninstall", operating.RELEASE, "--wait")
    try:
        names = await us.kubectl("get", "crd", "-o", "name")
        assert names.count("relayfleet.io") == 3
        assert await pods_of(us, fleet) == before
        pool: Object | None = await us.api.get("RelayPool", fleet.namespace, fleet.pool)
        assert pool is not None
        assert "deletionTimestamp" not in pool["metadata"]
    finally:
        await operating.install(us, images)
    await waiting.ready(us.api, relay_pool(fleet.namespace, fleet.pool), budget=120)
    assert await pods_of(us, fleet) == before
