"""Which keys are in DNS: looked at before they are used and every few minutes from then on, and never for a mail.

The questions go to the relay's own resolvers, without the memory of `routing.resolver`: what is known is kept here for as long as nobody
answers, and an answer that is good for a day must not hide for a day that a key was revoked. Resolvers have their own memory, so this costs
a question each few minutes for each key.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal

from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary
from relayfleet.relay.routing.resolver import Asks
from relayfleet.relay.signing.choice import Look, Standing, fold, judge
from relayfleet.relay.signing.keyrecord import Answer, State, name_of
from relayfleet.relay.signing.signature import Signer

log = logging.getLogger(__name__)

SETTLED, UNSETTLED = 300.0, 60.0
"""Seconds until a key is looked up again: one that is in DNS, and one that is not, or of which nothing or two things are known."""
JITTER = 0.2
TICK = 1.0
"""Seconds in which a new key is noticed."""
FIRST = 3.0
"""Seconds that a relay waits for its first look before it delivers. Without DNS no mail leaves anyway."""
AT_ONCE = 8
"""Questions under way; a pool may have hundreds of keys."""


class Publication:
    """`usable` gives the keys to look up, by domain. `counts`: questions by whether they were answered. `clock` gives monotonic seconds."""

    def __init__(
        self, usable: Callable[[], Mapping[str, tuple[Signer, ...]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._usable = usable
        self._clock = clock
        self._looks: dict[str, Look] = {}
        self._due: dict[str, float] = {}
        self._standings: dict[str, Standing] = {}
        self._looked = asyncio.Event()
        self.counts: Counter[Literal["Answered", "Failed"]] = Counter()

    def chosen(self, domain: str, signers: tuple[Signer, ...]) -> tuple[Signer, ...]:
        """Those of a domain's keys that sign, by what is known now. Asks nobody."""
        return self._standing(domain, signers).chosen

    @property
    def standings(self) -> list[Standing]:
        """Of all domains."""
        return [self._standing(domain, signers) for domain, signers in self._usable().items()]

    @property
    def trouble(self) -> str:
        """Which key is not in DNS and what to publish, or ""."""
        told = [text for each in self.standings for text in each.troubles]
        return told[0] + (f" (and {len(told) - 1} more)" if len(told) > 1 else "") if told else ""

    async def first(self) -> None:
        """Return when all keys have been looked up once, or FIRST has passed; `run` runs meanwhile."""
        if self._usable():
            try:
                async with asyncio.timeout(FIRST):
                    await self._looked.wait()
            except TimeoutError:
                log.warning(
                    "not all DKIM keys could be looked up in %g s: those are used as configured until then", FIRST
                )

    async def run(self, asks: Asks) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look(asks)
            except Exception:
                log.exception("a fault of ours in look-ups of DKIM keys")
            self._looked.set()
            await asyncio.sleep(TICK)

    async def look(self, asks: Asks) -> None:
        """Ask for the keys that are due, and forget those that nobody signs by any more."""
        names = {each.domain: _names(each) for each in self.standings}
        self._forget({name for each in names.values() for name in each})
        gate = asyncio.Semaphore(AT_ONCE)
        due = ((domain, [name for name in each if self._is_due(name)]) for domain, each in names.items())
        await asyncio.gather(*(self._look_at(asks, domain, asked, gate) for domain, asked in due if asked))

    async def _look_at(self, asks: Asks, domain: str, names: list[str], gate: asyncio.Semaphore) -> None:
        """Each domain for itself: one whose name servers are dead takes long."""
        await asyncio.gather(*(self._ask(asks, name, gate) for name in names))
        self._judge(domain, names)

    def _is_due(self, name: str) -> bool:
        return name not in self._due or self._clock() >= self._due[name]

    def _forget(self, names: Collection[str]) -> None:
        """All others."""
        self._looks = {name: look for name, look in self._looks.items() if name in names}
        self._due = {name: due for name, due in self._due.items() if name in names}
        usable = self._usable()
        self._standings = {domain: each for domain, each in self._standings.items() if domain in usable}

    async def _ask(self, asks: Asks, name: str, gate: asyncio.Semaphore) -> None:
        self._plan(name, settled=False)  # whatever happens, no name is asked for each second
        async with gate:
            seen = await _answer(asks, name)
        self.counts["Failed" if seen is None else "Answered"] += 1
        self._looks[name] = fold(self._looks.get(name, Look()), seen)
        self._plan(name, settled=seen is not None and self._looks[name].doubted is None)

    def _plan(self, name: str, *, settled: bool) -> None:
        wait = SETTLED if settled else UNSETTLED
        self._due[name] = self._clock() + wait * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load

    def _judge(self, domain: str, asked: list[str]) -> None:
        signers = self._usable().get(domain)
        if signers is None:
            return  # gone meanwhile
        standing = self._standings[domain] = self._judged(domain, signers)
        for name, verdict in zip(_names(standing), standing.verdicts, strict=True):
            if name in asked and verdict.state is not State.PUBLISHED:
                self._plan(name, settled=False)

    def _standing(self, domain: str, signers: tuple[Signer, ...]) -> Standing:
        known = self._standings.get(domain)
        if known is None or known.signers != signers:
            known = self._standings[domain] = self._judged(domain, signers)
        return known

    def _judged(self, domain: str, signers: tuple[Signer, ...]) -> Standing:
        before, now = self._standings.get(domain), judge(domain, signers, self._believed)
        _tell(before, now)
        return now

    def _believed(self, name: str) -> Answer | None:
        return self._looks.get(name, Look()).believed


def _names(standing: Standing) -> list[str]:
    return [name_of(each.selector, standing.domain) for each in standing.signers]


async def _answer(asks: Asks, name: str) -> Answer | None:
    """In an order of its own: name servers turn records round."""
    try:
        return tuple(sorted((await asks.ask(name, "TXT")).values))
    except DnsTemporary:
        return None
    except DnsPermanent:
        return ()  # too long for a name: nothing can be there


def _tell(before: Standing | None, now: Standing) -> None:
    told = before.troubles if before else ()
    for trouble in now.troubles:
        if trouble not in told:
            log.warning("%s", trouble)
    if before and before.chosen != now.chosen:
        log.info("dkim %s signs by %s, as DNS is now", now.domain, _selectors(now.chosen))


def _selectors(signers: Iterable[Signer]) -> str:
    return ", ".join(each.selector for each in signers)
