"""NetworkPolicies as the cluster enforces them: a stranger's pod reaches the relays' SMTP service and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.api.labels import POOL, QUEUE
from relayfleet.children.rabbitmq import names as broker_names
from relayfleet.children.relay import names as relay_names
from tests.e2e.fleet import Fleet
from tests.e2e.mailing import POD
from tests.e2e.region import Region
from tests.e2e.waiting import wait_for

OPEN, SHUT = "open", "shut"
_TRY = 'if timeout 3 bash -c "exec 3<>/dev/tcp/$0/$1" 2>/dev/null; then echo open; else echo shut; fi'


async def reaches(region: Region, fleet: Fleet, address: str, port: int) -> str:
    """Whether the mail client's pod can connect."""
    return (await region.execute(fleet.namespace, POD, "sh", "-c", _TRY, address, str(port))).strip()


async def address(region: Region, fleet: Fleet, labels: dict[str, str]) -> str:
    """Of a pod that stays: those that an earlier test replaced may still be ending."""
    pods = await region.api.list("Pod", fleet.namespace, labels)
    return next(str(each["status"]["podIP"]) for each in pods if "deletionTimestamp" not in each["metadata"])


async def test_a_strangers_pod_reaches_smtp_and_neither_the_brokers_nor_the_status_of_relays(
    eu: Region, fleet: Fleet
) -> None:
    if not await eu.api.list("Pod", "kube-system", {"app": "network-policies"}):
        pytest.skip("NetworkPolicies are not enforced on this test bed: see python3 -m tests.testbed doctor")
    relay, broker = await address(eu, fleet, {POOL: fleet.pool}), await address(eu, fleet, {QUEUE: fleet.queue})

    async def smtp_is_open() -> bool:
        return await reaches(eu, fleet, relay, relay_names.listener_port(0, 0)) == OPEN

    await wait_for(smtp_is_open, 30, "SMTP is open: a policy for a new pod takes effect a moment after its start")
    tried = {
        "relay's status": (relay, relay_names.STATUS_PORT),
        "amqps": (broker, broker_names.AMQPS),
        "management": (broker, broker_names.MANAGEMENT),
        "distribution": (broker, broker_names.DISTRIBUTION),
    }
    # Beside each other: each that is shut is waited for.
    found = await asyncio.gather(*(reaches(eu, fleet, *where) for where in tried.values()))
    assert dict(zip(tried, found, strict=True)) == dict.fromkeys(tried, SHUT)
