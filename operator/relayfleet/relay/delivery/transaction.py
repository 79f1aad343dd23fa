"""One mail over one session: MAIL, RCPT, DATA, the mail, the dot; pipelined when the peer offers it (RFC 2920).

The dot is the point of no return, so it stands alone: first the peer's 354, for a large mail also all of its bytes, then the claim
in the journal, then one look at the claim's age, then the dot. A relay that was frozen anywhere on this way finds its claim too old
and drops the connection instead; the peer throws the mail away. A small mail goes out together with its dot in one write, which the
kernel takes whole, because everything before it was acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from relayfleet.relay.delivery.envelope import Envelope, mail_command, rcpt_commands
from relayfleet.relay.delivery.errors import Phase, ProtocolError, SessionError
from relayfleet.relay.delivery.session import (
    DATA_SECONDS,
    END_SECONDS,
    MAIL_SECONDS,
    RCPT_SECONDS,
    RESET_SECONDS,
    Session,
)
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.spool.interface import CLAIM_SECONDS, Claim
from relayfleet.relay.spool.record import Recipient

INLINE_BYTES = 8 * 1024
"""A body up to here fits into any fresh socket buffer, so it may go out with its dot in one write."""

Claims = Callable[[Sequence[Recipient]], Awaitable[Claim]]


class ClaimExpiredError(Exception):
    """The claim was too old when the dot's turn came: this relay was frozen, or the journal is slow. Nothing was sent."""


class Transaction:
    """Runs once. `answers` holds what is known of each recipient (by index), also when `run` raises; `past_dot` says that the mail
    may have been taken even so, `claimed` what was claimed for it."""

    def __init__(self, session: Session, envelope: Envelope, claims: Claims, deadline: float) -> None:
        self.session = session
        self.envelope = envelope
        self.claims = claims
        self.deadline = deadline
        self._now = asyncio.get_running_loop().time
        self.answers: dict[int, tuple[Phase, Reply]] = {}
        self.past_dot = False
        self.claimed: tuple[list[Recipient], Claim] | None = None
        self.answered = False
        self._last: Reply | None = None

    async def run(self) -> None:
        """Fill `answers` for all recipients. Raises SessionError, ClaimRefusedError, ClaimExpiredError or SpoolError: some are missing."""
        session, envelope = self.session, self.envelope
        session.mails += 1
        if session.needs_reset:
            session.write(b"RSET\r\n", 1)
        try:
            ready = await (self._pipelined() if session.peer.pipelining else self._lockstep())
        except SessionError:
            self._take_leave()
            raise
        accepted = [index for index in range(len(envelope.recipients)) if index not in self.answers]
        session.needs_reset = not (ready and accepted)
        if not accepted:
            if ready:
                await self._empty()
        elif ready:
            await self._deliver(accepted)

    def _take_leave(self) -> None:
        """A peer that says 421 and closes has answered for all recipients, not only for the one it had come to."""
        if self._last is not None and self._last.code == 421:
            self._answer_rest("rcpt", self._last)

    async def _pipelined(self) -> bool:
        session, envelope = self.session, self.envelope
        commands = [
            mail_command(envelope, session.peer),
            *rcpt_commands(envelope.recipients, session.peer),
            b"DATA\r\n",
        ]
        session.write(b"".join(commands), len(commands))
        await self._reset()
        if not (mail := await self._reply("mail", MAIL_SECONDS)).positive:
            self._answer_rest("mail", mail)
        for index in range(len(envelope.recipients)):
            reply = await self._reply("rcpt", RCPT_SECONDS)
            if not reply.positive:
                self.answers.setdefault(index, ("rcpt", reply))
        return self._started(await self._reply("data", DATA_SECONDS))

    async def _lockstep(self) -> bool:
        session, envelope = self.session, self.envelope
        await self._reset()
        session.write(mail_command(envelope, session.peer), 1)
        if not (mail := await self._reply("mail", MAIL_SECONDS)).positive:
            self._answer_rest("mail", mail)
            return False
        for index, command in enumerate(rcpt_commands(envelope.recipients, session.peer)):
            session.write(command, 1)
            if not (reply := await self._reply("rcpt", RCPT_SECONDS)).positive:
                self.answers[index] = "rcpt", reply
        if len(self.answers) == len(envelope.recipients):
            return False
        session.write(b"DATA\r\n", 1)
        return self._started(await self._reply("data", DATA_SECONDS))

    async def _reset(self) -> None:
        if self.session.needs_reset:
            reply = await self.session.reply("reset", self._within(RESET_SECONDS))
            if not reply.positive:
                raise SessionError("reset", f"{reply.code} {reply.text}")
            self.session.needs_reset = False

    async def _deliver(self, accepted: list[int]) -> None:
        envelope, recipients = self.envelope, [self.envelope.recipients[index] for index in accepted]
        large = envelope.size > INLINE_BYTES
        last = b".\r\n" if large else envelope.prefix + envelope.body + b".\r\n"
        try:
            if large:
                if envelope.prefix:
                    self.session.write(envelope.prefix)
                await self.session.send_body(envelope.body, self.deadline)
            claim = await self.claims(recipients)
            self.claimed = recipients, claim
            self.session.ensure_open()
        except SessionError:
            if self.session.unasked is None:
                raise
            self._answer_rest("body", self.session.unasked)
            return
        self._dot(last, claim)
        reply = _final("end", await self.session.reply("end", END_SECONDS))
        for index in accepted:
            self.answers[index] = "end", reply

    def _dot(self, last: bytes, claim: Claim) -> None:
        if time.monotonic() - claim.asked_at > CLAIM_SECONDS:
            raise ClaimExpiredError(f"the claim was older than {CLAIM_SECONDS:.0f} seconds before the final dot")
        self.past_dot = True
        self.session.write(last, 1)

    async def _empty(self) -> None:
        """The peer took DATA but no recipient: it must get an end, and may not refuse it (RFC 2920 section 3.1)."""
        self.session.write(b".\r\n", 1)
        await self.session.reply("data", self._within(END_SECONDS))

    def _started(self, reply: Reply) -> bool:
        if reply.code // 100 == 3:
            return True
        if reply.positive:
            raise SessionError("data", f"{reply.code} {reply.text} is no answer to DATA")
        self._answer_rest("data", reply)
        return False

    def _answer_rest(self, phase: Phase, reply: Reply) -> None:
        for index in range(len(self.envelope.recipients)):
            self.answers.setdefault(index, (phase, reply))

    async def _reply(self, phase: Phase, seconds: float) -> Reply:
        reply = await self.session.reply(phase, self._within(seconds))
        self.answered, self._last = True, reply
        return reply if phase == "data" else _final(phase, reply)

    def _within(self, seconds: float) -> float:
        return min(seconds, self.deadline - self._now())


def _final(phase: Phase, reply: Reply) -> Reply:
    """Raises ProtocolError for 3xx: only DATA is answered so. Whoever says it elsewhere waits for something that we do not send, and would
    take the next mail's commands for it."""
    if reply.code // 100 == 3:
        raise ProtocolError(phase, f"{reply.code} {reply.text} is no answer to this command")
    return reply
