"""When the relays of a pool put mail into provider lanes, or park it: a relay of before takes none from there."""

from __future__ import annotations

from collections.abc import Sequence


def used(*, wanted: bool, begun: bool, first: bool, take: Sequence[bool]) -> bool:
    """`wanted`: by the user. `begun`: they do already, and a relay that comes later and takes none leaves it to the others; with none left that does, mail
    comes back to where all relays take it. `first`: no relay was ever made, so all will take. `take`: of each relay that there is, those that are leaving
    too, whether it said that it takes from lanes."""
    return wanted and (begun or first or (bool(take) and all(take)))
