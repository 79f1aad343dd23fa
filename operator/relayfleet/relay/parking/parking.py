"""Whose mail is parked: watches destinations, tries those that nobody reaches, and tells the pool's other relays over the journal.

A destination is its set of MX hosts. Each relay suspects and tries for itself, until one of them finds that it is dead; from then on whoever is first tries it for all
(`known.SPREAD`), says before that it does, and afterwards that nobody is there, or somebody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from random import Random

from relayfleet.protocol.relay_config import Source
from relayfleet.relay.delivery.sessions import Nobody, SessionPool
from relayfleet.relay.parking import trial
from relayfleet.relay.parking.known import GOOD, Answer, Known
from relayfleet.relay.routing.errors import DnsError, DnsPermanent
from relayfleet.relay.routing.mx import domain_of
from relayfleet.relay.spool.interface import Hosts, Journal, Word
from relayfleet.relay.spool.record import Record

LOOK = 1.0
PATIENCE = 1.0
"""Seconds that a record waits to be told where it leads."""
TRIALS_AT_ONCE, MOST_ASKED = 20, 200
NEWS = 10.0
"""Seconds after which a word is none: a relay that begins reads those of before."""

log = logging.getLogger(__name__)


class Parking:
    """Fits `sessions.Watcher` and `requeue.Releases`. `sources`: those that can send from this relay now. `tried` counts trials by what they came to.
    `is_paused`: it tries nobody itself, as a relay must not that is taken out of traffic; it may not reach what others do."""

    def __init__(
        self, pool: SessionPool, sources: Callable[[], Sequence[Source]], journal: Journal, random: Random
    ) -> None:
        self._pool, self._sources, self._journal, self._random = pool, sources, journal, random
        self._known = Known()
        self._parks = False
        self._slots = asyncio.Semaphore(TRIALS_AT_ONCE)
        self._trials: dict[Hosts, asyncio.Task[None]] = {}
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self.tried: Counter[str] = Counter()
        self.is_paused = False
        journal.listen(self._hear)

    def use(self, parks: bool) -> None:
        """Whether the pool parks mail, from now on. What is known is forgotten with it: what is parked comes to be looked at, and is tried."""
        if parks == self._parks:
            return
        self._parks, self._known = parks, Known()
        self._pool.watcher = self if parks else Nobody()

    def start(self) -> None:
        """Begin in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="parking")

    async def stop(self) -> None:
        """End it, and all trials."""
        tasks = [*self._trials.values(), *self._asked.values(), *([self._task] if self._task else [])]
        self._task = None
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def dead(self) -> int:
        """How many destinations are known to be down."""
        return self._known.dead(_now())

    @property
    def any_dead(self) -> bool:
        """Whether any destination may be down: nearly never, and then nothing need be asked of mail."""
        return self._known.any_dead(_now())

    # What mail shows.

    def reached(self, destination: Hosts) -> None:
        """See `Watcher.reached`."""
        if self._known.reached(destination, _now()):
            log.warning("%s answers again: its parked mail goes on", _name(destination))
            self._journal.say(Word(destination, dead=False))

    def missed(self, destination: Hosts, why: str) -> None:
        """See `Watcher.missed`."""
        self._known.missed(destination, why, _now())

    # What becomes of mail.

    async def leads_to_nobody(self, domains: Collection[str]) -> Hosts | None:
        """The destination that is known to be down to which all of these lead; None of any others."""
        found: Hosts | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                for each in domains if self.any_dead else ():
                    destination = (await self._pool.router.route(each)).key
                    if (found is not None and destination != found) or not self._known.is_dead(destination, _now()):
                        return None
                    found = destination
        except (DnsError, TimeoutError):
            return None
        return found

    def parked(self, destination: Hosts) -> None:
        """A mail for it was parked here."""
        self._known.parked(destination, _now())

    def why(self, destination: Hosts) -> str:
        """What was seen of it last, in words."""
        return self._known.why(destination) or "nobody answers"

    # What is released.

    def due(self) -> Mapping[Hosts, float]:
        """See `Releases.due`."""
        return self._known.up(_now())

    def is_due(self, destination: Hosts) -> bool:
        """See `Releases.is_due`."""
        return self._known.is_up(destination, _now())

    def of(self, record: Record) -> Hosts | None:
        """See `Releases.of`. Nobody waits for DNS here: what is not known is asked for, and known in the next visit."""
        found: set[Hosts] = set()
        try:
            for domain in {domain_of(each.address) for each in record.recipients}:
                if (route := self._pool.router.remembered(domain)) is None:
                    self._ask(domain)
                    return None
                found.add(route.key)
        except DnsPermanent:
            return None
        return found.pop() if len(found) == 1 else None

    def _ask(self, domain: str) -> None:
        if domain not in self._asked and len(self._asked) < MOST_ASKED:
            task = self._asked[domain] = asyncio.create_task(self._ask_for(domain))
            task.add_done_callback(lambda _: self._asked.pop(domain, None))

    async def _ask_for(self, domain: str) -> None:
        with suppress(DnsError):
            await self._pool.router.route(domain)

    # Trials, and words.

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                self._begin_due()
            except Exception:
                log.exception("parking: a fault of ours")

    def _begin_due(self) -> None:
        if self._parks and not self.is_paused and (sources := self._sources()):
            for destination, number in self._known.due(_now(), self._random.random(), self._trials):
                self._begin(destination, sources[number % len(sources)], number, len(sources))

    def _begin(self, destination: Hosts, source: Source, number: int, sources: int) -> None:
        if self._known.is_dead(destination, _now()):
            self._journal.say(Word(destination, dead=True, tries=True))
        task = self._trials[destination] = asyncio.create_task(self._try(destination, source, number, sources))
        task.add_done_callback(lambda _: self._trials.pop(destination, None))

    async def _try(self, destination: Hosts, source: Source, number: int, sources: int) -> None:
        try:
            async with self._slots:
                began = _now()
                tried = await trial.attempt(self._pool, destination, source, number)
        except Exception:
            log.exception("%s: a fault of ours", _name(destination))
            return
        self.tried[tried.answer.value] += 1
        if tried.answer is Answer.UP:
            self.reached(destination)
        elif tried.answer is Answer.SILENT:
            self._silent(destination, tried.why, began, sources)

    def _silent(self, destination: Hosts, why: str, began: float, sources: int) -> None:
        if self._known.silent(destination, why, began, _now(), sources):
            log.warning(
                "%s is down, its mail is parked: nobody answers at any address, last: %s", _name(destination), why
            )
        if self._known.is_dead(destination, _now()):
            self._journal.say(Word(destination, dead=True, why=why))

    def _hear(self, word: Word) -> None:
        if not self._parks or not word.destination or word.age > GOOD:
            return
        if word.tries:
            self._known.put_off(word.destination, _now() - word.age, self._random.random())
        else:
            self._believe(word)

    def _believe(self, word: Word) -> None:
        destination, before = word.destination, self._known.is_dead(word.destination, _now())
        said, chance = _now() - word.age, self._random.random()
        if self._known.heard(destination, word.why, said, dead=word.dead, chance=chance):
            self._journal.say(Word(destination, dead=False))
        elif word.age < NEWS and before is not self._known.is_dead(destination, _now()):
            log.info("another relay says that %s %s", _name(destination), "is down" if word.dead else "answers again")


def _name(destination: Hosts) -> str:
    return ", ".join(destination)


def _now() -> float:
    return asyncio.get_running_loop().time()
