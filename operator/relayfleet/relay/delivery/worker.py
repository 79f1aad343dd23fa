"""The delivery service: takes records from the queue, has their recipients delivered, and settles what is left.

    take → ask the journal → move it to its provider's lane, or park it, or else follow the pool's rules → look at its expiry → ask the suppression list
         → split by domain → sign → deliver → decide → tell the journal → store successors and reports → acknowledge

At most `delivery.prefetch` records of the front are in hand, and `hands.LANE_HANDS` of each provider lane, fewer in a Bulk pool while the brokers are slow; the queue keeps the rest. A record is
acknowledged only after its successors are stored.
Whatever goes wrong inside, the record goes back to the queue: it is never dropped here. What our own code fails on again and again goes to quarantine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from relayfleet.protocol.relay_config import RelayConfig, Source
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.delivery import events, settlement, twins
from relayfleet.relay.delivery.attempting import Attempts
from relayfleet.relay.delivery.courier import Courier
from relayfleet.relay.delivery.hands import Hands
from relayfleet.relay.delivery.journal import Witness
from relayfleet.relay.delivery.moving import Mover
from relayfleet.relay.delivery.outcome import Outcome
from relayfleet.relay.delivery.patience import patiently
from relayfleet.relay.delivery.ruling import DeliveryRules
from relayfleet.relay.delivery.sessions import SessionPool
from relayfleet.relay.delivery.sources import SourceChooser
from relayfleet.relay.delivery.suspects import FAULTS, Suspects, quarantined
from relayfleet.relay.delivery.telling import DISCARDED, DeliveryCounters, log, tell
from relayfleet.relay.discard import Discard
from relayfleet.relay.parking.parking import Parking
from relayfleet.relay.replies.classify import Classifier
from relayfleet.relay.replies.rules import Rule, load_rules
from relayfleet.relay.retry.backoff import expired, shortened
from relayfleet.relay.routing.providers import LaneFinder, Providers
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.routing.router import Router
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.scavenger.window import Way
from relayfleet.relay.senders import Senders
from relayfleet.relay.signing.letter import Signing
from relayfleet.relay.spool.interface import (
    ClaimRefusedError,
    Event,
    Held,
    Journal,
    Seen,
    Spool,
    SpoolError,
    Successor,
)
from relayfleet.relay.spool.places import LOOKED_AT_SECONDS, PLACES
from relayfleet.relay.spool.record import Recipient, Record, share
from relayfleet.relay.suppression.suppression import SuppressionList

SWEEP_SECONDS = 5.0
OPEN_CLAIM_SECONDS, OPEN_CLAIM_PAUSE = 10.0, 0.25
"""For how long, and how often, the journal is asked again about a claim that somebody else has not closed. A relay whose brokers were
changed under it is connected again within some three seconds."""
TAKE_PAUSE_SECONDS = 1.0
FAULT_PAUSE_SECONDS = 1.0


class DeliveryService:
    """One relay's delivery. `start`, then `drain` at the end; `reload`, `pause` and `resume` at any time. `tally` hears how attempts end. `scavenger`:
    where a Bulk pool's relay yields."""

    def __init__(
        self,
        config: RelayConfig,
        spool: Spool,
        resolver: Resolver,
        journal: Journal,
        sources: SourceChooser,
        hostname: str,
        rules: Sequence[Rule] | None = None,
        random: Random | None = None,
        tally: Tally | None = None,
        discard: Discard | None = None,
        signing: Signing | None = None,
        suppression: SuppressionList | None = None,
        providers: Providers | None = None,
        scavenger: Scavenger | None = None,
    ) -> None:
        self._spool, self._journal, self._resolver = spool, journal, resolver
        self._hostname = hostname
        self._discard = discard or Discard(None)
        self.signing = signing or Signing()
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self.classifier = Classifier(load_rules() if rules is None else rules)
        self.pool = SessionPool(self._router(config), config.delivery, tally or Tally())
        self.counters = DeliveryCounters()
        self._hands = Hands(config.delivery.prefetch)
        self._scavenger = scavenger = scavenger or Scavenger()
        scavenger.listen(self._hands.yield_to)
        witness = Witness(journal, partial(scavenger.confirmed, Way.CLAIM), scavenger.failed)
        self._courier = Courier(self.pool, sources, self.classifier, witness, self._hands.begin)
        self._suspects = Suspects()
        self.parking = parking = Parking(self.pool, self._usable_sources, journal, self._random)
        parking.use(config.delivery.parks)
        listed = suppression or SuppressionList()
        self._attempts = Attempts(self._courier, journal, self.signing, listed, self.counters, _rules(config), parking)
        finder = LaneFinder(resolver, providers or Providers())
        self._mover = Mover(spool, finder, self._hands, self._attempts, self.counters, parking)
        self._config = config
        self._senders = Senders(config.submitters)
        self._takers: list[asyncio.Task[None]] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._draining = self._paused = self._started = False

    @property
    def in_hand(self) -> int:
        """Records under way."""
        return len(self._hands)

    def in_hands_of(self, place: int) -> int:
        """Records under way that were taken from there."""
        return self._hands.of(place).taken

    @property
    def rules(self) -> DeliveryRules:
        """Those in force."""
        return self._attempts.rules

    @property
    def unusable_sources(self) -> int:
        """Sources that cannot send from this machine now."""
        return len(self._courier.sources.unusable())

    def _usable_sources(self) -> list[Source]:
        unusable = self._courier.sources.unusable()
        return [each for each in self._config.sources if each.name not in unusable]

    def start(self) -> None:
        """Begin to take records, once it is not paused: an order may have come before."""
        self._started = True
        self._take()
        self.parking.start()
        self._sweeper = asyncio.create_task(self._sweep())

    def reload(self, config: RelayConfig) -> None:
        """New settings and sources for the attempts that begin from now on."""
        self._config = config
        self._senders, self._attempts.rules = Senders(config.submitters), _rules(config)
        self.pool.settings = config.delivery
        self.pool.router = self._router(config)
        self.parking.use(config.delivery.parks)
        self._courier.sources.reload(config.sources)
        self._hands.limit(config.delivery.prefetch)
        self.signing.reload(config.dkim)

    async def pause(self) -> None:
        """Take no new records until `resume`, and hand back those that are not begun; the others finish. Without effect on a drain."""
        if self._draining:
            return
        self._paused = self.parking.is_paused = True
        await self._stop_taking()
        log.info(
            "paused: %d records handed back, %d are finished here", await self._hands.give_back(), len(self._hands)
        )

    async def resume(self) -> None:
        """Take records again after `pause`. Without effect on a drain."""
        if self._draining:
            return
        self._paused = self.parking.is_paused = False
        self._take()
        await self._spool.resume_taking()

    async def drain(self, grace: float) -> None:
        """Take no new records, let those under way finish for `grace` seconds, hand the rest back, take leave of the peers."""
        self._draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self.parking.stop()
        await self._stop_taking()
        deadline = time.monotonic() + grace
        await self._hands.finish(grace)
        await self._courier.witness.finish(max(deadline - time.monotonic(), 0.0))
        self.pool.close()

    def _take(self) -> None:
        if self._started and not self._paused and not self._takers:
            self._takers = [asyncio.create_task(self._take_all(each)) for each in PLACES]

    async def _stop_taking(self) -> None:
        takers, self._takers = self._takers, []
        for each in takers:
            each.cancel()
        await asyncio.gather(*takers, return_exceptions=True)
        try:
            await self._spool.stop_taking()
        except SpoolError as error:
            log.warning("no records are taken any more, but the queue does not answer: %s", error)

    async def _take_all(self, place: int) -> None:
        while True:
            await self._hands.of(place).room.wait()
            try:
                held = await self._spool.take(place)
            except SpoolError as error:
                log.warning("the queue gives no records: %s", error)
                await asyncio.sleep(TAKE_PAUSE_SECONDS)
                continue
            self._hands.take(held, self._handle(held))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.pool.sweep()

    async def _handle(self, held: Held) -> None:
        """One record from take to settled, or back to the queue."""
        settled = False
        try:
            async with self._suspects.watched(held):
                settled = await self._deliver_or_quarantine(held)
        except ClaimRefusedError as error:
            self.counters.records_refused += 1
            log.info("id=%s attempt=%d not ours any more: %s", held.record.id, held.record.attempt, error)
        except SpoolError as error:
            log.warning("id=%s attempt=%d handed back: %s", held.record.id, held.record.attempt, error)
        finally:
            self._hands.end(held)
            if not settled:
                self.counters.records_released += 1
                held.release()

    async def _deliver_or_quarantine(self, held: Held) -> bool:
        if self._suspects.is_deadly(held):
            return await self._quarantine(held, f"handed out {held.deliveries} times without an end")
        try:
            settled = await self._deliver(held)  # first, since += would read the counter before it waits
            self.counters.records_settled += settled
        except (ClaimRefusedError, SpoolError):
            raise
        except Exception as error:
            log.exception("id=%s attempt=%d a fault of ours", held.record.id, held.record.attempt)
            if held.deliveries >= FAULTS:
                return await self._quarantine(held, f"{type(error).__name__}: {error}")
            await asyncio.sleep(FAULT_PAUSE_SECONDS)  # it comes again at once
            return False
        return True

    async def _quarantine(self, held: Held, why: str) -> bool:
        self.counters.records_quarantined += 1
        log.error("id=%s attempt=%d goes to quarantine: %s", held.record.id, held.record.attempt, why)
        self._hands.begin(held)
        await self._tell(held, events.quarantined(held.record, why))
        await patiently(held, lambda: held.settle([quarantined(held, why)]))
        return True

    async def _deliver(self, held: Held) -> bool:
        """Until it is settled (True), or has been moved."""
        record = held.record
        if self._discard.takes(record):
            # Before the journal is asked: a probe that is thrown away twice does no harm.
            await patiently(held, held.settle)
            self.counters.recipients[DISCARDED] += len(record.recipients)
            return True
        seen = await self._seen(held)
        known, fresh = twins.before(record, seen)
        self.counters.duplicates_dropped += len(record.recipients) - len(known) - len(fresh)
        if known:
            tell(self.counters, record, known, 0.0)
        elif fresh and not self._is_over(record) and await self._moved(held, fresh):
            return False
        outcomes = await self._left_by_twins(held, known + await self._attempts.attempt(held, fresh))
        decision = settlement.decide(
            record,
            outcomes,
            time.time(),
            self._config.retry,
            share(record.key),
            self._hostname,
            owned=self._senders.owns(record.credential, record.sender),
        )
        self.counters.double_bounces += decision.unreportable
        self._hands.begin(held)
        await self._tell(held, events.settled(record, outcomes, decision.successors))
        ended = twins.unfinished(outcomes)
        stored = self._stored(held, ended, decision.successors)
        await patiently(held, lambda: held.settle(decision.successors, stored))
        return True

    async def _moved(self, held: Held, fresh: Sequence[Recipient]) -> bool:
        return await self._mover.moved(held, fresh, may_wait=not self._is_over(held.record, LOOKED_AT_SECONDS))

    async def _left_by_twins(self, held: Held, outcomes: list[Outcome]) -> list[Outcome]:
        if not twins.unfinished(outcomes):
            return outcomes
        try:
            return twins.after(outcomes, await self._journal.seen(held.record))
        except SpoolError:  # what was tried must be settled, whoever knows of it
            return outcomes

    def _stored(self, held: Held, ended: Sequence[str], successors: Sequence[Successor]) -> Callable[[], None]:
        """To be called when the successors are stored, which begins now, however often it must be tried. That takes as long as new mail does, and tells as much of the brokers where nobody gets so far that he claims."""
        began = self._scavenger.now()
        size = sum(len(each.record.message) for each in successors)

        def stored() -> None:
            if ended:
                self._journal.settled(held, ended)
            if successors:
                self._scavenger.confirmed(Way.PUT_OFF, began, size)

        return stored

    async def _tell(self, held: Held, told: Sequence[Event]) -> None:
        """Events come before what they tell of, so that none is missing when this relay dies. A journal that stays away keeps no mail back, and
        where mail may come twice the record is settled first: when this relay leaves, and when nobody but us knows of a delivery."""
        if not told:
            return
        try:
            await patiently(
                held,
                lambda: self._journal.tell(held, told),
                hurries=lambda: self._draining or self._courier.witness.owes(held),
            )
        except Exception as error:  # of ours as well: a record must be settled, whoever hears of it
            self.counters.events_lost += len(told)
            log.warning(
                "id=%s attempt=%d not in the journal's events: %s",
                held.record.id,
                held.record.attempt,
                error,
                exc_info=not isinstance(error, SpoolError),
            )

    async def _seen(self, held: Held) -> Seen:
        """What the journal says, once no claim is open any more: a relay that only lost its queue states the answer, or withdraws the claim,
        within seconds. After `OPEN_CLAIM_SECONDS` the holder is dead, or still waits for its peer."""
        until = time.monotonic() + OPEN_CLAIM_SECONDS
        while True:
            seen = await patiently(held, lambda: self._journal.seen(held.record))
            share = self._hands.of(held.place)
            # Records that wait for the claims of others keep at most half of the hands busy.
            if not seen.uncertain or time.monotonic() >= until or not held.is_ours or share.looking * 2 >= share.most:
                return seen
            share.looking += 1
            try:
                await asyncio.sleep(OPEN_CLAIM_PAUSE)
            finally:
                share.looking -= 1

    def _is_over(self, record: Record, seconds: float = 0.0) -> bool:
        """Whether its life is over if it is not delivered now, or so many seconds later: that is found out by an attempt, and must not wait in a lane."""
        retry = shortened(self._config.retry, record.accepted_at, record.expires_at)
        return expired(retry, max(time.time() - record.accepted_at, 0.0) + seconds)

    def _router(self, config: RelayConfig) -> Router:
        names = {self._hostname, *(source.helo_name for source in config.sources)}
        addresses = {source.address for source in config.sources}
        return Router(self._resolver, names, addresses, self._random)


def _rules(config: RelayConfig) -> DeliveryRules:
    rules = DeliveryRules(config.delivery_rules)
    if rules.unknown:
        log.warning("delivery rules %s have no effect here: update the relay's image", ", ".join(rules.unknown))
    return rules
