"""One SMTP session for probe transactions; it stays open between them.

    connect → banner → EHLO ─► ready ── MAIL, RCPT, RSET ──────────────────► ready     Transaction
                                 └───── MAIL, RCPT, DATA ── message, dot ──► ready     Storage

Commands of one envelope go in one write where the peer takes that. How connecting went is told by the watcher's other sessions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from relayfleet.observe.probing.conversation import CLOSING, Outcome
from relayfleet.observe.probing.replies import GarbledError, ReplyReader
from relayfleet.observe.probing.surroundings import Surroundings
from relayfleet.observe.probing.wire import Loss, Wire
from relayfleet.protocol.probing import Probe, Target

STORED_WITHIN = 2.0
"""A majority of the queue is asked before the answer to the dot: so many seconds are no silence."""
_GO_AHEAD = 354
_OK = 250


class Stage(Enum):
    """Which reply is due."""

    BANNER = "banner"
    HELLO = "hello"
    READY = "ready"
    ENVELOPE = "envelope"
    MESSAGE = "message"


class Desk(Protocol):
    """Where it tells what came of it."""

    def ready(self, session: MailSession) -> None:
        """The first transaction may begin."""

    def replied(self, session: MailSession, outcome: Outcome) -> None:
        """A transaction is over; its code is the first that says failure, or 250."""

    def unwelcome(self, session: MailSession, code: int) -> None:
        """The sender was refused for good (5xx); the session is closed."""

    def ended(self, session: MailSession, loss: Loss | None, sent: float | None) -> None:
        """It is closed; `loss` None: in good order. `sent`: of the transaction that was open."""


class MailSession:
    """Begins to connect at once. `sent`: when the open transaction began, None without one; `probe`: of which kind it is, or the last was."""

    def __init__(self, target: Target, desk: Desk, around: Surroundings) -> None:
        self.began = self._spoke = time.monotonic()
        self.sent: float | None = None
        self.probe: Probe = "Transaction"
        self._desk, self._pulse = desk, around.pulse
        self._timeout = target.timeout
        self._stage = Stage.BANNER
        self._replies = ReplyReader()
        self._greeting = b""
        self._pipelining = False
        self._lines: Sequence[bytes] = ()
        self._message = b""
        self._said = 0
        self._codes: list[int] = []
        self._wire = Wire(target, around.context if target.implicit_tls else None, self)

    @property
    def is_ready(self) -> bool:
        """A transaction may begin."""
        return self._stage is Stage.READY

    def ask(self, lines: Sequence[bytes], message: bytes = b"") -> None:
        """Begin a transaction with these commands. With a message (and its dot) the last of them is DATA."""
        self.probe = "Storage" if message else "Transaction"
        self.sent = self._spoke = time.monotonic()
        self._lines, self._message = lines, message
        self._codes = []
        self._stage = Stage.ENVELOPE
        self._said = len(lines) if self._pipelining else 1
        self._wire.send(b"".join(lines[: self._said]))

    def overdue(self, now: float) -> bool:
        """Whether the peer has owed us a reply for too long, as far as is known without looking."""
        patience = STORED_WITHIN if self._stage is Stage.MESSAGE else self._timeout
        return self.sent is not None and now - self._spoke >= patience

    def look(self) -> None:
        """Take what the socket has, now."""
        self._wire.look()

    def close(self) -> None:
        """Close at once; nothing is told."""
        self.sent = None
        self._wire.close()

    # What the wire tells.

    def moved(self) -> None:
        """Connecting is no probe here."""

    def received(self, data: bytes) -> None:
        if self._stage is Stage.HELLO:
            self._greeting += data
        try:
            for code in self._replies.feed(data):
                self._reply(code)
                if self._wire.closed:
                    return
        except GarbledError:
            self.lost(Loss.RESET)

    def lost(self, loss: Loss) -> None:
        sent = self.sent
        self.close()
        self._desk.ended(self, loss, sent)

    def _reply(self, code: int) -> None:
        if code == CLOSING:
            self._tell(code)
            self._end()
        elif self._stage is Stage.ENVELOPE:
            self._enveloped(code)
        elif code // 100 == 3 or self._stage is Stage.READY:
            self.lost(Loss.RESET)  # no SMTP
        elif self._stage is Stage.MESSAGE:
            self._tell(code)
        elif code >= 400:
            self._end()
        else:
            self._greet()

    def _greet(self) -> None:
        if self._stage is Stage.BANNER:
            self._stage = Stage.HELLO
            self._wire.send(b"EHLO prober.invalid\r\n")
        else:
            self._pipelining = b"PIPELINING" in self._greeting.upper()
            self._greeting = b""
            self._stage = Stage.READY
            self._desk.ready(self)

    def _enveloped(self, code: int) -> None:
        self._codes.append(code)
        if len(self._codes) == 1 and code >= 500:
            self.close()
            self._desk.unwelcome(self, code)
        elif len(self._codes) == len(self._lines):
            self._complete(code)
        elif code // 100 == 3:
            self.lost(Loss.RESET)
        elif len(self._codes) == self._said:
            self._spoke = time.monotonic()
            self._wire.send(self._lines[self._said])
            self._said += 1

    def _complete(self, last: int) -> None:
        """All commands of the envelope are answered. A reply that refuses makes what comes after it fail too, so the first one counts."""
        failure = next((code for code in self._codes if code >= 400), 0)
        if failure:
            self._tell(failure)
            if self._message:
                self._end()  # no RSET was sent, so the peer may still be within the transaction
        elif self._message and last == _GO_AHEAD:
            self._stage, self._spoke = Stage.MESSAGE, time.monotonic()
            self._wire.send(self._message)
        elif self._message or last // 100 == 3:
            self.lost(Loss.RESET)
        else:
            self._tell(_OK)

    def _tell(self, code: int) -> None:
        if self.sent is not None:
            sent, self.sent, self._stage = self.sent, None, Stage.READY
            at = self._pulse.arrival(sent, time.monotonic())
            self._desk.replied(self, Outcome(sent, at, code))

    def _end(self) -> None:
        self.close()
        self._desk.ended(self, None, None)
