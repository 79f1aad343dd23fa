"""Mail that would keep the hands of a place from all others is moved to its provider's lane, where it waits in hands of its own. Mail for a destination that nobody
reaches is parked, from every place.

New mail is put there when it is accepted. What comes by the front all the same are returning retries, mail that was accepted while the lanes' broker
stood still, and mail of before; and a shared lane gets what nobody knew to be a named provider's. Most of it is delivered from where it is, which costs nothing. It is
moved when its lane's mail has more hands of that place than half of those left free: one slow provider comes to a third of the hands, any number of them leave room.

What has lain in a lane for long (`places.LOOK`) has been looked at by now, for rules, expiry and copies, and goes to the tail.
"""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.relay.delivery.attempting import Attempts, owes_word
from relayfleet.relay.delivery.hands import Hands
from relayfleet.relay.delivery.telling import DeliveryCounters, log
from relayfleet.relay.parking.parking import Parking
from relayfleet.relay.routing.providers import LaneFinder
from relayfleet.relay.spool.interface import Held, Spool, SpoolError
from relayfleet.relay.spool.places import LOOK, NAMED, PARK, leads_to
from relayfleet.relay.spool.record import Recipient


class Mover:
    """Moves them."""

    def __init__(
        self,
        spool: Spool,
        finder: LaneFinder,
        hands: Hands,
        attempts: Attempts,
        counters: DeliveryCounters,
        parking: Parking,
    ) -> None:
        self._spool, self._finder, self._hands, self._parking = spool, finder, hands, parking
        self._attempts, self._counters = attempts, counters

    async def moved(self, held: Held, recipients: Sequence[Recipient], *, may_wait: bool) -> bool:
        """Whether the record has gone to its lane, or is parked, and is not ours any more. `recipients`: those who are left; the journal and nobody else was asked yet. Raises
        SpoolError when it is with others. `may_wait`: its life is not over before it would be looked at; else it is not parked, since its end would come too late.

        A record of which somebody is done already is not moved: the journal forgets that after an hour, and lanes may be longer. It is settled here."""
        if len(recipients) < len(held.record.recipients) or owes_word(held):
            return False
        if may_wait and self._spool.parks and await self._parked(held, recipients):
            return True
        if held.place in range(NAMED) or not self._spool.uses_lanes:
            return False
        lane = await self._finder.of(domains) if (domains := self._attempts.untouched(held, recipients)) else None
        if lane is None or not leads_to(held.place, lane):
            return False
        if (held.place == LOOK or self._hands.of(held.place).crowded_by(lane)) and await self._goes(held, lane):
            self._counters.records_moved += 1
            log.info("id=%s attempt=%d waits in provider lane %d", held.record.id, held.record.attempt, lane)
            return True
        self._hands.bind(held, lane)
        return False

    async def _parked(self, held: Held, recipients: Sequence[Recipient]) -> bool:
        if not self._parking.any_dead:
            return False  # nearly always
        destination = await self._parking.leads_to_nobody(self._attempts.untouched(held, recipients))
        if destination is None or not await self._goes(held, PARK):
            return False
        self._parking.parked(destination)
        self._counters.records_parked += 1
        record, why = held.record, self._parking.why(destination)
        log.info("id=%s attempt=%d is parked, %s is down: %s", record.id, record.attempt, destination[0], why)
        return True

    async def _goes(self, held: Held, place: int) -> bool:
        """Whether it went; else it is tried here."""
        self._hands.begin(held)
        try:
            await held.move(place)
        except SpoolError as error:
            if not held.is_ours:
                raise
            log.info("id=%s attempt=%d is not moved, but tried: %s", held.record.id, held.record.attempt, error)
            return False
        return True
