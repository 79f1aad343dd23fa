"""Sealing and opening with the keys in a file, which is read again when it changes.

A relay *opens* as soon as it has keys, and *seals* only when it is told to: not before all relays of the pool can open what it seals. A key
that it once had it keeps for its life, so a file that is damaged or shortened takes no mail away. Told to seal and without a key it stores
nothing: mail that should be sealed is put off, never stored in the clear.

A record sealed by a key that is not here waits: the key may be on its way, or come back from a backup.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayfleet.protocol import sealing
from relayfleet.relay.files import look
from relayfleet.relay.spool import seal
from relayfleet.relay.spool.interface import SpoolUnavailable
from relayfleet.relay.spool.record import Record, decode, encode

log = logging.getLogger(__name__)

SHORTEST, LONGEST = 15.0, 1920.0
FORGET = 3 * LONGEST
"""Seconds: how long a record without its key waits at least and at most, and when such records that come no more are gone elsewhere."""

MOST_MISSED = 64
"""Names of missing keys that are told apart: whoever writes to the broker could make up any number."""


class KeyMissingError(Exception):
    """The record is sealed by a key that this relay has not got. `wait`: seconds until it is worth another look."""

    def __init__(self, key: str, wait: float) -> None:
        super().__init__(f"sealed by key {key}, which is not here")
        self.key = key
        self.wait = wait


@dataclass(slots=True)
class _Missed:
    """When a key was first and last missed, by the monotonic clock."""

    first: float
    last: float


class Sealer:
    """`file` None, or one that is not there: no keys. `pool` is the prefix of its queues' names. `clock` is monotonic, in seconds."""

    def __init__(
        self, file: Path | None, pool: str, *, seals: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._pool = pool
        self._clock = clock
        self.seals = seals
        self.counts: Counter[str] = Counter()
        self._keys: dict[str, AESGCM] = {}
        self._current = ""
        self._why = "there are no sealing keys in this relay"
        self._version: tuple[object, ...] = ()
        self._missed: dict[str, _Missed] = {}
        self._read()

    @property
    def opens(self) -> bool:
        """Whether sealed records can be opened here."""
        return bool(self._keys)

    @property
    def why_not(self) -> str:
        """Why nothing can be stored, or ""."""
        return f"mail is to be sealed, and cannot be: {self._why}" if self.seals and not self._current else ""

    @property
    def trouble(self) -> str:
        """What a person should know and do, or ""."""
        self._forget()
        if self._missed:
            key = min(self._missed, key=lambda each: self._missed[each].first)
            more = f" (and by {len(self._missed) - 1} more)" if len(self._missed) > 1 else ""
            return f"mail waits that is sealed by key {key}{more}, which this relay has not got: restore it"
        return f"sealing goes on with the keys of before: {self._why}" if self._why and self._keys else ""

    def seal(self, record: Record) -> bytes:
        """The record as bytes for the queue. Raises SpoolUnavailable."""
        data = encode(record)
        if not self.seals:
            self.counts["Unsealed"] += 1
            return data
        if why_not := self.why_not:
            raise SpoolUnavailable(why_not)
        self.counts["Sealed"] += 1
        return seal.seal(self._current, self._keys[self._current], self._pool, record.key, data)

    def open(self, body: bytes, message_id: Callable[[], str]) -> Record:
        """The record in these bytes, sealed or not. Raises RecordError, and KeyMissingError."""
        if not seal.is_sealed(body):
            return decode(body)
        name = seal.key_of(body)
        key = self._keys.get(name)
        if key is None:
            self._look()
            key = self._keys.get(name)
        if key is None:
            raise self._miss(name)
        record = decode(seal.unseal(key, self._pool, message_id(), body))
        self.counts["Opened"] += 1
        return record

    async def reload(self) -> None:
        """The file has changed."""
        self._look()

    def _look(self) -> None:
        if self._file is not None and look(self._file) != self._version:
            self._read()

    def _read(self) -> None:
        if self._file is None:
            return
        self._version = look(self._file)
        try:
            keys = sealing.load(self._file.read_text())
        except (OSError, ValueError) as error:
            self._why = f"{self._file.name} cannot be used: {error}"
            if self._keys or self.seals:
                log.warning("%s", self._why)
            return
        self._keys |= {each.id: AESGCM(each.secret) for each in keys if each.id not in self._keys}
        current = sealing.current(keys)
        if current is not None:
            self._current = current.id
        self._why = "" if current else f"{self._file.name} has no key that is in use"
        self._missed = {name: each for name, each in self._missed.items() if name not in self._keys}
        log.info("%d sealing keys, of which %s seals", len(self._keys), self._current or "none")

    def _miss(self, name: str) -> KeyMissingError:
        """Wait as long again as the key has been missed: soon enough for one on its way, seldom enough for one that is gone."""
        self.counts["KeyMissing"] += 1
        now = self._clock()
        known = name if name in self._missed or len(self._missed) < MOST_MISSED else "others"
        if known not in self._missed:
            log.warning("mail is sealed by key %s, which is not here: it waits", known)
        missed = self._missed.setdefault(known, _Missed(now, now))
        missed.last = now
        return KeyMissingError(name, min(max(now - missed.first, SHORTEST), LONGEST))

    def _forget(self) -> None:
        now = self._clock()
        for name in [name for name, each in self._missed.items() if now - each.last > FORGET]:
            del self._missed[name]
