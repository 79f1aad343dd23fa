"""Speaks to the journal for a transaction: the claim before the dot, the outcome after it, or the withdrawal of a claim without a dot.

The peer waits for its dot while a claim is asked for again: a journal that changes its leader, or is slow for a moment, defers no mail.

A delivery that the journal does not confirm is stated again until it does, in the background. When the record has gone back to the queue
meanwhile, whoever got it waits ten minutes because of the open claim, and finds the truth then; without it the mail would come twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from relayfleet.relay.delivery.outcome import Place
from relayfleet.relay.delivery.transaction import Claims, Transaction
from relayfleet.relay.spool.interface import Claim, Held, Journal, SpoolError
from relayfleet.relay.spool.record import Recipient

log = logging.getLogger(__name__)

PAUSES = (0.5, 1.0, 2.0, *(4.0,) * 160)
"""Seconds before a delivery is stated again: for as long as somebody else may wait for it, and soon, since this relay may die as well."""
CLAIM_SECONDS, CLAIM_PAUSE = 30.0, 0.5
"""How long a claim is asked for, which is well below the three minutes for which a peer waits for data (RFC 5321), and the pause before the next try."""
MOST_LATE = 20_000
"""Deliveries that wait to be stated again; a journal that stays away fills no memory."""


def _tells_nobody(at: float) -> None:
    pass


class Witness:
    """The journal as the courier needs it. `claimed` hears of each claim that came back when it had left, `failed` of each that did not when it was asked for, by the monotonic clock."""

    def __init__(
        self,
        journal: Journal,
        claimed: Callable[[float], None] = _tells_nobody,
        failed: Callable[[float], None] = _tells_nobody,
    ) -> None:
        self.journal = journal
        self._claimed, self._failed = claimed, failed
        self._late: set[asyncio.Task[None]] = set()
        self._owed: Counter[Held] = Counter()

    def claims(self, held: Held, place: Place, stated: asyncio.Event) -> Claims:
        """What a transaction calls right before its dot. It also waits until the outcome of the session's last mail is `stated`, or given up:
        the claim is then granted, and only grows older."""

        async def granted(recipients: Sequence[Recipient]) -> Claim:
            addresses = [each.address for each in recipients]
            claim = await self._claim(held, addresses, place)
            try:
                await stated.wait()
            except BaseException:
                self.journal.withdraw(held, addresses, claim)
                raise
            return claim

        return granted

    async def _claim(self, held: Held, addresses: Sequence[str], place: Place) -> Claim:
        until = time.monotonic() + CLAIM_SECONDS
        while True:
            asked_at = time.monotonic()
            try:
                claim = await self.journal.claim(held, addresses, place.source, place.host)
            except SpoolError as error:
                self._failed(asked_at)
                if time.monotonic() >= until:
                    raise
                log.warning("id=%s the journal is away: %s", held.record.id, error)
                await asyncio.sleep(CLAIM_PAUSE)
            else:
                self._claimed(claim.left_at or claim.asked_at)
                return claim

    async def outcome(self, held: Held, run: Transaction, failure: Exception | None, place: Place) -> None:
        """State the answer to the dot. Without one the claim stays open. A journal that cannot be reached stops nothing: the claim stays
        open, and whoever sees the record again will hold it for ten minutes. A refusal is stated only once: later, another relay may have a
        claim of its own, which it would wipe out."""
        if not run.past_dot and run.claimed is not None:
            recipients, claim = run.claimed
            self.journal.withdraw(held, [each.address for each in recipients], claim)
        if not run.past_dot or failure is not None:
            return
        answers = [(index, reply) for index, (phase, reply) in run.answers.items() if phase == "end"]
        addresses = [run.envelope.recipients[index].address for index, _ in answers]
        reply = answers[0][1]
        said = f"{reply.code} {reply.text}"
        try:
            await self.journal.outcome(held, addresses, reply.positive, said, place.source, place.host)
        except SpoolError as error:
            log.warning("journal: outcome of %s not confirmed: %s", held.record.key, error)
            if reply.positive and len(self._late) < MOST_LATE:
                task = asyncio.create_task(self._insist(held, addresses, said, place))
                self._late.add(task)
                self._owed[held] += 1
                task.add_done_callback(partial(self._paid, held))

    def owes(self, held: Held) -> bool:
        """Whether somebody was delivered to, and the journal does not know it yet."""
        return held in self._owed or len(self._late) >= MOST_LATE

    async def finish(self, seconds: float) -> None:
        """Before the relay leaves: what is still to be stated has so many seconds."""
        if self._late:
            _, over = await asyncio.wait(self._late, timeout=seconds)
            for each in over:
                each.cancel()

    def _paid(self, held: Held, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        self._owed[held] -= 1
        if not self._owed[held]:
            del self._owed[held]

    async def _insist(self, held: Held, recipients: Sequence[str], answer: str, place: Place) -> None:
        for pause in PAUSES:
            await asyncio.sleep(pause)
            try:
                await self.journal.outcome(held, recipients, True, answer, place.source, place.host)
            except SpoolError:
                continue
            log.info("journal: outcome of %s confirmed late", held.record.key)
            return
