"""From a prober to its leader: bad news at once, good news gathered, and never more in memory than a bounded amount.

A leader that does not read gets less, not later: what waits in a buffer grows old, and its ages become wrong. So little is given to
the transport, of what waits here only the newest word about each silence is kept, and a leader that reads nothing for long is left.
"""

from __future__ import annotations

import asyncio
import logging
import time

from relayfleet.observe.probing.brokersighting import BrokerSighting
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.protocol.probing import GATHER, Seen, encode

log = logging.getLogger(__name__)

FULL = 256 * 1024
"""So many bytes that the leader has not read are enough; more is not written."""
DEAF = 5.0
"""A leader that leaves so much unread for so many seconds is left."""
MOST_FACTS = 4096
"""Refusals, resets and errors that are kept for a leader that does not read."""
MOST_IN_LINE = 2000
MOST_OF_BROKERS = 256
"""The newest words about brokers that are kept for a leader that does not read."""


class Telling:
    """Everything that is told over one connection. `dropped` counts what was not told."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._answers: list[Sighting] = []
        self._facts: list[Sighting] = []
        self._silences: dict[tuple[str, str], Sighting] = {}
        self._brokers: list[BrokerSighting] = []
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._deaf_since: float | None = None
        self.dropped = 0

    def add(self, sighting: Sighting) -> None:
        """Tell this, in the same turn of the loop if it is bad."""
        if sighting.kind == "Answered":
            self._answers.append(sighting)
            if self._later is None:
                self._later = self._loop.call_later(GATHER, self._flush)
            return
        if sighting.kind == "Silent":
            place = (sighting.key, sighting.probe)
            self.dropped += self._silences.pop(place, None) is not None
            self._silences[place] = sighting
        else:
            self._facts.append(sighting)
        self._flush_soon()

    def add_broker(self, sighting: BrokerSighting) -> None:
        """Tell this of a broker. There are few of them, and few words about each."""
        self._brokers.append(sighting)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_soon(self._flush)

    def say_alive(self) -> None:
        """An empty word if there was none for long; also another try when the leader did not read."""
        if self._facts or self._silences or self._answers or self._brokers:
            self._flush()
        elif time.monotonic() - self._last > GATHER and self._reads():
            self._write(())

    def close(self) -> None:
        """Close the connection."""
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        if self.dropped:
            log.warning("%d observations were not told: the leader read too slowly", self.dropped)
            self.dropped = 0
        self._transport.abort()

    def _flush(self) -> None:
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        self._soon = self._later = None
        if not self._reads():
            self._hold_back()
            return
        waiting = sorted((*self._answers, *self._facts, *self._silences.values()), key=lambda each: each.at)
        self._answers.clear()
        self._facts.clear()
        self._silences.clear()
        for start in range(0, max(len(waiting), bool(self._brokers)), MOST_IN_LINE):
            self._write(waiting[start : start + MOST_IN_LINE])

    def _write(self, sightings: list[Sighting] | tuple[Sighting, ...]) -> None:
        now = self._last = time.monotonic()
        brokers, self._brokers = self._brokers, []
        told = tuple(each.told(now) for each in sightings)
        self._transport.write(encode(Seen(told, now, tuple(each.told(now) for each in brokers))))

    def _reads(self) -> bool:
        """Whether the leader keeps up; leaves one that does not for long."""
        now = time.monotonic()
        if self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() <= FULL:
            self._deaf_since = None
            return True
        if self._deaf_since is None:
            self._deaf_since = now
        elif now - self._deaf_since > DEAF:
            log.warning("the leader has read nothing for %.0f s: its connection is closed", DEAF)
            self._transport.abort()
        return False

    def _hold_back(self) -> None:
        """Keep what may decide something; the rest is counted as dropped."""
        surplus = max(0, len(self._facts) - MOST_FACTS)
        of_brokers = max(0, len(self._brokers) - MOST_OF_BROKERS)
        self.dropped += len(self._answers) + surplus + of_brokers
        self._answers.clear()
        del self._facts[:surplus]
        del self._brokers[:of_brokers]
