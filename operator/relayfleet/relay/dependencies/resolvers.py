"""The relay asks each of its resolvers every other second, so that a dead one is known before a mail needs it.

All are asked the same question at the same time, and judged by each other: a code such as SERVFAIL is no answer of a resolver while
another one has one, and says nothing of any when all say so, since then it is the name's fault. A resolver is silent that answers neither the
probe by its deadline nor any question of live traffic meanwhile. What follows is as for declared dependencies (`verdict.py`), and a
resolver that is silent but once is asked after the others: that costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Mapping

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from relayfleet.protocol.telemetry import MOST_RESOLVERS
from relayfleet.protocol.telemetry import Dependency as Told
from relayfleet.relay.dependencies.outcome import ANSWERED, Kind, Outcome
from relayfleet.relay.dependencies.service import tell
from relayfleet.relay.dependencies.verdict import Standing, Track, Verdict, fold, judge
from relayfleet.relay.dependencies.watcher import AWAY, JITTER
from relayfleet.relay.routing.query import FAILURES, USABLE, query
from relayfleet.relay.routing.servers import Server, written
from relayfleet.relay.routing.standings import Standings

log = logging.getLogger(__name__)

INTERVAL, TIMEOUT = 2.0, 0.5
"""Seconds. A thousand relays with two resolvers ask a thousand questions a second, all of one name, which resolvers have in memory."""

_ROOT = dns.name.root, dns.rdatatype.NS
Question = tuple[dns.name.Name, dns.rdatatype.RdataType]


def question(helo_name: str) -> Question:
    """What resolvers are asked: the address of the name that the relay says in EHLO, which has to be in DNS anyway for mail to be taken, or
    the root's servers when there is none."""
    try:
        return (dns.name.from_text(helo_name), dns.rdatatype.A) if helo_name else _ROOT
    except dns.exception.DNSException:
        return _ROOT


class Resolvers:
    """Asks while `run` runs. `standings` knows whom to ask, and is told who is silent."""

    def __init__(self, standings: Standings, helo_name: str) -> None:
        self._standings = standings
        self._question = question(helo_name)
        self._tracks: dict[Server, Track] = {}
        self._verdicts: dict[str, Verdict] = {}
        self.outcomes: Counter[tuple[str, Kind]] = Counter()

    def reload(self, helo_name: str) -> None:
        """The relay says another name. Whom to ask is in the standings."""
        self._question = question(helo_name)

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """By address and port."""
        return self._verdicts

    def told(self) -> tuple[Told, ...]:
        """For the leader, now."""
        if not self._verdicts:
            return ()
        now = asyncio.get_running_loop().time()
        return tuple(
            Told(name, each.state, round(max(0.0, now - each.since), 1), each.why[:256])
            for name, each in list(self._verdicts.items())[:MOST_RESOLVERS]
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                delay = await self._round()
            except Exception:
                log.exception("a fault of ours in probes of resolvers")
                delay = INTERVAL
            await asyncio.sleep(delay * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - spreads load

    async def _round(self) -> float:
        """Ask all once; returns the seconds until the next time."""
        loop, servers = asyncio.get_running_loop(), self._standings.servers
        began = loop.time()
        found = await asyncio.gather(*(_ask(self._question, each) for each in servers))
        late = loop.time() - began - TIMEOUT > AWAY
        if not (late and any(each is None for each in found)):  # else we were away ourselves, and it was no silence
            self._fold(dict(zip(servers, found, strict=True)), began, loop.time())
        return min(self._tracks[each].delay(INTERVAL) if each in self._tracks else INTERVAL for each in servers)

    def _fold(self, found: Mapping[Server, int | Outcome | None], began: float, now: float) -> None:
        somebody = any(each in USABLE for each in found.values())
        tracks = {}
        for server, said in found.items():
            outcome = self._outcome(server, said, somebody, began)
            tracks[server] = fold(self._tracks.get(server, Track(since=began)), outcome, now)
            self.outcomes[written(server), outcome.kind] += 1
            self._standings.probed(server, _is_silent(tracks[server]))
        self._tracks = tracks
        self._judge()

    def _outcome(self, server: Server, said: int | Outcome | None, somebody: bool, began: float) -> Outcome:
        if self._standings.answered_since(server, began):
            return ANSWERED
        if said is None:
            return Outcome(Kind.FAILED, f"took more than {TIMEOUT:g} s to answer")
        if isinstance(said, Outcome):
            return said
        if said in USABLE or not somebody:
            return ANSWERED
        return Outcome(Kind.FAILED, f"answers {dns.rcode.to_text(dns.rcode.Rcode(said))} where others have an answer")

    def _judge(self) -> None:
        verdicts = {written(server): judge(track) for server, track in self._tracks.items()}
        for name, verdict in verdicts.items():
            before = self._verdicts.get(name)
            if before is None or before.state is not verdict.state:
                tell("resolver", name, verdict)
        self._verdicts = verdicts


def _is_silent(track: Track) -> bool:
    """From the first failure on, until it is up again."""
    return track.run < 0 or track.standing is Standing.DOWN


async def _ask(asked: Question, server: Server) -> int | Outcome | None:
    """The response's code; None: nothing in time."""
    try:
        return int((await query(*asked, server, TIMEOUT)).rcode())
    except TimeoutError:
        return None
    except FAILURES as error:
        return Outcome(Kind.FAILED, f"cannot be asked: {getattr(error, 'strerror', None) or error}")
