"""One failure of an end-to-end test is one failure, also when it leaves the shared fleet broken. The fleet is a word here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import pytest

from tests.e2e import mending
from tests.e2e.fleet import Fleet
from tests.e2e.region import Region

REGIONS = cast("Mapping[str, Region]", {"eu": "eu", "us": "us"})


class Fleets:
    """`broken`: the regions whose fleet cannot heal; `hopeless`: those in which none comes up."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.hopeless: set[str] = set()
        self.done: list[str] = []

    async def mended(self, region: str, images: Mapping[str, str]) -> None:
        self.done.append(f"mended {region}")

    async def well(self, region: str) -> None:
        assert region not in self.broken, f"{region} is broken"

    async def made_anew(self, region: str, images: Mapping[str, str]) -> None:
        assert region not in self.hopeless, f"{region} is hopeless"
        self.done.append(f"made anew {region}")
        self.broken.discard(region)

    async def kept(self, region: str, namespaces: tuple[str, ...], test: str) -> None:
        """Nothing is."""


@pytest.fixture
def fleets(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Fleets]:
    found, stash = Fleets(), request.session.stash
    for name in ("mended", "well", "made_anew", "kept"):
        monkeypatch.setattr(mending, name, getattr(found, name))
    yield found
    for key in (mending._suspect, mending._beyond_repair):
        stash[key] = ""


async def test_a_fleet_that_is_well_is_left_alone(fleets: Fleets, request: pytest.FixtureRequest) -> None:
    await mending.well_again(REGIONS, {}, [], request.node)
    assert fleets.done == []


async def test_a_fleet_that_broke_by_itself_is_a_failure_and_only_of_the_test_that_finds_it(
    fleets: Fleets, request: pytest.FixtureRequest
) -> None:
    fleets.broken = {"us"}
    pools = [Fleet()]
    with pytest.raises(AssertionError, match="us is broken"):
        await mending.well_again(REGIONS, {}, pools, request.node)
    assert fleets.done == ["made anew eu", "made anew us"]
    assert pools == []
    await mending.well_again(REGIONS, {}, pools, request.node)


async def test_what_a_test_that_failed_left_broken_is_no_failure_of_the_next_one(
    fleets: Fleets, request: pytest.FixtureRequest
) -> None:
    mending.suspect(request.node)
    fleets.broken = {"eu"}
    await mending.well_again(REGIONS, {}, [], request.node)
    assert fleets.done == ["mended eu", "mended us", "made anew eu", "made anew us"]
    await mending.well_again(REGIONS, {}, [], request.node)
    assert len(fleets.done) == 4, "nobody is suspected any more"


async def test_when_no_fleet_comes_up_the_others_are_told_at_once(
    fleets: Fleets, request: pytest.FixtureRequest
) -> None:
    mending.suspect(request.node)
    fleets.broken = fleets.hopeless = {"eu"}
    with pytest.raises(AssertionError, match="eu is hopeless"):
        await mending.well_again(REGIONS, {}, [], request.node)
    fleets.done.clear()
    with pytest.raises(pytest.fail.Exception, match="could not be made anew: eu is hopeless"):
        await mending.well_again(REGIONS, {}, [], request.node)
    assert fleets.done == []
