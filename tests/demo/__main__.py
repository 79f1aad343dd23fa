"""Brings everything up, sends real mail in both regions, breaks things, and prints what happened with seconds and counts.

Who judges is the receiving server, never the relays' own counters.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack

from tests.demo.scene import Scene, together
from tests.demo.timeline import Tally, Timeline
from tests.e2e import receiving
from tests.e2e.api import Api, access
from tests.e2e.mailing import NotAccepted
from tests.e2e.region import Region
from tests.testbed import clusters
from tests.testbed.__main__ import main as testbed
from tests.testbed.images import references
from tests.testbed.settings import BIN, REGIONS
from tests.testbed.shell import TestbedError

QUIET, FAULTS, RATE = 1000, 500, 25.0
"""Mails of the quiet flow in each region, mails of each flow with a fault, and its mails a second."""


def main() -> int:
    print(
        "relayfleet: a demo on two clusters on this machine. It may take minutes; everything says what it does.",
        flush=True,
    )
    if status := testbed(["up"]):
        return status
    try:
        return asyncio.run(demo(references()))
    except (TestbedError, AssertionError, TimeoutError, NotAccepted) as error:
        print(f"\nThe demo has failed: {error}", file=sys.stderr)
        return 1


async def demo(images: Mapping[str, str]) -> int:
    """Returns the exit status: 0 when nothing was lost or doubled."""
    timeline = Timeline()
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(Api(access(place.kubeconfig))) for place in REGIONS.values()]
        regions = [Region(place, api) for place, api in zip(REGIONS.values(), apis, strict=True)]
        await asyncio.gather(*(receiving.install(region, images) for region in regions))
        for region in regions:
            region.sinks = await receiving.clients(region)
            for sink in region.sinks.values():
                await sink.reset()
        timeline.say("each region has a DNS server and two receiving mail servers, which know nothing of relayfleet")
        scenes = [Scene(region, images, timeline) for region in regions]
        took = await asyncio.gather(*(scene.install() for scene in scenes))
        await asyncio.gather(*(scene.whole() for scene in scenes))
        for scene in scenes:
            scene.say(f"pods: {await scene.pods()}")
        eu = scenes[0]
        total = await together(*(scene.quiet_flow(QUIET) for scene in scenes))
        total += await eu.flow_with(eu.kill_relay, FAULTS, RATE)
    print(f"\nhelm install to first delivered mail: {', '.join(f'{each:.1f} s' for each in took)} (eu, us)")
    print(total)
    for place in REGIONS.values():
        clusters.forget_discovery(place)  # or the first `kubectl get relayfleet` fails
    print(_look_around(total))
    return 0 if good(total) else 1


def good(total: Tally) -> bool:
    """Everything accepted has arrived, once."""
    return total.accepted == total.submitted == total.delivered and not total.lost and not total.duplicates


def _look_around(total: Tally) -> str:
    kubectl = f"{BIN}/kubectl --kubeconfig"
    lines = [f"  {kubectl} {place.kubeconfig} get relayfleet -n mail" for place in REGIONS.values()]
    verdict = "Nothing was lost, nothing came twice." if good(total) else "NOT GOOD: see the counts above."
    return "\n".join([verdict, "It is all still running. Look around:", *lines, "and remove it with: make clean"])


if __name__ == "__main__":
    sys.exit(main())
