"""The soak's judgement: which records are accounted for, what of a broker's disk counts as free, and what is dropped when time gets short."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bench import _soak_plan as soak
from tests.bench._soak_disk import (
    MIB,
    SEGMENT_ENTRIES,
    Usage,
    allowed,
    command,
    kept,
    largest,
    parse,
)
from tests.bench._soak_ledger import Ledger
from tests.bench._soak_rows import Course, Rest, Row, rows

SMALL = Usage(total=10 * MIB, log=MIB, segments=2 * MIB, memory=100 * MIB)
LARGE = Usage(total=3000 * MIB, log=200 * MIB, segments=2700 * MIB, memory=500 * MIB)


def ledger(records: int = 4) -> Ledger:
    made = Ledger(records)
    for number in range(records):
        made.stored(number)
        made.end(number)
        made.hops += 2
    return made


def course(its: Ledger | None = None, **changed: object) -> Course:
    made = its or ledger()
    seen = Course(
        soak.Plan(made.records),
        made,
        "4.0.5",
        7,
        256 * MIB,
        [SMALL] * 3,
        [LARGE] * 3,
        [Rest([SMALL] * 3, 5.0, 20.0)] * 2,
    )
    for name, value in changed.items():
        setattr(seen, name, value)
    return seen


def told(seen: Course) -> dict[str, Row]:
    return {each["name"]: each for each in rows(seen)}


def test_a_soak_that_went_well() -> None:
    found = told(course(traffic=2.0))
    assert (found["soak.lost"]["value"], found["soak.left"]["value"], found["soak.duplicates"]["value"]) == (0, 0, 0)
    assert found["soak.records"]["value"] == found["soak.records"]["goal"] == 4
    assert found["soak.rate"]["value"] == 2.0 and found["soak.rate"]["detail"]["writes"] == 10.0
    assert found["soak.disk.rest"]["value"] <= found["soak.disk.rest"]["goal"]
    assert found["soak.disk.peak"]["value"] == 3000 and found["soak.disk.growth"]["value"] == 0
    assert [found[f"soak.memory.{each}"]["value"] for each in ("before", "peak", "rest")] == [100, 500, 100]


def test_what_was_confirmed_and_never_ended_is_lost_and_named() -> None:
    missing = Ledger(4)
    for number in range(4):
        missing.stored(number)
    for number in (0, 1, 3):
        missing.end(number)
    row = told(course(missing))["soak.lost"]
    assert row["value"] == 1 and row["detail"]["missing"] == [missing.id(2)] and missing.under_way == 1


def test_what_lies_in_a_queue_is_not_lost_but_left() -> None:
    its = Ledger(4)
    its.stored(0)
    found = told(course(its, rests=[Rest([SMALL] * 3, 5.0, 20.0), Rest([SMALL] * 3, 5.0, 20.0, left=1)]))
    assert (found["soak.lost"]["value"], found["soak.left"]["value"]) == (0, 1)


def test_queues_that_are_not_counted_excuse_nothing() -> None:
    its = Ledger(4)
    its.stored(0)
    found = told(course(its, rests=[Rest([SMALL] * 3, 5.0, 20.0), Rest([SMALL] * 3, None, 20.0, left=None)]))
    assert found["soak.lost"]["value"] == 1 and found["soak.left"]["value"] is None


def test_a_record_that_ends_before_its_confirm_is_accounted_for() -> None:
    its = Ledger(2)
    its.end(1)
    its.stored(1)
    its.stored(1)
    assert (its.put, its.finished, its.under_way, its.missing, its.duplicates) == (1, 1, 0, [], 0)


def test_each_end_beyond_the_first_is_a_duplicate() -> None:
    its = ledger()
    for _ in range(200):
        its.end(2)
    assert its.duplicates == 126 and its.finished == 4  # counted up to what seven bits hold


@pytest.mark.parametrize("id_", ["", "01J8Z5Q2", "other", "0000000000" + "1" * 16])
def test_records_of_another_run_are_told_apart(id_: str) -> None:
    its = Ledger(3, run="ABCDEFGHIJ")
    assert its.number(id_) is None and its.number(its.run + "x") is None
    assert its.number(its.id(3)) is None and its.number(its.id(2)) == 2
    assert len(its.id(2)) == 26


def test_a_leak_is_seen_in_the_rest_and_in_the_growth() -> None:
    half = Usage(total=1400 * MIB, segments=1300 * MIB)
    found = told(course(rests=[Rest([half] * 3, None, 75.0), Rest([SMALL, LARGE, SMALL], None, 75.0)]))
    assert found["soak.disk.rest"]["value"] > found["soak.disk.rest"]["goal"]
    assert found["soak.disk.growth"]["value"] == 1400 > found["soak.disk.growth"]["goal"]
    assert found["soak.disk.rest.seconds"]["value"] is None


def test_disk_is_free_when_every_broker_is_within_its_own_allowance() -> None:
    seen = course()
    most = allowed(SMALL, seen.log, seen.queues, seen.plan.size)
    assert seen.is_free([SMALL, Usage(total=most), SMALL])
    assert not seen.is_free([SMALL, SMALL, Usage(total=most + 1)])


def test_the_allowance_follows_from_queues_and_size_and_not_from_how_many_passed() -> None:
    assert kept(2, 2048) == 2 * kept(1, 2048) == 2 * 3 * SEGMENT_ENTRIES * 3072
    assert allowed(SMALL, 256 * MIB, 7, 2048) < 600 * MIB


SAID = """\
65536 /data/mnesia/rabbit@a/quorum/rabbit@a/00000003.wal
10240 /data/mnesia/rabbit@a/quorum/rabbit@a/2F_SOAK/00000001.segment
8 /data/mnesia/rabbit@a/quorum/rabbit@a/2F_SOAK/a name with blanks
deleted:
77 2048
77 2048
78 8
memory:
VmRSS:\t  204800 kB
VmRSS:\t    1024 kB
"""


def test_what_a_broker_says_is_added_up_with_files_that_are_open_and_have_no_name() -> None:
    found = parse(SAID)
    assert (found.log, found.segments, found.memory) == (64 * MIB, 10 * MIB, 201 * MIB)
    assert found.deleted == MIB + 4096 and found.total == 74 * MIB + 8192 + found.deleted


@pytest.mark.parametrize("text", ["", "deleted:\nmemory:\n", "8 /data/x\n", "8 /data/x\ndeleted:\n"])
def test_nothing_said_is_not_an_empty_disk(text: str) -> None:
    with pytest.raises(ValueError, match="not listed"):
        parse(text)


@pytest.mark.skipif(not shutil.which("find"), reason="needs find")
def test_the_command_says_what_is_on_disk(tmp_path: Path) -> None:
    (tmp_path / "1.wal").write_bytes(b"x" * 40_000)
    (tmp_path / "1.segment").write_bytes(b"x" * 20_000)
    with (tmp_path / "2.segment").open("wb") as held:
        held.write(b"x" * 80_000)
        held.flush()
        (tmp_path / "2.segment").unlink()
        found = parse(
            subprocess.run(["sh", "-c", command(str(tmp_path))], capture_output=True, text=True, check=True).stdout
        )
    assert 40_000 <= found.log < 50_000 and 20_000 <= found.segments < 30_000
    assert 80_000 <= found.deleted < 90_000 and found.total == found.log + found.segments + found.deleted
    assert found.memory > MIB


def test_the_peak_is_taken_of_each_figure() -> None:
    assert SMALL.peak(Usage(total=1, memory=200 * MIB)) == Usage(10 * MIB, MIB, 2 * MIB, 0, 200 * MIB)
    assert largest([SMALL, LARGE, SMALL]) is LARGE and largest([]) == Usage()


def test_both_halves_have_all_numbers_and_all_of_the_time() -> None:
    made = soak.Plan(records=5, seconds=1000)
    assert [*made.numbers(0), *made.numbers(1)] == [0, 1, 2, 3, 4]
    moments = [at for turn in range(2) for at in (made.put_until(turn), made.drain_until(turn), made.rest_until(turn))]
    assert moments == sorted(moments) and moments[-1] == 1000


def test_the_drain_has_time_for_the_longest_way_of_a_record() -> None:
    made = soak.Plan()
    longest = sum(soak.delay(hop) * 1.2 for hop in range(max(soak.HOPS)))
    assert made.drain_until(0) - made.put_until(0) > 2 * longest


def test_most_records_wait_twice_and_each_as_often_as_its_number_says() -> None:
    assert sum(each == 2 for each in soak.HOPS) > len(soak.HOPS) / 2
    assert soak.goes_on(0, 0, late=False) and not soak.goes_on(0, 1, late=False)
    assert soak.goes_on(19, 2, late=False) and not soak.goes_on(19, 3, late=False)


def test_when_putting_is_late_nothing_waits_twice() -> None:
    assert not soak.goes_on(1, 1, late=True)
    assert soak.is_late(400, 1000, 50.0, 100.0) and not soak.is_late(500, 1000, 50.0, 100.0)
    assert not soak.is_late(0, 1000, 0.0, 100.0) and not soak.is_late(1000, 1000, 300.0, 100.0)


def test_what_is_asked_for_is_read_from_the_environment() -> None:
    assert soak.plan({}) == soak.Plan(1_000_000, 2048, 1500.0)
    assert soak.plan({"SOAK_RECORDS": "20000", "SOAK_SIZE": "51200", "SOAK_SECONDS": ""}).records == 20_000


@pytest.mark.parametrize("name", ["SOAK_RECORDS", "SOAK_SIZE", "SOAK_SECONDS"])
@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "²"])
def test_what_cannot_be_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*above zero"):
        soak.plan({name: text})
