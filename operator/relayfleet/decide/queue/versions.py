"""Which versions of RabbitMQ relays' queues are made for. Pure.

The queues need what came with 4.0 (a delivery limit that is off, users and queues in Raft). All tests run on `MINIMUM`, and nothing below it is
tested; how much disk records that are gone leave behind is measured by `make bench BENCH=soak`.
"""

from __future__ import annotations

from collections.abc import Iterable

MINIMUM = "4.0.5"


def oldest(versions: Iterable[str]) -> str:
    """Of those that can be read; "" when there is none."""
    return min((each for each in versions if _numbers(each)), key=_numbers, default="")


def why_unsupported(version: str) -> str:
    """What is wrong with it and what to do; "" when nothing is, or when it cannot be read."""
    numbers = _numbers(version)
    if not numbers or numbers >= _numbers(MINIMUM):
        return ""
    risk = (
        "before 4.0 a queue's delivery limit of -1 does not mean that there is none, so a record that a relay hands back may be dropped"
        if numbers < (4,)
        else "nothing older is tested, and some 4.0 keep disk of records that are gone"
    )
    return (
        f"RabbitMQ {version} is older than {MINIMUM}, the oldest that relays' queues are made for: {risk}; upgrade it"
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Of a release as in 4.0.5; what follows the third number does not count. Empty when it is none."""
    parts = version.split("-")[0].split("+")[0].split(".")[:3]
    whole = len(parts) == 3 and all(each.isascii() and each.isdecimal() for each in parts)
    return tuple(map(int, parts)) if whole else ()
