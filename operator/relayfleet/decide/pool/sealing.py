"""When the relays of a pool begin to seal: a relay that cannot open sealed records would take them for damaged ones."""

from __future__ import annotations

from collections.abc import Sequence


def seals(*, begun: bool, first: bool, opens: Sequence[bool]) -> bool:
    """`begun`: they seal already, and what comes later is made of a template with keys. `first`: none was ever made, so all will be. `opens`: of
    each relay that there is, those that are leaving too, whether it said that it can open sealed records."""
    return begun or first or (bool(opens) and all(opens))
