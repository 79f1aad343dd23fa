"""Speaks to the journal for a transaction: the claim before the dot, the outcome after it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from relayfleet.relay.delivery.outcome import Place
from relayfleet.relay.delivery.transaction import Claims, Transaction
from relayfleet.relay.spool.interface import Claim, Held, Journal, SpoolError
from relayfleet.relay.spool.record import Recipient

log = logging.getLogger(__name__)


class Witness:
    """The journal as the courier needs it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def claims(self, held: Held, place: Place) -> Claims:
        """What a transaction calls right before its dot."""

        async def claim(recipients: Sequence[Recipient]) -> Claim:
            return await self.journal.claim(held, [each.address for each in recipients], place.source, place.host)

        return claim

    async def outcome(self, held: Held, run: Transaction, failure: Exception | None) -> None:
        """State the answer to the dot. Without one the claim stays open. A journal that cannot be reached stops nothing: the claim stays
        open, and whoever sees the record again will hold it for ten minutes."""
        if not run.past_dot or failure is not None:
            return
        answers = [(index, reply) for index, (phase, reply) in run.answers.items() if phase == "end"]
        recipients = [run.envelope.recipients[index].address for index, _ in answers]
        reply = answers[0][1]
        try:
            await self.journal.outcome(held, recipients, reply.positive, f"{reply.code} {reply.text}")
        except SpoolError as error:
            log.warning("journal: outcome of %s not confirmed: %s", held.record.key, error)
