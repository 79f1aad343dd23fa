"""One SMTP session: cuts the client's bytes into lines, lets the dialogue answer them, and does what follows from the answer.

It is fed bytes and writes to a `Wire`, and it never blocks: where it has to wait (for the queue's confirm, for bcrypt, for a client that
does not read) it takes no further line, and the wire reads no more, so that a session holds at most one read and one message.
`250` for a message is said in one place, after `spool.put` returned.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from relayfleet.protocol.relay_config import TlsMode
from relayfleet.relay.server import replies
from relayfleet.relay.server.access import Address
from relayfleet.relay.server.allowances import Claim
from relayfleet.relay.server.auth import Verdict
from relayfleet.relay.server.dialogue import Dialogue, Next
from relayfleet.relay.server.intake import Intake
from relayfleet.relay.server.limits import AUTH_FAILURES, ERRORS, SILENCE_SECONDS
from relayfleet.relay.server.lines import AUTH_LINE, COMMAND_LINE, LineFault, LineTooLong, Reader
from relayfleet.relay.server.replies import Refused, Reply
from relayfleet.relay.server.services import Services
from relayfleet.relay.server.storing import store
from relayfleet.relay.spool.record import Record

BURST = 64
"""Lines handled before other sessions get their turn; so many replies at most are gathered before they are written."""
_logger = logging.getLogger(__name__)


class Wire(Protocol):
    """What a session needs of its connection."""

    def write(self, data: bytes) -> None: ...

    def hold(self, held: bool) -> None:
        """True: read no more from the client. False: read on."""

    def is_gone(self) -> bool:
        """Whether the client has closed or reset its side, also while nothing is read."""

    def start_tls(self) -> None:
        """Everything after what was written so far goes through TLS."""

    def close(self) -> None:
        """Write what is left, then close."""


class Session:
    """A session with one client, from the first command to the end. Created when the banner was sent."""

    def __init__(self, services: Services, wire: Wire, client: Address | None, tls: TlsMode) -> None:
        self._services = services
        self._wire = wire
        self._client = client
        self._clock = asyncio.get_running_loop().time
        self._started = self._heard = self._clock()
        self._deadline = self._started + services.config.limits.command_seconds
        self._reader = Reader()
        self._dialogue = Dialogue(services, client, tls)
        self._replies: list[bytes] = []
        self._intake: Intake | None = None
        self._claim = Claim()
        self._waiting = self._blocked = self._over = False
        self._messages = self._errors = self._auth_failures = 0

    # What the connection tells.

    def receive(self, data: bytes) -> None:
        """The client sent something."""
        self._heard = self._clock()
        self._services.counters.received_bytes += len(data)
        self._reader.feed(data)
        self._advance()

    def block(self, blocked: bool) -> None:
        """The client reads (or does not read) what was written."""
        self._blocked = blocked
        self._hold()
        self._advance()

    def tick(self, now: float) -> None:
        """Look at the deadlines."""
        if self._waiting or self._over:
            return
        if now >= self._deadline:
            self._end(replies.COMMAND_TIMEOUT if self._intake is None else replies.DATA_TIMEOUT)
        elif now - self._heard >= SILENCE_SECONDS and self._must_leave(now):
            self._end(replies.LEAVING)

    def leave(self) -> None:
        """The server stops: say so, unless an answer is owed that is not known yet."""
        if not self._waiting:
            self._end(replies.LEAVING)

    def lost(self) -> None:
        """The connection is gone. A message that is on its way into the queue stays there."""
        self._over = True
        self._claim.give_back()
        if self._intake is not None:
            self._intake.release()

    # From bytes to answers.

    def _advance(self) -> None:
        """Handle lines until there is none, or something has to be waited for."""
        try:
            for _ in range(BURST):
                if not self._reader.pending or self._waiting or self._blocked or self._over or not self._step():
                    break
            else:
                self._wait()
                asyncio.get_running_loop().call_soon(self._resume)
        except LineFault as fault:
            self._end(_fault_reply(fault, in_message=self._intake is not None))
        except Exception:
            _logger.exception("session of %s ended by a mistake of ours", self._client)
            self._end(replies.INTERNAL_ERROR)
        self._flush()

    def _step(self) -> bool:
        """One line, or the message if one is due; False when its bytes are not all there."""
        if self._intake is not None:
            return self._take_message(self._intake)
        line = self._reader.line(AUTH_LINE if self._dialogue.authenticating else COMMAND_LINE)
        if line is None:
            return False
        self._deadline = self._heard + self._services.config.limits.command_seconds
        if self._must_leave(self._heard) and line.upper() != b"QUIT":
            self._end(replies.LEAVING)
        else:
            self._hear(line)
        return True

    def _hear(self, line: bytes) -> None:
        reply, following = self._dialogue.hear(line)
        if following is Next.MESSAGE:
            self._claim = self._dialogue.claim  # until the message is there, or the session is gone
        if following in (Next.MESSAGE, Next.TLS) and self._reader.pending:
            # After these two the client must wait. Bytes that are here already were sent by somebody who did not: before
            # TLS perhaps a third party (CVE-2011-0411), before the message a client that confuses it with commands.
            self._end(replies.IMPROPER_PIPELINING)
            return
        self._say(reply)
        if following is Next.MESSAGE:
            self._begin_message()
        elif following is Next.TLS:
            self._start_tls()
        elif following is Next.VERIFY:
            self._wait()
            self._services.spawn(self._verify())
        elif following is Next.CLOSE:
            self._close()
        if self._errors >= ERRORS:
            self._end(replies.TOO_MANY_ERRORS)

    def _start_tls(self) -> None:
        self._flush()
        self._wire.start_tls()
        self._dialogue.reset()
        self._dialogue.secure = True

    async def _verify(self) -> None:
        credentials, self._dialogue.credentials = self._dialogue.credentials, None
        assert credentials is not None  # noqa: S101 - for the type checker
        try:
            verdict = await self._services.authenticator.verify(credentials, str(self._client))
        except Exception:
            _logger.exception("credentials could not be verified")
            verdict = Verdict.BUSY
        if verdict is Verdict.GRANTED:
            self._services.counters.auth_granted += 1
            self._dialogue.credential = credentials.name
            self._say(replies.AUTHENTICATED)
        elif verdict is Verdict.BUSY:
            self._say(replies.AUTH_UNAVAILABLE)
        else:
            self._denied()
        self._resume()

    def _denied(self) -> None:
        self._services.counters.auth_denied += 1
        held_back = self._services.gate.open("denied", self._clock())
        if held_back is not None:
            _logger.info("authentication failed client=%s (%d more such lines held back)", self._client, held_back)
        self._auth_failures += 1
        if self._auth_failures < AUTH_FAILURES:
            self._say(replies.BAD_CREDENTIALS)
        else:
            self._end(replies.TOO_MANY_FAILURES)

    # The message.

    def _begin_message(self) -> None:
        services, most_bytes = self._services, self._dialogue.most_bytes()
        self._intake = Intake(self._reader, services.budget, services.config.limits, most_bytes, self._heard)
        self._deadline = self._intake.deadline

    def _take_message(self, intake: Intake) -> bool:
        outcome = intake.take()
        if outcome is None:
            self._deadline = intake.deadline
            return False
        self._deadline = self._heard + self._services.config.limits.command_seconds
        probe = self._dialogue.probing
        made = self._record(outcome)
        self._intake = None
        if isinstance(made, Reply):
            intake.release()
            self._claim.give_back()
            self._say(made)
        else:
            self._wait()
            claim, self._claim = self._claim, Claim()
            self._services.spawn(self._store(made, intake, claim, probe))
        return True

    def _record(self, outcome: bytes | Reply) -> Record | Reply:
        """The record of this transaction, which ends with it, or why there is none."""
        transaction, self._dialogue.transaction = self._dialogue.transaction, None
        if isinstance(outcome, Reply):
            return outcome
        assert transaction is not None  # noqa: S101 - for the type checker
        try:
            record = transaction.record(outcome, self._dialogue.hop(transaction), self._dialogue.credential)
        except Refused as refused:
            return refused.reply
        if transaction.wishes:
            self._tell_expiry(record, transaction.wishes)
        return record

    def _tell_expiry(self, record: Record, wishes: tuple[str, ...]) -> None:
        self._services.counters.expiry(taken=bool(record.expires_at))
        if record.expires_at:
            return
        held_back = self._services.gate.open("expiry", self._clock())
        if held_back is not None:
            _logger.warning(
                "id=%s Relayfleet-Expires ignored: %.80r is neither seconds nor a date-time with its zone"
                " (%d more such lines held back)",
                record.id,
                wishes[0],
                held_back,
            )

    async def _store(self, record: Record, intake: Intake, claim: Claim, probe: bool) -> None:
        try:
            answer = await store(self._services, record, lambda: self._over or self._wire.is_gone(), probe=probe)
            if isinstance(answer, bytes):
                claim.keep()
        finally:
            intake.release()
            claim.give_back()
        if isinstance(answer, bytes):
            self._messages += 1
            self._errors = 0
        self._say(answer)
        self._resume()

    # Waiting, answering, ending.

    def _wait(self) -> None:
        self._waiting = True
        self._hold()

    def _resume(self) -> None:
        """What was waited for is there: the client's clock runs again, and what it sent meanwhile is handled."""
        self._waiting = False
        self._heard = self._clock()
        self._deadline = self._heard + self._services.config.limits.command_seconds
        self._hold()
        self._advance()

    def _hold(self) -> None:
        self._wire.hold(self._waiting or self._blocked)

    def _must_leave(self, now: float) -> bool:
        """Whether the next command is answered by 421: the server takes no mail now, or the session is old and between two mails."""
        if self._intake is not None:
            return False
        if self._services.leaving:
            return True
        limits = self._services.config.limits
        old = self._messages >= limits.session_messages or now - self._started >= limits.session_seconds
        return old and self._dialogue.transaction is None

    def _say(self, reply: Reply | bytes) -> None:
        if isinstance(reply, Reply):
            self._errors += reply.code >= 500
            if reply.code >= 400:
                self._services.counters.refuse(reply.key)
            reply = reply.wire
        self._replies.append(reply)

    def _flush(self) -> None:
        if self._replies:
            data = b"".join(self._replies)
            self._replies.clear()
            self._wire.write(data)

    def _end(self, reply: Reply) -> None:
        """The last answer."""
        if not self._over:
            self._say(reply)
            self._close()

    def _close(self) -> None:
        self._flush()
        self._over = True
        self._wire.close()


def _fault_reply(fault: LineFault, in_message: bool) -> Reply:
    if isinstance(fault, LineTooLong):
        return replies.LINE_TOO_LONG
    return replies.BARE_IN_MESSAGE if in_message else replies.BARE_IN_COMMAND
