"""One target, asked again and again until its task is cancelled."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from relayfleet.protocol.dependency import Target
from relayfleet.relay.dependencies.dns import DnsProbe
from relayfleet.relay.dependencies.http import HttpProbe
from relayfleet.relay.dependencies.outcome import ANSWERED, Failed, Kind, NotAsked, Outcome
from relayfleet.relay.dependencies.postgresql import PostgreSQLProbe
from relayfleet.relay.dependencies.reaching import Names, Stage
from relayfleet.relay.dependencies.tcp import TcpProbe
from relayfleet.relay.dependencies.verdict import HURRY, Track, fold

log = logging.getLogger(__name__)

AWAY = 0.1
"""A deadline that is noticed so many seconds late was missed by this process and not by the target."""
JITTER = 0.1
"""Share of the interval: relays that start together shall not ask together for ever."""


class Probe(Protocol):
    """Asks once; raises Failed and NotAsked. It is cancelled at its deadline."""

    async def ask(self, stage: Stage) -> None: ...

    def close(self) -> None: ...


def probe(target: Target, names: Names, folder: Path) -> Probe | None:
    """The probe for a target whose files are in `folder`; None for a kind that this relay does not know."""
    if target.tcp:
        return TcpProbe(target.tcp, names)
    if target.http:
        return HttpProbe(target.http, names, folder)
    if target.postgresql:
        return PostgreSQLProbe(target.postgresql, names, folder)
    if target.dns:
        return DnsProbe(target.dns, names)
    return None


class Watcher:
    """Keeps the `track` of one target; `changed` is called after each outcome. Seconds throughout. `outcomes` only grow."""

    def __init__(self, asked: Probe, interval: float, timeout: float, changed: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._probe, self._interval, self._timeout = asked, interval, timeout
        self._changed = changed
        self.track = Track(since=self._loop.time())
        self.outcomes: Counter[Kind] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                delay = await self._turn()
                await asyncio.sleep(delay * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - spreads load
        finally:
            self._probe.close()

    async def _turn(self) -> float:
        """Ask once; returns the seconds until the next time."""
        outcome = await self._outcome()
        if outcome is None:
            return min(self._interval, HURRY)
        self.outcomes[outcome.kind] += 1
        self.track = fold(self.track, outcome, self._loop.time())
        self._changed()
        return self.track.delay(self._interval)

    async def _outcome(self) -> Outcome | None:
        """None: the time was over, but we were away ourselves."""
        stage, due = Stage(), self._loop.time() + self._timeout
        try:
            async with asyncio.timeout(self._timeout) as deadline:
                await self._probe.ask(stage)
        except (Failed, OSError) as error:
            # TimeoutError is an OSError: of the deadline, or of the kernel, which gives up connecting some time.
            if deadline.expired() or isinstance(error, TimeoutError):
                return stage.overdue(self._timeout) if self._loop.time() - due <= AWAY else None
            return Outcome(Kind.FAILED, str(error))
        except NotAsked as error:
            return Outcome(Kind.NOT_ASKED, str(error))
        except Exception as error:
            log.exception("a fault of ours in a probe")
            return Outcome(Kind.NOT_ASKED, f"the probe itself failed: {error!r}")
        return ANSWERED
