"""Where a record lies that is to be delivered now: in the front, through which all mail goes that has no lane, in a provider lane, or among those that
have lain in a lane for long and are looked at. Mail for a destination that nobody reaches is parked: nobody takes it from there, and it comes to be looked at.

A place means nothing for safety: any relay delivers any record from any place, and relays that disagree about a record's lane only cost writes.
The first `NAMED` lanes are of the providers that a table names (`relay.routing.providers`), the others are shared by all other destinations.
"""

from __future__ import annotations

NAMED, SHARED = 8, 8
PROVIDER_LANES = range(NAMED + SHARED)
FRONT, LOOK = -1, len(PROVIDER_LANES)
LANED = (*PROVIDER_LANES, LOOK)
PLACES = (FRONT, *LANED)
"""From where records are taken."""
PARK = LOOK + 1
LOOKED_AT_SECONDS = 1500.0
"""Within which what lies in a lane or is parked is taken again: `LANE_SECONDS` and `LOOK_SECONDS` of the topology."""


def leads_to(place: int, lane: int) -> bool:
    """Whether a record may be moved from a place to a lane: from the front and after a look to any, from a shared lane to a named one, from there to none. So it
    comes to rest, whoever thinks what of it."""
    return place in (FRONT, LOOK) or (lane < NAMED <= place)
