"""One SMTP session of a prober, from connecting to QUIT. There are three plans:

STAYING   connect → banner | EHLO | NOOP | NOOP | …   a probe each, and the session is kept
FRESH     connect → banner, QUIT                      one probe
WHOLE     connect → banner → EHLO, QUIT               one probe
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from relayfleet.observe.probing.replies import GarbledError, ReplyReader
from relayfleet.observe.probing.surroundings import Surroundings
from relayfleet.observe.probing.wire import Loss, Wire
from relayfleet.protocol.probing import Probe, Target

CLOSING = 421
"""The relay lives, but ends this session: it drains, is full, or the session is old."""


class Plan(Enum):
    """What a conversation is for."""

    STAYING = "staying"
    FRESH = "fresh"
    WHOLE = "whole"


class Stage(Enum):
    """Which reply is due."""

    BANNER = "banner"
    HELLO = "hello"
    NOOP = "noop"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reply to the probe that was sent at `sent`; times by `time.monotonic()`."""

    sent: float
    at: float
    code: int


class Desk(Protocol):
    """Where outcomes go."""

    def replied(self, conversation: Conversation, outcome: Outcome) -> None:
        """A probe has got its reply, good or bad."""

    def moved(self, conversation: Conversation) -> None:
        """A probe was sent."""

    def ended(self, conversation: Conversation, loss: Loss | None, sent: float | None) -> None:
        """It is closed; `loss` None: in good order. `sent`: of the probe that was open."""


class Conversation:
    """Begins to connect at once. `sent`: when the open probe was sent, None without one."""

    def __init__(self, target: Target, plan: Plan, desk: Desk, around: Surroundings) -> None:
        self.plan = plan
        self.began = time.monotonic()
        self.sent: float | None = self.began
        self._spoke = self.began
        self._stage = Stage.BANNER
        self._desk, self._pulse = desk, around.pulse
        self._replies = ReplyReader()
        self._wire = Wire(target, around.context if target.implicit_tls else None, self)

    @property
    def probe(self) -> Probe:
        """The kind of its probes."""
        return "Connect" if self.plan is Plan.WHOLE else "Dialogue"

    @property
    def idle(self) -> bool:
        """Ready for a NOOP."""
        return self._stage is Stage.NOOP and self.sent is None

    @property
    def leaving(self) -> bool:
        """QUIT was said; only the end of the stream is waited for."""
        return self._stage is Stage.LEAVING

    @property
    def closed(self) -> bool:
        """Its socket is gone."""
        return self._wire.closed

    def ask(self) -> None:
        """Send a NOOP."""
        self.sent = self._spoke = time.monotonic()
        self._wire.send(b"NOOP\r\n")
        self._desk.moved(self)

    def waits(self, now: float) -> float:
        """For how long the peer has owed us something."""
        return 0.0 if self.sent is None else now - self._spoke

    def look(self) -> None:
        """Take what the socket has, now."""
        self._wire.look()

    def close(self) -> None:
        """Close at once; nothing is told."""
        self.sent = None
        self._wire.close()

    # What the wire tells.

    def moved(self) -> None:
        """Our next word is out late when it was we who were away; then the probe begins anew."""
        self._spoke = time.monotonic()
        if self.sent is not None and self._pulse.just_back(self._spoke):
            self.sent = self._spoke

    def received(self, data: bytes) -> None:
        if self.leaving:
            return
        try:
            for code in self._replies.feed(data):
                self._reply(code)
                if self.closed or self.leaving:
                    return
        except GarbledError:
            self.lost(Loss.RESET)

    def lost(self, loss: Loss) -> None:
        sent = self.sent
        self.close()
        self._desk.ended(self, None if self.leaving else loss, sent)

    def _reply(self, code: int) -> None:
        sent = self.sent
        if sent is None:
            # Nothing was asked: a farewell, or no SMTP.
            self._end() if code == CLOSING else self.lost(Loss.RESET)
        elif code // 100 == 3:
            self.lost(Loss.RESET)
        elif code == CLOSING:
            self._tell(sent, code)
            self._end()
        elif code >= 400:
            self._tell(sent, code)
            if self._stage is not Stage.NOOP:
                self._leave()
        else:
            self._go_on(sent, code)

    def _go_on(self, sent: float, code: int) -> None:
        if self._stage is Stage.BANNER and self.plan is Plan.STAYING:
            self._tell(sent, code)
            self.sent = self._spoke = time.monotonic()
            self._greet()
            self._desk.moved(self)
        elif self._stage is Stage.BANNER and self.plan is Plan.WHOLE:
            self._greet()
            self.moved()
        else:
            self._tell(sent, code)
            if self.plan is Plan.STAYING:
                self._stage = Stage.NOOP
            else:
                self._leave()

    def _greet(self) -> None:
        self._stage = Stage.HELLO
        self._wire.send(b"EHLO prober.invalid\r\n")

    def _tell(self, sent: float, code: int) -> None:
        self.sent = None
        at = self._pulse.arrival(sent, time.monotonic())
        self._desk.replied(self, Outcome(sent, at, code))

    def _leave(self) -> None:
        """Say QUIT and wait for the peer's end: closing at once would reset a session that went well."""
        self._stage = Stage.LEAVING
        self._wire.send(b"QUIT\r\n")
        self._desk.ended(self, None, None)

    def _end(self) -> None:
        self.close()
        self._desk.ended(self, None, None)
