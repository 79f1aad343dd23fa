"""The control port of simulated relays: mutually authenticated TLS, and the words of an idle relay that obeys."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from relayfleet.protocol.telemetry import BEAT, Order, Stand, Window, decode_word, encode
from relayfleet.relay.control.keys import Keys


class Control(asyncio.Protocol):
    """One connection of a leader. `sessions`: all of the relay, so that they can be reset together."""

    def __init__(self, sessions: set[asyncio.Transport]) -> None:
        self._sessions = sessions
        self._stand = Stand.SERVE
        self._rest = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sessions.add(self._transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if isinstance(word := decode_word(line), Order):
                self._stand = word.stand
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sessions.discard(self._transport)
        if self._timer:
            self._timer.cancel()

    def _tell(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._tell)
        self._transport.write(encode(Window(stand=self._stand, age=BEAT / 2)))


def keys(folder: str) -> Keys:
    """As the relays read them."""
    return Keys(Path(folder))
