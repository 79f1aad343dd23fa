"""Fixtures of the tests on two real clusters (`python3 -m tests.testbed up`).

Without clusters the tests are skipped with the reason; with RELAYFLEET_E2E set, as in CI, that is a failure. A test gets a namespace
of its own in both regions, which is removed after it; what it held is kept in build/e2e/<test>/ when the test fails.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e import mending, receiving
from tests.e2e.api import Api, Object, Objects, access
from tests.e2e.fleet import NAMESPACE as FLEET
from tests.e2e.fleet import Fleet, bring_up_everywhere
from tests.e2e.mailing import client_pod
from tests.e2e.mending import SYSTEM_NAMESPACES
from tests.e2e.region import Region
from tests.e2e.signing import KEY_RECORDS
from tests.e2e.waiting import gone, wait_for
from tests.e2e.watching import all_well, begin_watched_pool, forgiven, watched_pool
from tests.sink.client import SinkClient
from tests.sink.manifests import namespace as namespace_object
from tests.testbed import clusters, loading
from tests.testbed.images import build_all
from tests.testbed.settings import CACHE, REGIONS
from tests.testbed.settings import Region as Place

HERE = Path(__file__).parent
TEST_SECONDS = 1200
"""Beside the test itself, which needs 300 at most, a fleet that is broken counts as such after 240, what it held is written down, and it is made anew in
some 150; 360 at the latest."""
NAMESPACE_SECONDS = 120

Apply = Callable[..., Awaitable[dict[str, Objects]]]
_failed = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need the clusters, and more time than unit tests."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.kind)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    if report.failed:
        mending.suspect(item)
    return report


@pytest.fixture(scope="session")
def alone() -> Iterator[None]:
    """These tests share sinks, operator and fleet with each other, so one run at a time: another would empty the sinks that this one counts in."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "e2e.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another run of the end-to-end tests uses these clusters: wait until it is over", pytrace=False)
        yield


