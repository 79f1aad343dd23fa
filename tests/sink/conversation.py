"""The side of a session that is not SMTP: bytes in, replies out, and the script's deeds in between.

A subclass takes one unit after the other from `input` and answers through `answer`, which asks the script first. All replies to a
batch of input leave in one write. While a scripted delay runs input waits, in bounded memory: when much has come in, reading stops.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from tests.sink.actions import Action, Stage
from tests.sink.rules import Facts

INPUT_MAX = 256 * 1024
"""Bytes that may wait; then reading stops."""

GARBAGE = bytes(range(1, 256)).replace(b"\n", b"") + b"\r\n"
ENDLESS = b"x" * 16384
ENDLESS_EVERY = 0.01
"""Seconds between two pieces of a line that does not end: enough to fill who collects it, without a busy loop here."""


class Finder(Protocol):
    """Looks a deed up (`script.py`) and keeps the record of it."""

    def __call__(self, stage: Stage, facts: Facts, recipients: Sequence[str]) -> Action | None: ...


class Conversation(asyncio.Protocol):
    """`facts` is what is known of the peer; `idle_since` is the loop's time of its last input."""

    def __init__(self, find: Finder) -> None:
        self._find = find
        self._loop = asyncio.get_running_loop()
        self._output: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False
        self._congested = False
        self._deaf = False
        self._leaving = False
        self.deed: Action | None = None
        self.input = bytearray()
        self.facts = Facts(0, "", 0)
        self.idle_since = self._loop.time()

    # For the subclass

    def take(self) -> bool:
        """Handle one unit of `input`; False when more must come first."""
        raise NotImplementedError

    def answer(self, stage: Stage, recipients: Sequence[str], usual: Callable[[], bytes]) -> None:
        """Do what the script says; without a word of it call `usual` and send what it returns. `deed` is set meanwhile."""
        action = self._find(stage, self.facts, recipients)
        if action is None:
            self._output.append(usual())
        elif delay := action.draw_delay():
            self._waiting = True
            later = self._early(action, usual) if action.early else usual
            self._timer = self._loop.call_later(delay, self._wake, action, later)
        else:
            self._do(action, usual)

    def say(self, reply: bytes) -> None:
        """A reply that no script changes."""
        self._output.append(reply)

    def leave(self) -> None:
        """Close after what has been said."""
        self._leaving = True

    def flushed(self) -> None:
        """Called after each batch of input, with all replies on their way."""

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are none by class
        self.facts.client = transport.get_extra_info("peername")[0].removeprefix("::ffff:")
        self.facts.port = transport.get_extra_info("sockname")[1]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._deaf = True

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        self.work()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self.idle_since = self._loop.time()
        self.input += data
        self.work()

    def work(self) -> None:
        """Handle what has come in, as far as it goes, and send all replies at once."""
        while self.input and not self.busy:
            if not self.take():
                break
        self._send()
        if self._leaving:
            self._deaf = True
            self.transport.close()
        self._hold_back()
        self.flushed()

    @property
    def busy(self) -> bool:
        """True while input must wait."""
        return self._waiting or self._congested or self._deaf or self._leaving

    @property
    def awaited(self) -> bool:
        """True while it is the peer's turn, and not the script that keeps it waiting."""
        return not (self._waiting or self._deaf)

    def hold(self, held: bool) -> None:
        """Let input wait, or go on."""
        self._waiting = held

    def _send(self) -> None:
        if self._output and not self._deaf:
            self.transport.write(b"".join(self._output))
        self._output.clear()

    def _hold_back(self) -> None:
        if self.transport.is_closing():
            return
        if self.busy and len(self.input) > INPUT_MAX:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    # Deeds

    def _early(self, action: Action, usual: Callable[[], bytes]) -> Callable[[], bytes]:
        """Does the usual now; what it would say is said later."""
        self.deed = action
        said = usual()
        self.deed = None
        return lambda: said

    def _wake(self, action: Action, usual: Callable[[], bytes]) -> None:
        self._waiting = False
        self.idle_since = self._loop.time()
        self._do(action, usual)
        self.work()

    def _do(self, action: Action, usual: Callable[[], bytes]) -> None:
        self.deed = action
        good = action.do == "accept" or (action.do == "reply" and action.code < 400)
        said = usual() if good or action.store else b""
        self.deed = None
        match action.do:
            case "accept":
                self._output.append(said)
            case "reply":
                self._output.append(action.wire)
            case "garbage":
                self._output.append(GARBAGE)
            case "endless":
                self._output.append(b"250-")
                self._send()
                self._deaf = True
                self._endless()
        self._then(action.then if action.do in ("accept", "reply") else action.do)

    def _then(self, what: str) -> None:
        if what == "continue":
            return
        self._send()
        if what == "close":
            self.transport.close()
        elif what == "reset":
            self._reset()
        if what in ("close", "reset", "hang"):
            self._deaf = True

    def _reset(self) -> None:
        """RST: a socket that does not linger is torn down with what is still in its buffers."""
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _endless(self) -> None:
        if self.transport.is_closing():
            return
        if not self._congested:
            self.transport.write(ENDLESS)
        self._timer = self._loop.call_later(ENDLESS_EVERY, self._endless)
