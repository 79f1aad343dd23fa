"""The soak's rows: figures out of what was seen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench._soak_disk import Usage, allowed, kept, largest, mib
from tests.bench._soak_ledger import Ledger
from tests.bench._soak_plan import Plan

Row = dict[str, Any]
MOST_NAMED = 20
"""Lost records that a row names."""


@dataclass(slots=True)
class Rest:
    """After a round. `disk`: by broker, at its end. `seconds` after the last record's end at which all were as low as is allowed, None: never while
    it was waited for, which was `waited`. `left`: records in all queues, None: the brokers did not count them."""

    disk: Sequence[Usage]
    seconds: float | None
    waited: float
    left: int | None = 0


@dataclass(slots=True)
class Course:
    """What was seen. Each list of usages has the brokers in their order. `traffic`: seconds with records under way. `log`: bytes after which the
    brokers roll their log over. `failures`: by what publishers were told."""

    plan: Plan
    ledger: Ledger
    version: str
    queues: int
    log: int
    before: Sequence[Usage]
    peak: list[Usage]
    rests: list[Rest] = field(default_factory=list)
    traffic: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def allowance(self) -> list[int]:
        """Bytes, by broker."""
        return [allowed(each, self.log, self.queues, self.plan.size) for each in self.before]

    def is_free(self, disk: Sequence[Usage]) -> bool:
        """Whether every broker holds no more than is allowed."""
        return all(each.total <= most for each, most in zip(disk, self.allowance, strict=True))


def rows(course: Course) -> list[Row]:
    """All of them, the verdict first."""
    return [*_accounts(course), *_disk(course), *_memory(course)]


def _accounts(course: Course) -> list[Row]:
    ledger, count = course.ledger, course.plan.records
    missing, left = ledger.missing, course.rests[-1].left
    waiting = left or 0
    lost = max(len(missing) - waiting, 0)
    named = [ledger.id(number) for number in missing[:MOST_NAMED]]
    how = "confirmed by a majority, never taken for the last time, and in no queue at the end"
    writes = ledger.put + 2 * ledger.hops - len(missing)
    rate = ledger.finished / course.traffic if course.traffic else 0.0
    return [
        _row("soak.records", ledger.finished, "records", count, count, put=ledger.put, version=course.version),
        _row("soak.lost", lost, "records", ledger.put, 0, how=how, missing=named, strange=ledger.strange),
        _row("soak.duplicates", ledger.duplicates, "records", ledger.put, None, why=_COPIES, failures=course.failures),
        _row("soak.left", left, "records", ledger.put, 0, queues=course.queues),
        _row("soak.dead_lettered", ledger.hops, "records", ledger.put, None, mean=_ratio(ledger.hops, ledger.finished)),
        _row("soak.rate", rate, "records/s", ledger.finished, None, writes=_ratio(writes, course.traffic)),
    ]


_COPIES = "a confirm that is overdue sends the record to the other lane as well; relays tell such copies by the journal, which has no part here"


def _disk(course: Course) -> list[Row]:
    before, rest, size = largest(course.before), course.rests[-1], course.plan.size
    disk, peak, goal = largest(rest.disk), largest(course.peak), max(course.allowance)
    growth = max(last.segments - first.segments for first, last in zip(course.rests[0].disk, rest.disk, strict=True))
    allowance = {"log": mib(course.log), "segments": mib(kept(course.queues, size)), "before": mib(before.total)}
    rests = [{"seconds": each.seconds, "waited": each.waited, "disk": _told(each.disk)} for each in course.rests]
    of_before = _ratio(disk.total, before.total)
    return [
        _row("soak.disk.before", mib(before.total), "MiB", len(course.before), None, brokers=_told(course.before)),
        _row("soak.disk.peak", mib(peak.total), "MiB", len(course.peak), None, brokers=_told(course.peak)),
        _row("soak.disk.rest", mib(disk.total), "MiB", len(rest.disk), mib(goal), of_before=of_before, allowed=allowance, rests=rests),
        _row("soak.disk.rest.seconds", rest.seconds, "s", len(rest.disk), None, waited=rest.waited, goal_of="soak.disk.rest"),
        _row("soak.disk.growth", mib(growth), "MiB", len(rest.disk), mib(kept(course.queues, size)), how=_GROWTH),
    ]  # fmt: skip


_GROWTH = "segments at rest after all records, less those after the first half: a leak grows with the records, what queues keep does not"


def _memory(course: Course) -> list[Row]:
    seen = {"before": course.before, "peak": course.peak, "rest": course.rests[-1].disk}
    return [
        _row(f"soak.memory.{name}", mib(max(each.memory for each in its)), "MiB", len(its), None)
        for name, its in seen.items()
    ]


def _told(usages: Sequence[Usage]) -> list[dict[str, float]]:
    return [each.told() for each in usages]


def _ratio(value: float, by: float) -> float | None:
    return round(value / by, 2) if by else None


def _row(name: str, value: float | None, unit: str, n: int, goal: float | None, **detail: Any) -> Row:
    """As all benchmarks write them. `goal`: at most this (of soak.records: exactly), None where there is none."""
    figure = round(value, 1) if isinstance(value, float) else value
    return {
        "name": name, "value": figure, "unit": unit, "peer": None, "peer_value": None, "n": n, "goal": goal, "detail": detail,
    }  # fmt: skip
