"""One failure is one failure: what a test that failed left of the shared fleet is put right, or the fleet made anew, before the next test begins."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable, Mapping

import aiohttp
import pytest

from tests.e2e import artefacts
from tests.e2e.api import ApiError
from tests.e2e.fleet import NAMESPACE, Fleet, made_anew, mended, well
from tests.e2e.region import Region
from tests.testbed.shell import TestbedError

SYSTEM_NAMESPACES = ("relayfleet-system", "sink")
_suspect = pytest.StashKey[str]()
"""Of the session: the test that failed since the fleet was last well, and may have left it broken."""
_beyond_repair = pytest.StashKey[str]()
"""Of the session: why the fleet could not be made anew."""
_BROKEN = (AssertionError, TestbedError, ApiError, aiohttp.ClientError, TimeoutError)


def suspect(item: pytest.Item) -> None:
    """A test that failed may have left the fleet broken."""
    item.session.stash[_suspect] = item.nodeid


async def well_again(
    regions: Mapping[str, Region], images: Mapping[str, str], pools: list[Fleet], item: pytest.Item
) -> None:
    """Return when the fleet is well, for `item`. Raises what is wrong with it when no test that failed can have done it: that is a failure of its own.
    `pools`: those of tests beside it, which go when it is made anew."""
    stash = item.session.stash
    if why := stash.get(_beyond_repair, ""):
        pytest.fail(f"the fleet was broken and could not be made anew: {why}", pytrace=False)
    suspected = stash.get(_suspect, "")
    try:
        if suspected:
            await _in_all(mended(region, images) for region in regions.values())
        await _in_all(well(region) for region in regions.values())
    except _BROKEN as error:
        print(f"the fleet is made anew{f', since {suspected} failed' if suspected else ''}: {error}")
        for region in regions.values():
            await kept(region, (NAMESPACE, *SYSTEM_NAMESPACES), f"before-{item.name}")
        await _anew(regions, images, pools, item)
        if not suspected:
            raise
    stash[_suspect] = ""


async def _anew(
    regions: Mapping[str, Region], images: Mapping[str, str], pools: list[Fleet], item: pytest.Item
) -> None:
    pools.clear()  # they go with the namespace
    try:
        await _in_all(made_anew(region, images) for region in regions.values())
    except _BROKEN as error:
        item.session.stash[_beyond_repair] = str(error)
        raise


async def _in_all(actions: Iterable[Coroutine[None, None, None]]) -> None:
    """In all regions at once. Raises what failed first of the list, when none is under way any more."""
    for each in await asyncio.gather(*actions, return_exceptions=True):
        if each is not None:
            raise each


async def kept(region: Region, namespaces: tuple[str, ...], test: str) -> None:
    """Keep what these held. What cannot be had is no failure of the test's own."""
    try:
        folder = await artefacts.keep(region, namespaces, re.sub(r"[^a-z0-9]+", "-", test.lower()).strip("-"))
    except (ApiError, aiohttp.ClientError, TimeoutError) as error:
        print(f"what {region.name} held cannot be kept: {error!r}")
    else:
        print(f"what {region.name} held is in {folder}")
