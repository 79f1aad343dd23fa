"""DNS answers with a memory: TTLs, negative answers, one question at a time for one name, and stale answers when all resolvers fail.

A mail relay asks for the same few thousand names all day. The memory makes that cheap, and it carries the relay through a resolver
outage (RFC 8767): an expired answer is better than none, because mail exchangers move rarely.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary
from relayfleet.relay.routing.lookup import Answer

SHORTEST_TTL = 1.0
LONGEST_TTL = 86400.0
LONGEST_NEGATIVE_TTL = 900.0
"""A domain that was just set up should not wait for hours (RFC 2308 allows three)."""
FAILURE_TTL = 5.0
"""A failing name is not asked for again at once by every mail that wants it (RFC 9520)."""
STALE_SECONDS = 86400.0
STALE_AFTER = 1.0
"""Seconds after which whoever has a stale answer waits no longer for a fresh one. By then two resolvers have been asked twice; RFC 8767 says
1.8 s at most. The question goes on, for the next one who wants to know."""
ENTRIES = 50_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """One MX record; `host` without the last dot, "" for the root (null MX)."""

    preference: int
    host: str


class Asks(Protocol):
    """The way to the resolvers; `lookup.Lookup` in real life."""

    async def ask(self, name: str, kind: str) -> Answer: ...


@dataclass(slots=True)
class _Entry:
    answer: Answer | None
    fresh_until: float
    stale_until: float
    complaint: str = ""


@dataclass(slots=True)
class ResolverCounters:
    """For metrics: questions that went out, answers from memory, stale answers used, questions that failed."""

    asked: int = 0
    remembered: int = 0
    stale: int = 0
    failed: int = 0


class Resolver:
    """MX and address look-ups. `clock` gives monotonic seconds."""

    def __init__(self, lookup: Asks, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._under_way: dict[tuple[str, str], asyncio.Task[Answer]] = {}
        self.counters = ResolverCounters()

    async def mail_exchangers(self, domain: str) -> tuple[Exchange, ...]:
        """The MX records, empty when there are none. Raises DnsPermanent when the name does not exist, DnsTemporary without answer."""
        answer = await self._ask(domain, "MX")
        if not answer.exists:
            raise DnsPermanent("5.1.2", f"the domain {domain} does not exist")
        return _exchanges(answer)

    def remembered(self, domain: str) -> tuple[Exchange, ...] | None:
        """Its MX records as they were when somebody asked, however long ago; None when nobody did, or there was no answer. Asks nobody."""
        entry = self._entries.get((domain.lower(), "MX"))
        return None if entry is None or entry.answer is None else _exchanges(entry.answer)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """IPv4, then IPv6 addresses, empty when the name has none or does not exist. Raises DnsTemporary when neither could be asked."""
        if (both := self._both_remembered(host)) is not None:
            return both
        answers = await asyncio.gather(self._ask(host, "A"), self._ask(host, "AAAA"), return_exceptions=True)
        found = tuple(value for answer in answers if isinstance(answer, Answer) for value in answer.values)
        if not found:
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
        return found

    def _both_remembered(self, host: str) -> tuple[str, ...] | None:
        """The usual case, without a task for each family."""
        now = self._clock()
        found: list[str] = []
        for kind in ("A", "AAAA"):
            entry = self._entries.get((host, kind))
            if entry is None or entry.answer is None or now >= entry.fresh_until:
                return None
            found += entry.answer.values
        self.counters.remembered += 2
        return tuple(found) or None

    async def _ask(self, name: str, kind: str) -> Answer:
        key = name.lower(), kind
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry.fresh_until:
            self.counters.remembered += 1
            return self._given(entry)
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._fetch(key))
            task.add_done_callback(lambda done: self._finished(key, done))
        if entry is not None and entry.answer is not None and self._clock() < entry.stale_until:
            return await self._unless_late(task, key, entry)
        # Many mails may wait for one question; the one that gives up must not take it from the others.
        return await asyncio.shield(task)

    async def _unless_late(self, task: asyncio.Task[Answer], key: tuple[str, str], entry: _Entry) -> Answer:
        """What the question says, or in the end the stale answer, which is then good for a moment: the next mail does not wait again."""
        done, _ = await asyncio.wait({task}, timeout=STALE_AFTER)
        if done:
            return task.result()
        return self._given(self._remember_failure(key, "no resolver has answered yet"))

    def _finished(self, key: tuple[str, str], task: asyncio.Task[Answer]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # looked at here, because all who waited for it may have given up

    async def _fetch(self, key: tuple[str, str]) -> Answer:
        self.counters.asked += 1
        try:
            answer = await self._lookup.ask(*key)
        except DnsTemporary as error:
            self.counters.failed += 1
            return self._given(self._remember_failure(key, error.text))
        longest = LONGEST_TTL if answer.values else LONGEST_NEGATIVE_TTL
        now = self._clock()
        fresh = now + min(max(answer.ttl, SHORTEST_TTL), longest)
        self._store(key, _Entry(answer, fresh, fresh + STALE_SECONDS))
        return answer

    def _remember_failure(self, key: tuple[str, str], complaint: str) -> _Entry:
        now, entry = self._clock(), self._entries.get(key)
        if entry is None or entry.answer is None or now >= entry.stale_until:
            entry = _Entry(None, now + FAILURE_TTL, now)
        entry.fresh_until, entry.complaint = now + FAILURE_TTL, complaint
        self._store(key, entry)
        return entry

    def _given(self, entry: _Entry) -> Answer:
        if entry.answer is None:
            raise DnsTemporary(entry.complaint)
        if entry.complaint:
            self.counters.stale += 1
        return entry.answer

    def _store(self, key: tuple[str, str], entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > ENTRIES:
            self._entries.popitem(last=False)


def _exchanges(answer: Answer) -> tuple[Exchange, ...]:
    pairs = (value.partition(" ") for value in answer.values)
    return tuple(Exchange(int(preference), host.removesuffix(".")) for preference, _, host in pairs)
