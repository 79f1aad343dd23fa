"""One attempt at a record: who is left of its recipients after the pool's rules, the mail's own expiry and the suppression list is tried.

follow the pool's rules → look at its expiry → ask the suppression list → split by domain → sign → deliver
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from functools import partial

from relayfleet.relay.delivery.courier import Courier
from relayfleet.relay.delivery.destinations import by_domain
from relayfleet.relay.delivery.errors import BusyError, ConnectError, SmtpError
from relayfleet.relay.delivery.judging import expired, ruled, suppressed, unanswered
from relayfleet.relay.delivery.outcome import Outcome, Place
from relayfleet.relay.delivery.patience import patiently
from relayfleet.relay.delivery.ruling import PURGE, DeliveryRules
from relayfleet.relay.delivery.telling import DeliveryCounters, tell
from relayfleet.relay.delivery.together import together
from relayfleet.relay.parking.parking import Parking
from relayfleet.relay.reports import notify
from relayfleet.relay.signing.keyring import SigningKeyUnavailableError
from relayfleet.relay.signing.letter import Letter, Signing
from relayfleet.relay.spool.interface import Held, Journal
from relayfleet.relay.spool.places import LOOK
from relayfleet.relay.spool.record import Recipient
from relayfleet.relay.suppression.suppression import SuppressionList, SuppressionListUnavailableError

DOMAINS_AT_ONCE = 8
"""Of one record with many destinations; so a silent one does not hold up the others."""


class Attempts:
    """Makes them. `rules` may be replaced at any time; the others see to that themselves."""

    def __init__(
        self,
        courier: Courier,
        journal: Journal,
        signing: Signing,
        suppression: SuppressionList,
        counters: DeliveryCounters,
        rules: DeliveryRules,
        parking: Parking,
    ) -> None:
        self._courier, self._journal = courier, journal
        self._signing, self._suppression = signing, suppression
        self._counters, self._parking = counters, parking
        self.rules = rules

    def untouched(self, held: Held, recipients: Sequence[Recipient]) -> Collection[str]:
        """The domains of these recipients if all of them would be tried now; none if anything else would become of one of them."""
        record = held.record
        if any(self.rules.of(record, recipients)) or 0 < record.expires_at <= time.time():
            return ()
        try:
            listed, others = self._by_list(recipients)
        except SuppressionListUnavailableError:
            return ()
        domains, unroutable = by_domain(others)
        return () if listed or unroutable else domains

    async def attempt(self, held: Held, recipients: Sequence[Recipient]) -> list[Outcome]:
        """One outcome for each. Raises ClaimRefusedError when the record is no longer ours, SpoolError when the journal stays away from a purge."""
        outcomes, others = await self._by_rules(held, recipients)
        return outcomes + await self._try(held, others) if others else outcomes

    async def _by_rules(self, held: Held, recipients: Sequence[Recipient]) -> tuple[list[Outcome], Sequence[Recipient]]:
        """The outcomes of those whom a rule of the pool's means now, and all others. A purge is in the journal before it is true."""
        rules = self.rules.of(held.record, recipients)
        if not any(rules):
            return [], recipients
        meant = [(each, rule) for each, rule in zip(recipients, rules, strict=True) if rule]
        for rule in {rule for _, rule in meant if rule.action == PURGE}:
            purged = [each.address for each, its in meant if its == rule]
            await patiently(held, partial(self._journal.purge, held, purged, rule.name))
        outcomes = [ruled(each, rule) for each, rule in meant]
        self._counters.ruled.update((rule.name, rule.action) for _, rule in meant)
        tell(self._counters, held.record, outcomes, 0.0, attempts=0)
        return outcomes, [each for each, rule in zip(recipients, rules, strict=True) if rule is None]

    async def _try(self, held: Held, recipients: Sequence[Recipient]) -> list[Outcome]:
        if recipients and 0 < held.record.expires_at <= time.time():
            return self._too_late(held, recipients)
        try:
            listed, others = self._by_list(recipients)
        except SuppressionListUnavailableError as error:
            return self._kept_back(held, recipients, error)
        domains, unroutable = by_domain(others)
        hopeless = listed + unroutable
        for outcome in hopeless:
            tell(self._counters, held.record, [outcome], 0.0)
        if not domains:
            return hopeless
        if owes_word(held):
            return hopeless + self._kept_back(held, others, await self._why_late(domains))
        try:
            letter = self._signing.letter(held)
        except SigningKeyUnavailableError as error:
            return hopeless + self._kept_back(held, [each for group in domains.values() for each in group], error)
        if len(domains) == 1:
            parts = [await self._one_domain(letter, domain, group) for domain, group in domains.items()]
        else:
            slots = asyncio.Semaphore(DOMAINS_AT_ONCE)

            async def bounded(domain: str, group: list[Recipient]) -> list[Outcome]:
                async with slots:
                    return await self._one_domain(letter, domain, group)

            parts = await together([bounded(domain, group) for domain, group in domains.items()])
        return hopeless + [outcome for part in parts for outcome in part]

    async def _why_late(self, domains: Collection[str]) -> SmtpError:
        if destination := await self._parking.leads_to_nobody(domains):
            return ConnectError("connect", self._parking.why(destination))
        return BusyError("local", "waited in its provider's lane and its turn has not come: nobody was asked")

    def _too_late(self, held: Held, recipients: Sequence[Recipient]) -> list[Outcome]:
        outcomes = [expired(each, held.record.last_answer) for each in recipients]
        tell(self._counters, held.record, outcomes, 0.0)
        return outcomes

    def _by_list(self, recipients: Sequence[Recipient]) -> tuple[list[Outcome], list[Recipient]]:
        """The outcomes of those who are on the suppression list now, and all others. Raises SuppressionListUnavailableError."""
        entries = [(each, self._suppression.lists(each.address)) for each in recipients]
        return [suppressed(each, entry) for each, entry in entries if entry], [
            each for each, entry in entries if not entry
        ]

    def _kept_back(self, held: Held, recipients: Sequence[Recipient], error: Exception) -> list[Outcome]:
        """No peer is asked: a mail that should be signed does not leave without, and none while nobody knows who is not to be sent to. Or its provider has so
        much mail before it that its sender is told first."""
        outcomes = [unanswered(each, error, Place(), self._courier.classifier, past_dot=False) for each in recipients]
        tell(self._counters, held.record, outcomes, 0.0)
        return outcomes

    async def _one_domain(self, letter: Letter, domain: str, recipients: list[Recipient]) -> list[Outcome]:
        began = time.monotonic()
        outcomes = await self._courier.deliver(letter, domain, recipients)
        tell(self._counters, letter.held.record, outcomes, time.monotonic() - began)
        return outcomes


def owes_word(held: Held) -> bool:
    """Whether a mail that has lain in a provider lane, or was parked, is put off for once, so that its sender hears of the delay that he asked to hear of: only an attempt
    tells, and waiting is none."""
    return held.place == LOOK and notify.delay_is_owed(held.record, time.time())
