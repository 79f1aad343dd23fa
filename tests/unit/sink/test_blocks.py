"""The memory of the sink is bounded, paged, and loses nothing that it says it keeps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.sink.blocks import BLOCK, Blocks


def filled(count: int, limit: int = 10**6, spill: Path | None = None) -> Blocks:
    blocks = Blocks(limit, spill)
    for number in range(count):
        blocks.append(b"%d" % number)
    return blocks


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
@pytest.mark.parametrize("page", [1, 100, BLOCK, 10**6])
def test_pages_give_every_line_once(count: int, page: int) -> None:
    blocks, found, since = filled(count), list[bytes](), 0
    for _ in range(count + 1):
        lines, since = blocks.page(since, page)
        found += lines
        if not lines or page * len(found) > 10**7:
            break
    assert [int(line) for line in found] == list(range(len(found)))
    assert len(found) == count or page == 1


def test_the_oldest_fall_off_and_the_numbers_stay() -> None:
    blocks = filled(10 * BLOCK, limit=2 * BLOCK)
    lines, following = blocks.page(0, 10)
    assert blocks.first == 8 * BLOCK
    assert lines[0] == b"%d" % blocks.first
    assert following == blocks.first + 10


def test_after_clear_there_is_nothing_and_numbers_are_not_used_again() -> None:
    blocks = filled(BLOCK + 3)
    blocks.clear()
    assert blocks.page(0, 10) == ([], BLOCK + 3)
    blocks.append(b"new")
    assert blocks.page(0, 10) == ([b"new"], BLOCK + 4)


def test_the_spill_file_has_what_fell_off(tmp_path: Path) -> None:
    blocks = filled(5 * BLOCK + 3, limit=BLOCK, spill=tmp_path / "spill")
    blocks.close()
    assert [int(line) for line in (tmp_path / "spill").read_text().split()] == list(range(5 * BLOCK + 3))


async def test_waiting_ends_with_the_line_that_is_waited_for() -> None:
    blocks = filled(3)
    waiting = asyncio.create_task(blocks.wait(since=4, seconds=60))
    await asyncio.sleep(0)
    blocks.append(b"3")
    await asyncio.sleep(0)
    assert not waiting.done()
    blocks.append(b"4")
    await waiting


async def test_waiting_ends_when_its_time_is_up() -> None:
    await filled(3).wait(since=3, seconds=0.01)
