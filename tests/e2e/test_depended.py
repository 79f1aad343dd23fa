"""A database and name servers that mail depends on: whichever breaks is named within seconds, what was declared follows, no relay is blamed, and
all is well again when it goes on."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import depended, waiting
from tests.e2e.api import Object
from tests.e2e.fleet import USER, Fleet
from tests.e2e.mailing import NotAccepted, send_from_inside
from tests.e2e.objects import relay_pool
from tests.e2e.region import Region
from tests.e2e.test_faults import broken, looked_at
from tests.e2e.traffic import flowing
from tests.e2e.waiting import NotYet, wait_for
from tests.e2e.watching import relays, watched_pool
from tests.sink.client import SinkClient
from tests.testbed import faults, network_faults

pytestmark = pytest.mark.timeout(900)

Sinks = dict[str, dict[str, SinkClient]]
NAMED, HEALS = 30.0, 60.0
"""Seconds that a test waits for the words of the status."""
LASTS = 15.0
"""Seconds for which a fault lasts after it is named: enough for a verdict on a relay, which shall not come."""
TTL = 5.0
"""Of the zone of the test mail."""
MAIL = b"From: sender@example.test\r\nTo: you@example.test\r\nSubject: x\r\n\r\nhello\r\n"


@dataclass(frozen=True, slots=True)
class Depending:
    """A pool with what it depends on: the names of their deployments."""

    pool: Fleet
    database: str = ""
    servers: tuple[str, ...] = ()

    @property
    def manifest(self) -> Object:
        return relay_pool(self.pool.namespace, self.pool.pool, self.pool.queue)


def declared(database: str, server: str) -> list[Object]:
    """Mail waits for the database; that the name server does not answer is only told."""
    sql = {
        "address": f"{database}:{depended.SQL}",
        "database": depended.DATABASE,
        "credentialsSecretRef": {"name": database},
        "query": "SELECT count(*) FROM pg_database",
    }
    name = {"address": f"{server}:{depended.DNS}", "name": "example.test", "recordType": "MX"}
    return [
        {"name": "accounts", "type": "PostgreSQL", "postgresql": sql, "onFailure": "TempFail"},
        {"name": "names", "type": "DNS", "dns": name},
    ]


@pytest.fixture
async def depending(eu: Region, fleet: Fleet, images: Mapping[str, str]) -> AsyncIterator[Depending]:
    """A pool that declares a PostgreSQL and a BIND, both of which answer."""
    database, server = (f"{each}-{secrets.token_hex(2)}" for each in ("database", "names"))
    objects = depended.database(fleet.namespace, database, images["postgresql"])
    async with (
        depended.served(eu, fleet, *objects),
        depended.name_server(eu, fleet, server, images["dns"]),
        watched_pool(eu, fleet, dependencies=declared(database, server)) as pool,
    ):
        found = Depending(pool, database, (server,))
        await waiting.condition(eu.api, found.manifest, "DependenciesReady", "True", HEALS, "AllAnswer")
        yield found


@pytest.fixture
async def resolving(eu: Region, fleet: Fleet, images: Mapping[str, str]) -> AsyncIterator[Depending]:
    """A pool that names two BINDs as its resolvers, both of which answer."""
    names = tuple(f"resolver-{secrets.token_hex(2)}" for _ in range(2))
    async with (
        depended.name_server(eu, fleet, names[0], images["dns"]) as first,
        depended.name_server(eu, fleet, names[1], images["dns"]) as second,
        watched_pool(eu, fleet, resolvers=[first, second]) as pool,
    ):
        found = Depending(pool, servers=names)
        await waiting.condition(eu.api, found.manifest, "ResolversReady", "True", HEALS, "ResolversAnswer")
        yield found


async def says(region: Region, subject: Depending, kind: str, reason: str, *words: str) -> None:
    """Return when the condition has this reason and all these words."""

    async def holds() -> bool:
        found = await region.api.get("RelayPool", subject.pool.namespace, subject.pool.pool)
        assert found is not None
        said = [each for each in found["status"].get("conditions", []) if each["type"] == kind]
        if not any(each["reason"] == reason and all(word in each["message"] for word in words) for each in said):
            raise NotYet(str(said))
        return True

    began = time.monotonic()
    await wait_for(holds, NAMED, f"{kind} says {reason} {words}")
    print(f"{kind} {reason} {words} after {time.monotonic() - began:.1f} s")


async def says_no_more(region: Region, subject: Depending, kind: str, reason: str) -> None:
    """Return when the condition has another reason: a relay that was slow on busy cores may still be on its way back."""

    async def holds() -> bool:
        found = await region.api.get("RelayPool", subject.pool.namespace, subject.pool.pool)
        assert found is not None
        [said] = [each for each in found["status"]["conditions"] if each["type"] == kind]
        if said["reason"] == reason:
            raise NotYet(str(said))
        return True

    await wait_for(holds, HEALS, f"{kind} says no more {reason}")


async def answered(region: Region, subject: Depending, code: int) -> None:
    """Return when new mail gets this answer: relays act by themselves, each within its own second."""

    async def holds() -> bool:
        said = 250
        try:
            await send_from_inside(
                region, subject.pool.namespace, subject.pool.inside, USER, ["you@example.test"], MAIL
            )
        except NotAccepted as refusal:
            said = refusal.code
        if said != code:
            raise NotYet(str(said))
        return True

    await wait_for(holds, NAMED, f"new mail gets {code}")


async def test_a_database_that_stands_still_is_named_puts_mail_off_and_is_blamed_on_no_relay(
    eu: Region, depending: Depending, sinks: Sinks
) -> None:
    pool = depending.pool
    names = await relays(eu, pool)
    await answered(eu, depending, 250)
    database = await depended.pod_of(eu, pool, depending.database)
    async with looked_at(eu, pool) as looks:
        async with broken(faults.frozen_pod("eu", pool.namespace, database, longest=120)):
            await says(
                eu, depending, "DependenciesReady", "DependencyDown", "accounts", f"{len(names)} of {len(names)}"
            )
            await says(eu, depending, "Ready", "DependencyDown", "accounts")
            await answered(eu, depending, 451)
            await asyncio.sleep(LASTS)
        await waiting.condition(eu.api, depending.manifest, "DependenciesReady", "True", HEALS, "AllAnswer")
        await answered(eu, depending, 250)
    looks.assert_not_blamed(*names)
    await waiting.condition(eu.api, depending.manifest, "Ready", "True", HEALS)


async def test_a_name_server_that_is_lost_or_gone_is_named_and_mail_goes_on(
    eu: Region, depending: Depending, sinks: Sinks, tmp_path: Path
) -> None:
    pool, (server,) = depending.pool, depending.servers
    names = await relays(eu, pool)
    lost = network_faults.blocked("eu", pool.namespace, await depended.pod_of(eu, pool, server), longest=120)
    async with flowing(eu, pool, tmp_path, rate=15) as traffic, looked_at(eu, pool) as looks:
        async with broken(lost):
            await says(eu, depending, "DependenciesReady", "DependencyDown", "names", f"{len(names)} of {len(names)}")
            await asyncio.sleep(LASTS)
        await waiting.condition(eu.api, depending.manifest, "DependenciesReady", "True", HEALS, "AllAnswer")
        await depended.scaled(eu, pool, server, 0)
        await says(eu, depending, "DependenciesReady", "DependencyDown", "names")
        await depended.scaled(eu, pool, server, 1)
        await depended.pod_of(eu, pool, server)
        await waiting.condition(eu.api, depending.manifest, "DependenciesReady", "True", HEALS, "AllAnswer")
    looks.assert_not_blamed(*names)
    assert traffic.verdict is not None
    print(traffic.verdict)
    assert (traffic.verdict.accepted, traffic.verdict.lost) == (traffic.sent, ())


async def received(sinks: Sinks) -> int:
    return sum([len(await each.messages()) for each in sinks["eu"].values()])


async def test_of_two_resolvers_one_is_enough_and_without_any_mail_goes_where_it_went_before(
    eu: Region, resolving: Depending, sinks: Sinks, tmp_path: Path
) -> None:
    pool, (first, second) = resolving.pool, resolving.servers
    names = await relays(eu, pool)
    pods = [await depended.pod_of(eu, pool, each) for each in (first, second)]
    one, other = (faults.frozen_pod("eu", pool.namespace, each, longest=180) for each in pods)
    async with flowing(eu, pool, tmp_path, rate=15) as traffic, looked_at(eu, pool) as looks:
        await traffic.accepted(60)
        async with broken(one):
            await says(eu, resolving, "ResolversReady", "ResolverDown", f"{len(names)} of {len(names)}", "the others")
            before = await received(sinks)
            await asyncio.sleep(LASTS)
            assert await received(sinks) > before + 15 * LASTS / 2
            async with broken(other):
                await says(eu, resolving, "Degraded", "ResolverDown", "names that they asked for within a day")
                await asyncio.sleep(TTL)
                before = await received(sinks)
                await asyncio.sleep(LASTS)
                assert await received(sinks) > before, "by stale answers: every name has expired"
        await waiting.condition(eu.api, resolving.manifest, "ResolversReady", "True", HEALS, "ResolversAnswer")
    looks.assert_not_blamed(*names)
    assert traffic.verdict is not None
    print(traffic.verdict)
    assert (traffic.verdict.accepted, traffic.verdict.lost, traffic.verdict.altered) == (traffic.sent, (), ())
    await says_no_more(eu, resolving, "Degraded", "ResolverDown")
