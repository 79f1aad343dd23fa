"""Is this the password? bcrypt in threads, a few at a time, and remembered for a while.

- bcrypt is slow on purpose (1 ms at cost 5, 250 ms at cost 12), so it runs in threads (it lets go of the interpreter lock), WORKERS at a
  time, and at most WAITING wait; more are told to come later. Clients that authenticate in each session are spared it by a cache of what was
  verified: keyed digests under a random key of this process, never passwords, and worthless once the stored hash changes.
- A name that is not known costs as much as one that is (a hash of the same cost is verified), and every failure is answered late, so that
  neither the time nor the answer tells which names exist.
- Too many failures from one address within a minute: no more tries from there for the rest of it.
"""

from __future__ import annotations

import asyncio
import enum
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt

from relayfleet.relay.server.credentials import CredentialFiles
from relayfleet.relay.server.limits import FailureWindow
from relayfleet.relay.server.sasl import Credentials

WORKERS = 2
WAITING = 200
CACHED = 1000
CACHED_SECONDS = 600.0
FAILURES_PER_ADDRESS = 20
FAILURE_WINDOW_SECONDS = 60.0
_BCRYPT_BYTES = 72
"""bcrypt looks at no more of a password."""


class Verdict(enum.Enum):
    """What came of it."""

    GRANTED = enum.auto()
    DENIED = enum.auto()
    BUSY = enum.auto()
    """Not looked at: no credentials here, too many at once, or too many failures from this address."""


class Authenticator:
    """Verifies credentials against the files of `folder`. A denial takes at least `failure_delay` seconds."""

    def __init__(self, folder: Path, failure_delay: float = 1.0) -> None:
        self._files = CredentialFiles(folder)
        self._failure_delay = failure_delay
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="bcrypt")
        self._waiting = 0
        self._verified = _Verified()
        self._failures = FailureWindow(FAILURES_PER_ADDRESS, FAILURE_WINDOW_SECONDS)

    @property
    def available(self) -> bool:
        """Whether anybody could authenticate."""
        return bool(self._files.hashes())

    async def verify(self, credentials: Credentials, address: str) -> Verdict:
        """Look at what the client at `address` claims."""
        now = asyncio.get_running_loop().time()
        hashes = self._files.hashes()
        if not hashes or self._failures.blocked(address, now):
            return Verdict.BUSY
        stored = hashes.get(credentials.name)
        if stored is not None and self._verified.has(credentials, stored, now):
            return Verdict.GRANTED
        if self._waiting >= WAITING:
            return Verdict.BUSY
        if await self._check(credentials.password, stored or _decoy(hashes)) and stored is not None:
            self._verified.add(credentials, stored, now)
            return Verdict.GRANTED
        self._failures.add(address, now)
        await asyncio.sleep(self._failure_delay)
        return Verdict.DENIED

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _check(self, password: bytes, stored: bytes) -> bool:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _matches, password, stored)
        finally:
            self._waiting -= 1


class _Verified:
    """Digests of credentials that were verified, the least recently used go first."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def has(self, credentials: Credentials, stored: bytes, now: float) -> bool:
        digest = self._digest(credentials, stored)
        if self._until.get(digest, 0.0) <= now:
            return False
        self._until.move_to_end(digest)
        return True

    def add(self, credentials: Credentials, stored: bytes, now: float) -> None:
        self._until[self._digest(credentials, stored)] = now + CACHED_SECONDS
        if len(self._until) > CACHED:
            self._until.popitem(last=False)

    def _digest(self, credentials: Credentials, stored: bytes) -> bytes:
        name = credentials.name.encode()
        claim = b"%d:%s%s%s" % (len(name), name, stored, credentials.password)
        return hmac.digest(self._key, claim, hashlib.sha256)


def _matches(password: bytes, stored: bytes) -> bool:
    if b"\0" in password:
        return False
    return bcrypt.checkpw(password[:_BCRYPT_BYTES], stored)


def _decoy(hashes: Mapping[str, bytes]) -> bytes:
    """A hash that nobody's password fits, of the highest cost in use, for names that are not known."""
    cost = max(int(each[4:6]) for each in hashes.values())
    return b"$2b$%02d$" % cost + b"." * 22 + b"/" * 31
