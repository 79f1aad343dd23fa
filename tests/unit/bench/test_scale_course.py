"""One part of the scale benchmark, with jobs that are scripts: what becomes of one that does well, one that breaks, and one that does not end."""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from tests.bench import _scale_plan as plan
from tests.bench._scale_cage import child
from tests.bench._scale_plan import Row
from tests.bench._scale_say import Say
from tests.bench.scale import Course

LONG = 60.0
(PART,) = plan.parts("10")
ALL = "".join(f"print('{json.dumps(plan.row(name, 1.0, unit, 1))}', flush=True)\n" for name, unit in PART.units.items())
ONE = ALL.splitlines()[0] + "\n"


@asynccontextmanager
async def scripted(scripts: dict[str, str], *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """In place of namespaces: the script of a job. Its name is the argument after the module's."""
    async with child(sys.executable, "-c", scripts[words[3]]) as process:
        yield process


def course(scripts: dict[str, str], seconds: float = LONG) -> Course:
    now = time.monotonic()
    part = replace(PART, jobs=dict.fromkeys(scripts, PART.units))
    return Course(part, now + seconds, 1.0, Say(now), partial(scripted, scripts))


async def rows_of(tested: Course) -> dict[str, Row]:
    return {row["name"]: row async for row in tested.run()}


async def test_a_job_that_measures_everything() -> None:
    tested = course({"10": ALL})
    rows = await rows_of(tested)
    assert rows.keys() == PART.units.keys()
    assert all(row["value"] == 1.0 for row in rows.values())
    assert tested.broken == []


async def test_a_job_that_says_why_it_cannot_go_on() -> None:
    tested = course({"10": ONE + "print('\"it never settled\"')"})
    rows = await rows_of(tested)
    left = [row["detail"]["left_out"] for row in rows.values() if row["value"] is None]
    assert left == ["it never settled"] * (len(PART.units) - 1)
    assert tested.broken == []


async def test_a_job_that_breaks_is_told_and_the_other_one_goes_on() -> None:
    tested = course({"bad": "import sys; sys.exit(3)", "good": ONE})
    rows = [row async for row in tested.run()]
    assert [row["value"] for row in rows].count(1.0) == 1
    assert tested.broken == ["bad ended with 3"]
    why = [row["detail"]["left_out"] for row in rows if row["value"] is None]
    assert any(each.startswith("it ended with 3") for each in why)


async def test_a_job_that_does_not_end_is_ended_and_its_rows_are_left_out() -> None:
    tested = course({"10": "import time; time.sleep(600)"}, seconds=1.0)
    rows = await rows_of(tested)
    assert {row["detail"]["left_out"] for row in rows.values()} == {"its time was over"}
    assert tested.broken == []


async def test_no_job_outlives_the_reader_of_its_rows() -> None:
    name = next(iter(PART.units))
    script = f"import json, os, time\nprint(json.dumps({{'name': '{name}', 'value': os.getpid()}}), flush=True)\ntime.sleep(600)"
    async with aclosing(course({"10": script}).run()) as rows:
        process = os.pidfd_open((await anext(rows))["value"])
        assert not select.select([process], [], [], 0)[0]
    try:
        assert select.select([process], [], [], LONG)[0], "it has not ended"
    finally:
        os.close(process)


async def test_progress_says_when_and_who(capsys: pytest.CaptureFixture[str]) -> None:
    Say(time.monotonic() - 65, "1000")("makes pods")
    benchmark, seconds, *words = capsys.readouterr().err.split()
    assert (benchmark, words) == ("scale", ["s", "1000:", "makes", "pods"])
    assert int(seconds) >= 65
