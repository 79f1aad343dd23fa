"""What the scale benchmark measures, in which order, and how long each part may take; pure.

The whole has a number of seconds. A part that begins gets its share of what is left of them, so what one part does not need the later ones have;
the largest fleet comes last. A row that was not measured in time is a row without a value, and says why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

SECONDS, REST = 465.0, 60.0
"""Of the whole: two cores end well within eight minutes. Of a rest that is measured, at the most."""
HEALING = "healing"
DEFAULT = f"{HEALING},10,100,1000"

SIZED = {
    "cold_start": "s",
    "cpu": "cores",
    "memory": "MiB",
    "writes": "writes/s",
    "writes.lease": "writes/s",
    "false_cordons": "cordons",
    "decision.p99": "ms",
}
"""Rows of one size, with their units."""
HEALED = {
    "frozen_watch": {"frozen_watch.renewed": "s", "frozen_watch.order": "s"},
    "blocked_standby": {"blocked_loop.standby": "s"},
    "blocked_alone": {"blocked_loop.alone": "s"},
}
"""What heals, each with its rows."""
MOST_WRITES, MOST_HEALING = 0.2, 90.0
"""Goals: writes a second at rest, and seconds until what died works again."""
_SMALL, _LARGEST, _HEALING = 75.0, 185.0, 130.0
"""Shares, in seconds when the whole has its default: measured on two cores, with a third to spare."""


class ShortError(Exception):
    """What is left cannot be measured; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """`jobs` run side by side, each in namespaces of its own; each has rows, by name, with their units."""

    name: str
    jobs: dict[str, dict[str, str]]
    share: float

    @property
    def units(self) -> dict[str, str]:
        """Of all rows."""
        return {name: unit for rows in self.jobs.values() for name, unit in rows.items()}


def parts(text: str) -> tuple[Part, ...]:
    """Of a list like `healing,10,1000`; in its order. ValueError says what is wrong with it."""
    words = [each.strip() for each in text.split(",")]
    if bad := [each for each in words if each != HEALING and not (each.isascii() and each.isdecimal() and int(each))]:
        raise ValueError(f"SCALE_PARTS has {bad[0]!r}; a part is {HEALING!r} or a number of relays, as in {DEFAULT}")
    if len(set(words)) < len(words):
        raise ValueError(f"SCALE_PARTS names a part twice: {text}")
    largest = max((int(each) for each in words if each != HEALING), default=0)
    return tuple(_healing() if each == HEALING else _size(int(each), largest) for each in words)


def seconds(name: str, text: str) -> float:
    """Of an environment variable. ValueError says what is wrong with it."""
    if not text.replace(".", "", 1).isdecimal() or not float(text):
        raise ValueError(f"{name} is {text!r}; it has to be a number of seconds above zero, as in {SECONDS:g}")
    return float(text)


def until(now: float, end: float, left: Sequence[Part]) -> float:
    """When the first of the parts that are left has to be over."""
    return now + max(0.0, end - now) * left[0].share / sum(each.share for each in left)


def row(name: str, value: float | None, unit: str, n: int, **detail: Any) -> Row:
    """As all benchmarks write them."""
    rounded = None if value is None else round(value, 4)
    return {"name": name, "value": rounded, "unit": unit, "n": n, "peer": None, "peer_value": None, "detail": detail}


def not_cured(seconds: float) -> dict[str, Any]:
    """What to say of something that did not heal for so long: before its time is up that means nothing."""
    if seconds < MOST_HEALING:
        return {"left_out": f"the time was over {seconds:.0f} s after it died, and it may take {MOST_HEALING:g} s"}
    return {"not_within": round(seconds, 1)}


def left_out(part: Part, measured: Collection[str], why: Mapping[str, str]) -> list[Row]:
    """Rows in place of those that a part does not have. `why`: by job."""
    return [
        row(name, None, unit, 0, left_out=why.get(job, "it was not measured"))
        for job, rows in part.jobs.items()
        for name, unit in rows.items()
        if name not in measured
    ]


def _size(relays: int, largest: int) -> Part:
    units = {f"scale.{relays}.{what}": unit for what, unit in SIZED.items()}
    return Part(str(relays), {str(relays): units}, _LARGEST if relays == largest else _SMALL)


def _healing() -> Part:
    jobs = {job: {f"scale.{what}": unit for what, unit in rows.items()} for job, rows in HEALED.items()}
    return Part(HEALING, jobs, _HEALING)
