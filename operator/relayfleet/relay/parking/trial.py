"""Trying a destination without a mail: all addresses of all its hosts are called, and whoever greets is taken leave of.

All, and not those in order until one lets us wait: else one silent host would hide for ever that another one is back. Where there are too many for one trial, the next
one goes on behind them, and none of them proves that nobody is there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from relayfleet.protocol.relay_config import Source
from relayfleet.relay.delivery.errors import LocalError, SmtpError, is_silence
from relayfleet.relay.delivery.sessions import SessionPool
from relayfleet.relay.delivery.sources import family_of
from relayfleet.relay.parking.known import Answer
from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary
from relayfleet.relay.routing.router import OTHER_FAMILY
from relayfleet.relay.spool.interface import Hosts

CALL_SECONDS = 60.0
"""For which an address may let us wait for its greeting."""
AT_ONCE, MOST = 6, 60
"""Addresses of one trial, side by side and in all."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it, and the last failure in words."""

    answer: Answer
    why: str = ""


async def attempt(pool: SessionPool, destination: Hosts, source: Source, number: int) -> Tried:
    """One trial from this source; `number`: which of them."""
    addresses, known = await _addresses(pool, destination, source)
    if not addresses:
        return Tried(Answer.UNKNOWN, "no address is known")
    begin = number * MOST % len(addresses) if len(addresses) > MOST else 0
    called = (addresses[begin:] + addresses[:begin])[:MOST]
    slots = asyncio.Semaphore(AT_ONCE)
    calls = [asyncio.create_task(_call(pool, source, *each, slots)) for each in called]
    try:
        return await _first_answer(calls, whole=known and len(called) == len(addresses))
    finally:
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _first_answer(calls: list[asyncio.Task[SmtpError | None]], *, whole: bool) -> Tried:
    why = ""
    for each in asyncio.as_completed(calls):
        error = await each
        if isinstance(error, LocalError):
            return Tried(Answer.UNKNOWN, error.text)
        if error is None or not is_silence(error):
            return Tried(Answer.UP, error.text if error else "")
        why = error.text
    return Tried(Answer.SILENT if whole else Answer.UNKNOWN, why)


async def _call(
    pool: SessionPool, source: Source, host: str, address: str, slots: asyncio.Semaphore
) -> SmtpError | None:
    async with slots:
        try:
            session = await pool.dial(source, host, address, asyncio.get_running_loop().time() + CALL_SECONDS)
        except SmtpError as error:
            return error
    session.quit()
    pool.marks.clear(source, address)
    return None


async def _addresses(pool: SessionPool, destination: Hosts, source: Source) -> tuple[list[tuple[str, str]], bool]:
    """Hosts and addresses that this source can call, and whether those are all."""
    found: list[tuple[str, str]] = []
    known = True
    for host in destination:
        try:
            found += [(host, each) for each in await pool.router.addresses(host, family_of(source))]
        except DnsPermanent:
            continue  # it has none, or is we ourselves
        except DnsTemporary as error:
            known = known and error.status == OTHER_FAMILY
    return found, known
