"""Signing on the way out: a record that was taken becomes a letter, whose signatures are made when the first peer is ready for it.

Not sooner: most attempts at a dead destination never come so far. Once: a mail to many destinations carries the same signatures to all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayfleet.protocol.relay_config import SigningDomain
from relayfleet.relay.signing.canonical import body_digest
from relayfleet.relay.signing.head import Head, HeadError, author_domain, read
from relayfleet.relay.signing.keyring import Keyring, SigningKeyUnavailableError
from relayfleet.relay.signing.publication import Publication
from relayfleet.relay.signing.signature import Signer, field, hashed
from relayfleet.relay.spool.interface import Held

IN_A_THREAD = 64 * 1024
"""Bytes from which on a mail is hashed in a thread: inline it is about a millisecond, as much as an RSA signature."""
SIGNED, NO_KEY, UNSIGNABLE, KEY_UNAVAILABLE = "Signed", "NoKey", "Unsignable", "KeyUnavailable"
"""What becomes of mail, while the pool signs for any domain: `NoKey` is mail of other domains, `Unsignable` has no author that everybody would
agree on, `KeyUnavailable` waits."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who signs; made before any peer is asked."""

    head: Head
    domain: str
    signers: Sequence[Signer]


class Letter:
    """One record in one attempt."""

    def __init__(self, held: Held, plan: Plan | None, counted: Callable[[], None]) -> None:
        self.held = held
        self._plan = plan
        self._counted = counted
        self._prefix: bytes | None = None
        self._lock = asyncio.Lock()

    async def prefix(self) -> bytes:
        """What goes before the stored message: signatures, or nothing."""
        async with self._lock:
            if self._prefix is None:
                self._prefix = await self._sign(self._plan) if self._plan else b""
                self._counted()
            return self._prefix

    async def _sign(self, plan: Plan) -> bytes:
        message, start = self.held.record.message, plan.head.body_at
        large = len(message) - start >= IN_A_THREAD
        digest = await asyncio.to_thread(body_digest, message, start) if large else body_digest(message, start)
        what = hashed(plan.head.fields, digest)
        return b"".join(field(what, plan.domain, each, int(time.time())) for each in plan.signers)


class Signing:
    """What the delivery has of DKIM. `counts`: letters by what became of them; `publication`: which keys are in DNS, as long as it runs."""

    def __init__(self, folder: Path = Path(), domains: Sequence[SigningDomain] = ()) -> None:
        self._keyring = Keyring(folder)
        self.publication = Publication(self._verified)
        self.counts: Counter[str] = Counter()
        self.reload(domains)

    def reload(self, domains: Sequence[SigningDomain]) -> None:
        """Sign for these from now on."""
        self._idle = not domains
        self._looked_up = frozenset(each.domain for each in domains if each.verify_dns)
        self._keyring.reload(domains)

    def _verified(self) -> Mapping[str, tuple[Signer, ...]]:
        """The keys that are looked up before they are used."""
        if not self._looked_up:
            return {}
        return {domain: keys for domain, keys in self._keyring.usable.items() if domain in self._looked_up}

    @property
    def trouble(self) -> str:
        """Why mail of a domain waits for its key, or is signed by an old one, and what to do; or ""."""
        return self._keyring.trouble

    def letter(self, held: Held) -> Letter:
        """The record as it will leave. Raises SigningKeyUnavailableError: it must be signed and cannot be now."""
        if self._idle:
            return Letter(held, None, lambda: None)
        try:
            plan = self._plan(held.record.message)
        except HeadError as error:
            _logger.info("id=%s leaves without a signature: %s", held.record.id, error)
            return self._letter(held, None, UNSIGNABLE)
        except SigningKeyUnavailableError:
            self.counts[KEY_UNAVAILABLE] += 1
            raise
        return self._letter(held, plan, SIGNED if plan else NO_KEY)

    def _letter(self, held: Held, plan: Plan | None, result: str) -> Letter:
        def count() -> None:
            self.counts[result] += 1

        return Letter(held, plan, count)

    def _plan(self, message: bytes) -> Plan | None:
        head = read(message)
        domain = self._keyring.domain_for(author_domain(head))
        return Plan(head, domain, self._signers(domain)) if domain else None

    def _signers(self, domain: str) -> tuple[Signer, ...]:
        keys = self._keyring.signers(domain)
        return self.publication.chosen(domain, keys) if domain in self._looked_up else keys
