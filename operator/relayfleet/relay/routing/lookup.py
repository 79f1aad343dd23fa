"""One DNS question to several resolvers: the first usable answer wins.

A resolver that is silent for a moment is not abandoned, it gets company: the next one is asked as well, and whoever answers first is
believed. So a dead resolver costs 300 ms once, which leaves the other one 200 ms to answer within half a second, and a slow, honest one
still counts. Who let us wait is asked last from then on (`standings.py`), so the next question does not wait for it again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from relayfleet.relay.control.tally import Tally
from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary
from relayfleet.relay.routing.query import FAILURES, USABLE, query
from relayfleet.relay.routing.servers import Server, written
from relayfleet.relay.routing.standings import Standings

HEDGE_SECONDS = 0.3
LIFETIME_SECONDS = 5.0
ROUNDS = 2
"""Each resolver is asked this often: UDP loses packets."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resolver said. `exists` False: NXDOMAIN. `values` are as in a zone file, names without the last dot. `ttl` seconds."""

    values: tuple[str, ...]
    ttl: float
    exists: bool = True


class Lookup:
    """Asks the given resolvers, and tells `tally` which answered. `counts`: resolver and whether it answered, by live traffic; for metrics."""

    def __init__(self, servers: Sequence[Server], tally: Tally | None = None) -> None:
        self.standings = Standings(servers)
        self.counts: Counter[tuple[str, bool]] = Counter()
        self._tally = tally or Tally()
        self._trials: set[asyncio.Task[None]] = set()

    def reconfigure(self, servers: Sequence[Server]) -> None:
        """Other resolvers, from the next question on."""
        self.standings.replace(servers)
        names = {written(each) for each in servers}
        self.counts = Counter({key: number for key, number in self.counts.items() if key[0] in names})

    async def ask(self, name: str, kind: str) -> Answer:
        """The records of one name and type, CNAMEs followed by the resolver. Raises DnsTemporary when none gave a usable answer in five
        seconds."""
        try:
            question = dns.name.from_text(name), dns.rdatatype.from_text(kind)
        except dns.exception.DNSException as error:
            raise DnsPermanent("5.1.2", f"{name!r} is no domain name: {error}") from error
        self._begin_trial(question)
        race = _Race(question, self.standings.order() * ROUNDS)
        answer = await race.run()
        self._learn(race)
        if answer is None:
            raise DnsTemporary(f"no resolver answered for {name} {kind}: {race.complaint}")
        return answer

    def _learn(self, race: _Race) -> None:
        now = asyncio.get_running_loop().time()
        for server, answered in race.outcomes:
            self._tally.lookup(written(server), answered)
            self.counts[written(server), answered] += 1
        if race.winner:
            self.standings.answered(race.winner, now)
        for server in race.blamed:
            self.standings.failed(server, now)

    def _begin_trial(self, question: Question) -> None:
        server = self.standings.trial(asyncio.get_running_loop().time())
        if server is not None:
            task = asyncio.create_task(self._try(question, server))
            self._trials.add(task)
            task.add_done_callback(self._trials.discard)

    async def _try(self, question: Question, server: Server) -> None:
        """Nobody waits for it, and no window tells of it."""
        loop = asyncio.get_running_loop()
        try:
            await _ask(question, server, HEDGE_SECONDS)
        except _FAILURES:
            self.standings.failed(server, loop.time())
        else:
            self.standings.answered(server, loop.time())


Question = tuple[dns.name.Name, dns.rdatatype.RdataType]


class _Race:
    """One question under way. When it is over, `outcomes` has each resolver that answered or failed, `winner` whose answer it was, and `blamed`
    those that should be asked last. A code such as SERVFAIL is blamed on a resolver only if another one did better: it may be the
    name's fault. Silence is, if the winner needed less time."""

    def __init__(self, question: Question, servers: list[Server]) -> None:
        self.complaint = "timed out"
        self.outcomes: list[tuple[Server, bool]] = []
        self.blamed: set[Server] = set()
        self.winner: Server | None = None
        self._question = question
        self._waiting = servers[::-1]
        self._unusable: set[Server] = set()
        self._asked: dict[asyncio.Task[Answer], tuple[Server, float]] = {}
        self._now = asyncio.get_running_loop().time

    async def run(self) -> Answer | None:
        deadline = self._now() + LIFETIME_SECONDS
        try:
            while True:
                self._ask_next()
                left = deadline - self._now()
                if not self._asked or left <= 0:
                    self._blame_silent(0.0)
                    return None
                answer = await self._first(min(left, HEDGE_SECONDS) if self._waiting else left)
                if answer is not None:
                    return answer
        finally:
            for task in self._asked:
                task.cancel()

    def _ask_next(self) -> None:
        if self._waiting:
            server = self._waiting.pop()
            self._asked[asyncio.create_task(_ask(self._question, server, LIFETIME_SECONDS))] = server, self._now()

    async def _first(self, seconds: float) -> Answer | None:
        done, _ = await asyncio.wait(self._asked, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        answer = None
        for task in done:
            server, since = self._asked.pop(task)
            if (error := task.exception()) is None:
                answer = task.result()
                self._won(server, self._now() - since)
            elif isinstance(error, _FAILURES):
                self._failed(server, error)
            else:
                raise error
        return answer

    def _won(self, server: Server, seconds: float) -> None:
        self.outcomes.append((server, True))
        self.winner = server
        self.blamed |= self._unusable
        self._blame_silent(seconds)
        self.blamed.discard(server)

    def _failed(self, server: Server, error: BaseException) -> None:
        self.outcomes.append((server, False))
        self.complaint = f"{written(server)}: {str(error) or type(error).__name__}"
        (self._unusable if isinstance(error, _UnusableError) else self.blamed).add(server)

    def _blame_silent(self, seconds: float) -> None:
        """Those that have been silent for longer than the winner needed. One that was asked a moment ago only was overtaken, which is no
        failure."""
        for server, since in self._asked.values():
            if self._now() - since >= max(HEDGE_SECONDS, seconds):
                self.outcomes.append((server, False))
                self.blamed.add(server)


class _UnusableError(Exception):
    """The resolver answered, but not the question."""


_FAILURES = (*FAILURES, _UnusableError)


async def _ask(question: Question, server: Server, timeout: float) -> Answer:
    response = await query(*question, server, timeout)
    if response.rcode() not in USABLE:
        raise _UnusableError(dns.rcode.to_text(response.rcode()))
    if not isinstance(response, dns.message.QueryMessage):
        raise _UnusableError("no answer to a query")
    chain = response.resolve_chaining()
    return Answer(_values(chain.answer), float(chain.minimum_ttl), response.rcode() == dns.rcode.NOERROR)


def _values(records: dns.rrset.RRset | None) -> tuple[str, ...]:
    return tuple(record.to_text().removesuffix(".") for record in records or ())
