"""What outlives the operator: standings, as plain values for JSON, so that a restart moves no traffic.

Evidence is not kept: it is a second old at most, and fresh evidence comes with the first probes. Nor is a cordoned relay's way back, which
begins anew: the answers would count at once, and what speaks against them would not be known yet. Only relays that do not
stand as new ones do are written, so the document of a healthy pool is nearly empty.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from relayfleet.decide.health.state import NEVER, RelayState, Standing, State
from relayfleet.decide.health.words import Level, Reason

VERSION = 1
_NUMBERS = ("since", "calm_since", "recovery", "strain", "eased_at")
"""`recovery` is written and checked, but not taken over: an operator of an earlier version needs it."""
_COUNTS = ("cordons", "eased")


def dump(state: State) -> dict[str, Any]:
    """The lasting part of a state, of plain types that `json.dumps` takes. Times are ages in seconds, null for never."""
    relays = {
        name: _standing(each.standing, state.clock)
        for name, each in sorted(state.relays.items())
        if each.standing != Standing()
    }
    return {"version": VERSION, "relays": relays}


def load(document: Mapping[str, Any]) -> State:
    """The state that `dump` wrote. Raises ValueError for anything else; the caller then starts with `State()`, all relays active."""
    if document.get("version") != VERSION or not isinstance(document.get("relays"), dict):
        raise ValueError(f"health state must be an object of version {VERSION} with relays, not {document!r:.200}")
    try:
        return State(relays={str(name): RelayState(standing=_read(each)) for name, each in document["relays"].items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"health state cannot be read: {error!r}") from error


def _standing(standing: Standing, clock: float) -> dict[str, Any]:
    values = dataclasses.asdict(standing)
    for name in ("since", "calm_since", "eased_at"):
        values[name] = None if values[name] == NEVER else clock - values[name]
    return values | {"level": standing.level.value, "reason": standing.reason.value}


def _read(values: Mapping[str, Any]) -> Standing:
    numbers = {name: _number(values[name], name) for name in _NUMBERS if values[name] is not None}
    ages = {name: -age for name, age in numbers.items() if name not in ("recovery", "strain")}
    counts = {name: int(_number(values[name], name)) for name in _COUNTS}
    return Standing(
        level=Level(values["level"]),
        reason=Reason(values["reason"]),
        message=str(values["message"]),
        unfit=str(values["unfit"]),
        **{"strain": numbers["strain"], **ages, **counts},  # type: ignore[arg-type]
    )


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise TypeError(f"{name} is {value!r}, which is no number from 0")
    return float(value)
