"""Probe transactions with one target: does it take mail, and does its queue?

A light one (sender and recipient, taken back) comes with every fourth beat of the watcher, a full one (a mail that is stored, and thrown
away by whichever relay delivers it) with every fortieth. After a failure a few more follow at once, as many as a verdict needs.

The watcher's beat drives it, so that it costs no timer while all is well.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from email.utils import formatdate

from relayfleet.observe.probing.conversation import CLOSING, Outcome
from relayfleet.observe.probing.ledger import Ledger
from relayfleet.observe.probing.mailsession import MailSession
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.observe.probing.surroundings import BURST_GAP, Surroundings
from relayfleet.observe.probing.wire import Loss
from relayfleet.protocol.probing import Kind, Probe, Target

log = logging.getLogger(__name__)

LIGHT, FULL = (4, 1.0), (40, 10.0)
"""How often: every so many intervals, but not more often than every so many seconds."""
ENOUGH = 4
"""Failures of one kind after which there is no hurry any more: enough for a verdict."""
AGAIN = 2 * BURST_GAP + 0.01
"""After a failure: failures less than twice the gap apart would count as one."""
HURRY = 0.3
"""Between two light ones at the leader's wish: a few probers may wish them at once, and relays take eight a second."""
_FULL_QUEUE = 452
"""A full queue, or too many probes: the same for every relay, so no failure of this one, and no sign that it takes mail."""
_NO_VERDICT = (CLOSING, _FULL_QUEUE)
_OPENING = 2.0


class Transactions:
    """Probes when `beat` is called, until `close`. `share` spreads targets over the time (0 to 1); `answered` is told when each probe was
    sent that got an answer. Fits `mailsession.Desk`."""

    def __init__(self, target: Target, around: Surroundings, share: float, answered: Callable[[float], None]) -> None:
        self._target, self._around, self._answered = target, around, answered
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger()
        self._session: MailSession | None = None
        self._wanted: Probe | None = None
        self._failures: dict[Probe, int] = {}
        self._soon: asyncio.TimerHandle | None = None
        self._unwelcome = False
        self._light_every, self._full_every = (max(n * target.interval, least) for n, least in (LIGHT, FULL))
        now = time.monotonic()
        self._last = float("-inf")
        self._next_light = now + share * self._light_every
        self._next_full = now + share * self._full_every
        line = f"<{target.discard}>\r\n".encode()
        self._envelope = (b"MAIL FROM:" + line, b"RCPT TO:" + line)

    def beat(self, now: float) -> None:
        """Begin what is due, and look whether something is overdue."""
        session = self._session
        if session is not None and session.sent is not None:
            if session.overdue(now):
                self._look(session, now)
        elif now >= self._next_light:
            while self._next_light <= now:
                self._next_light += self._light_every
            if self._soon is None:
                self._ask(now, "Storage" if now >= self._next_full else "Transaction")

    def hurry(self) -> None:
        """A light one at once, unless there has just been one."""
        now = time.monotonic()
        if now - self._last >= HURRY:
            self._ask(now, "Transaction")

    def close(self) -> None:
        """Close the socket and stop."""
        self._drop()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    # Beginning.

    def _ask(self, now: float, probe: Probe) -> None:
        session = self._session
        if self._unwelcome or (session is not None and session.sent is not None):
            return
        if session is not None and not session.is_ready:
            if now - session.began < _OPENING:
                return
            self._drop()  # whoever opens no session is told of by those who watch just that
        self._wanted = probe
        if self._session is None:
            self._session = MailSession(self._target, self, self._around)
        else:
            self.ready(self._session)

    def ready(self, session: MailSession) -> None:
        probe, self._wanted = self._wanted, None
        self._last = now = time.monotonic()
        if probe == "Storage":
            self._next_full = now + self._full_every
            session.ask((*self._envelope, b"DATA\r\n"), self._message())
        else:
            session.ask((*self._envelope, b"RSET\r\n"))

    def _message(self) -> bytes:
        lines = (
            f"Date: {formatdate()}",
            f"Message-ID: <{uuid.uuid4()}@prober.invalid>",
            "Subject: relayfleet probe",
            f"X-Relayfleet-Probe: {self._target.key}",
            "",
            "Thrown away by the relay that delivers it.",
            ".",
            "",
        )
        return "\r\n".join(lines).encode()

    # What came of it.

    def replied(self, session: MailSession, outcome: Outcome) -> None:
        latency, probe = outcome.at - outcome.sent, session.probe
        self._answered(outcome.sent)
        self._ledger.answer(outcome.sent)
        if outcome.code in _NO_VERDICT:
            self._report("Answered", "Dialogue", outcome.at, latency)
        elif outcome.code >= 400:
            self._report("Erred", probe, outcome.at, latency, outcome.code)
            self._failed(probe)
        else:
            self._failures.pop(probe, None)
            self._report("Answered", probe, outcome.at, latency)

    def unwelcome(self, session: MailSession, code: int) -> None:
        self._session, self._unwelcome = None, True
        log.info("%s answers %d to the sender of probe mails: none are sent to it", self._target.key, code)

    def ended(self, session: MailSession, loss: Loss | None, sent: float | None) -> None:
        self._session = self._wanted = None
        if loss is Loss.RESET and sent is not None:
            self._report("Reset", session.probe, time.monotonic())
            self._failed(session.probe)

    def _look(self, session: MailSession, now: float) -> None:
        """State a silence, and try again on a session of its own."""
        if self._around.pulse.just_back(now):
            return
        session.look()
        if self._session is session and session.sent is not None and session.overdue(now):
            probe = session.probe
            self._ledger.give_up(probe, session.sent)
            self._drop()
            self._report("Silent", probe, now, sent=self._ledger.open(probe, ()))
            self._failed(probe)

    def _failed(self, probe: Probe) -> None:
        self._failures[probe] = self._failures.get(probe, 0) + 1
        if self._failures[probe] < ENOUGH and self._soon is None:
            self._soon = self._loop.call_later(AGAIN, self._again, probe)

    def _again(self, probe: Probe) -> None:
        self._soon = None
        self._ask(time.monotonic(), probe)

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = self._wanted = None

    def _report(
        self,
        kind: Kind,
        probe: Probe,
        at: float,
        latency: float = 0.0,
        code: int = 0,
        sent: tuple[float, ...] = (),
    ) -> None:
        self._around.report(Sighting(self._target.key, kind, probe, at, latency, code, sent))