@pytest.fixture(scope="session")
def places(alone: None) -> Mapping[str, Place]:
    """The regions of the test bed, which are up."""
    down = [place.cluster for place in REGIONS.values() if not clusters.healthy(place)]
    if down:
        reason = f"clusters {', '.join(down)} are not up: run python3 -m tests.testbed up"
        if os.environ.get("RELAYFLEET_E2E"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return REGIONS


@pytest.fixture(scope="session")
def images(places: Mapping[str, Place]) -> Mapping[str, str]:
    """Name → reference of the images of this checkout, which every node has."""
    references = build_all()
    loading.load(references.values())
    return references


@pytest.fixture(scope="session")
def world(places: Mapping[str, Place], images: Mapping[str, str]) -> None:
    """Sinks and DNS in every region (`receiving.py`)."""

    async def install(place: Place) -> None:
        async with Api(access(place.kubeconfig)) as api:
            await receiving.install(Region(place, api), images, KEY_RECORDS)

    async def everywhere() -> None:
        await asyncio.gather(*(install(place) for place in places.values()))

    asyncio.run(everywhere())


@pytest.fixture
async def regions(places: Mapping[str, Place]) -> AsyncIterator[dict[str, Region]]:
    """eu and us."""
    async with AsyncExitStack() as stack:
        yield {
            name: Region(place, await stack.enter_async_context(Api(access(place.kubeconfig))))
            for name, place in places.items()
        }


@pytest.fixture
def eu(regions: dict[str, Region]) -> Region:
    return regions["eu"]


@pytest.fixture
def us(regions: dict[str, Region]) -> Region:
    return regions["us"]


@pytest.fixture
async def sinks(world: None, regions: dict[str, Region]) -> dict[str, dict[str, SinkClient]]:
    """The sinks mx1 and mx2 of each region, empty and without rules."""

    async def emptied(region: Region) -> None:
        region.sinks = await receiving.clients(region)
        await asyncio.gather(*(each.reset() for each in region.sinks.values()))

    await asyncio.gather(*(emptied(region) for region in regions.values()))
    return {name: region.sinks for name, region in regions.items()}


@pytest.fixture
def sink(sinks: dict[str, dict[str, SinkClient]]) -> SinkClient:
    """The preferred sink of eu."""
    return sinks["eu"]["mx1"]


@pytest.fixture(scope="session")
def leaving(places: Mapping[str, Place]) -> Iterator[list[str]]:
    """Namespaces that were deleted. Nobody waits for each, but at the end all have to be gone."""
    names: list[str] = []
    yield names

    async def all_gone(place: Place) -> None:
        async with Api(access(place.kubeconfig)) as api:
            for name in names:
                await gone(api, namespace_object(name), NAMESPACE_SECONDS)

    async def everywhere() -> None:
        await asyncio.gather(*(all_gone(place) for place in places.values()))

    asyncio.run(everywhere())


@pytest.fixture
async def namespace(
    regions: dict[str, Region], leaving: list[str], request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """A namespace of the test's own, of the same name in every region, in which pods must be restricted."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    name = f"e2e-{test[:40].strip('-')}-{secrets.token_hex(2)}"
    for region in regions.values():
        await region.apply(namespace_object(name))
        await _until_usable(region, name)
    yield name
    for region in regions.values():
        if request.node.stash.get(_failed, False):
            await mending.kept(region, (name, *SYSTEM_NAMESPACES), test)
        await region.api.delete("Namespace", None, name)
        await region.end_pods(name)
    leaving.append(name)


@pytest.fixture
def apply(regions: dict[str, Region]) -> Apply:
    """Applies manifests (objects or YAML texts) in every region, as GitOps would; the objects by region."""

    async def everywhere(*manifests: Object | str) -> dict[str, Objects]:
        return {name: await region.apply(*manifests) for name, region in regions.items()}

    return everywhere


@pytest.fixture
async def mail_client(eu: Region, namespace: str, images: Mapping[str, str]) -> str:
    """A pod in the test's namespace of eu from which `mailing.send_from_inside` sends; its name."""
    pod = client_pod(namespace, images["mailclient"])
    await eu.apply(pod)
    name = str(pod["metadata"]["name"])

    async def running() -> bool:
        found = await eu.api.get("Pod", namespace, name)
        return bool(found) and found is not None and found["status"].get("phase") == "Running"

    await wait_for(running, 60, f"Pod {namespace}/{name} running")
    return name


async def _until_usable(region: Region, name: str) -> None:
    """A new namespace refuses pods until its default service account is there."""

    async def has_account() -> bool:
        return await region.api.get("ServiceAccount", name, "default") is not None

    await wait_for(has_account, 30, f"ServiceAccount {name}/default")


@pytest.fixture(scope="session")
def installed_fleet(places: Mapping[str, Place], images: Mapping[str, str]) -> Fleet:
    """Brought up once: operator, queue and pool in both regions."""
    bring_up_everywhere(places, images)
    return Fleet()


@pytest.fixture
async def fleet(
    installed_fleet: Fleet,
    regions: dict[str, Region],
    sinks: dict[str, dict[str, SinkClient]],
    images: Mapping[str, str],
    unharmed_pools: list[Fleet],
    request: pytest.FixtureRequest,
) -> AsyncIterator[Fleet]:
    """The shared fleet, well in both regions, with empty sinks. One failure is one failure: a fleet that a test left broken is made anew."""
    await mending.well_again(regions, images, unharmed_pools, request.node)
    yield installed_fleet
    if request.node.stash.get(_failed, False):
        for region in regions.values():
            await mending.kept(region, (FLEET, *SYSTEM_NAMESPACES), request.node.name)


@pytest.fixture
async def watched(eu: Region, fleet: Fleet) -> AsyncIterator[Fleet]:
    """A pool of the test's own in eu, all well, whose relays may be cordoned."""
    async with watched_pool(eu, fleet) as pool:
        yield pool


@pytest.fixture(scope="session")
def unharmed_pools(places: Mapping[str, Place]) -> Iterator[list[Fleet]]:
    """None or one, which goes with the last test that uses it; at the end at the latest, when that one did not run."""
    pools: list[Fleet] = []
    yield pools

    async def remove() -> None:
        async with Api(access(places["eu"].kubeconfig)) as api:
            for each in pools:
                await api.delete("RelayPool", each.namespace, each.pool)

    asyncio.run(remove())


@pytest.fixture
async def unharmed(
    eu: Region, fleet: Fleet, unharmed_pools: list[Fleet], request: pytest.FixtureRequest
) -> AsyncIterator[Fleet]:
    """A pool as `watched`, shared by tests that claim that none of its relays comes to harm."""
    used_before, good = bool(unharmed_pools), False
    if not used_before:
        unharmed_pools.append(await begin_watched_pool(eu, fleet))
    [pool] = unharmed_pools
    try:
        if used_before:
            await forgiven(eu, pool)
        await all_well(eu, pool)
        good = True
        yield pool
    finally:
        # What a test that failed left of it is not for the next one to bear.
        if not good or request.node.stash.get(_failed, False) or not _used_later("unharmed", request.node):
            unharmed_pools.remove(pool)
            await eu.api.delete("RelayPool", pool.namespace, pool.pool)


def _used_later(fixture: str, item: pytest.Item) -> bool:
    """Whether a test after this one asks for the fixture."""
    items = item.session.items
    later = items[items.index(item) + 1 :]
    return any(fixture in each.fixturenames for each in later if isinstance(each, pytest.Function))
