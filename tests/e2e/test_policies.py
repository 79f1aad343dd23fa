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

OPEN, SHUT = "open", "shut"
_TRY = 'if timeout 3 bash -c "exec 3<>/dev/tcp/$0/$1" 2>/dev/null; then echo open; else echo shut; fi'


async def reaches(region: Region, fleet: Fleet, address: str, port: int) -> str:
    """Whether the mail client's pod can connect."""
    return (await region.execute(fleet.namespace, POD, "sh", "-c", _TRY, address, str(port))).strip()


async def test_a_strangers_pod_reaches_smtp_and_neither_the_brokers_nor_the_status_of_relays(
    eu: Region, fleet: Fleet
) -> None:
    if not await eu.api.list("Pod", "kube-system", {"app": "network-policies"}):
        pytest.skip("NetworkPolicies are not enforced on this test bed: see python3 -m tests.testbed doctor")
    relay = (await eu.api.list("Pod", fleet.namespace, {POOL: fleet.pool}))[0]["status"]["podIP"]
    broker = (await eu.api.list("Pod", fleet.namespace, {QUEUE: fleet.queue}))[0]["status"]["podIP"]
    assert await reaches(eu, fleet, relay, relay_names.listener_port(0, 0)) == OPEN
    tried = {
        "relay's status": (relay, relay_names.STATUS_PORT),
        "amqps": (broker, broker_names.AMQPS),
        "management": (broker, broker_names.MANAGEMENT),
        "distribution": (broker, broker_names.DISTRIBUTION),
    }
    # Beside each other: each that is shut is waited for.
    found = await asyncio.gather(*(reaches(eu, fleet, *where) for where in tried.values()))
    assert dict(zip(tried, found, strict=True)) == dict.fromkeys(tried, SHUT)
