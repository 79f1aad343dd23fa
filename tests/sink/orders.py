"""Orders in an address: a test says what shall happen to its mail without any set-up, and tests beside it are not disturbed.

    name+STAGE-DEED[-TIMESx][-SECONDSs]@any.domain

STAGE   rcpt, data or dot in a recipient; mail in a sender
DEED    a reply code (451, 550, …), accept, hang, close (FIN), reset (RST), garbage, endless,
        lost (at the dot: stored, then RST without an answer)
TIMES   only the first so many times for this address, then as usual
SECONDS wait so long before

    bob+rcpt-451-2x@example.test     greylisting: refused twice, then accepted
    bob+dot-550@example.test         refused after the message
    bob+dot-accept-1.5s@example.test slow
    bob+dot-lost-1x@example.test     stored, connection lost before the answer; the second copy is accepted

Several orders may follow each other: bob+rcpt-451-1x+dot-451-1x@example.test. What is no order is part of the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from tests.sink.actions import Action, Do, Stage

_ORDER = re.compile(
    r"(?P<stage>rcpt|data|dot|mail)-(?P<deed>[245]\d\d|accept|hang|close|reset|garbage|endless|lost)"
    r"(?:-(?P<times>\d{1,6})x)?(?:-(?P<seconds>\d{1,4}(?:\.\d{1,3})?)s)?"
)


@dataclass(frozen=True, slots=True)
class Order:
    """`first` 0: always."""

    stage: Stage
    action: Action
    first: int


@lru_cache(maxsize=10_000)
def orders_in(address: str) -> tuple[Order, ...]:
    """The orders that the address carries, in their order."""
    local, at, _ = address.rpartition("@")
    parts = (local if at else address).lower().split("+")[1:]
    return tuple(_order(found) for part in parts if (found := _ORDER.fullmatch(part)))


def _order(found: re.Match[str]) -> Order:
    deed, seconds = found["deed"], float(found["seconds"] or 0)
    delay = (seconds, seconds)
    if deed == "lost":
        action = Action("reset", delay=delay, store=True)
    elif deed.isdigit():
        action = Action("reply", int(deed), delay=delay)
    else:
        action = Action(cast("Do", deed), delay=delay)
    return Order(cast("Stage", found["stage"]), action, int(found["times"] or 0))
