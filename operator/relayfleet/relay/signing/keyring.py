"""The keys that sign for each domain, read again when their files change.

All keys of a domain or none: a mail that lacks the signature by which its receivers know it is as good as unsigned. What cannot be used
leaves the last good keys in use, as with certificates; so relays that are about to be replaced, because a key got another Secret, sign by the
old one until they go. A domain that never had good keys signs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayfleet.protocol.relay_config import SigningDomain, SigningKey
from relayfleet.relay.files import look
from relayfleet.relay.signing.keys import Key, KeyUnusableError, parse
from relayfleet.relay.signing.signature import Signer

_logger = logging.getLogger(__name__)


class SigningKeyUnavailableError(Exception):
    """Mail of this domain must be signed and cannot be now; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Held:
    """`trouble`: why the keys that are wanted cannot be used, or ""."""

    signers: tuple[Signer, ...] = ()
    trouble: str = ""


class Keyring:
    """The keys below `folder`, as `<secret>/<entry>`."""

    def __init__(self, folder: Path, domains: Sequence[SigningDomain] = ()) -> None:
        self._folder = folder
        self._held: dict[str, _Held] = {}
        self._files: dict[Path, tuple[bytes, Key]] = {}
        self._version: tuple[object, ...] = ()
        self.reload(domains)

    def reload(self, domains: Sequence[SigningDomain]) -> None:
        """Sign for these from now on, and for no others."""
        self._domains = {each.domain: each for each in domains}
        self._held = {name: self._held.get(name, _Held()) for name in self._domains}
        if domains:
            self._version = _version(self._folder)
        self._read()

    def domain_for(self, author: str) -> str | None:
        """The domain that signs for mail of `author`: itself, or the nearest above it; None when there is none."""
        name = author
        while name and name not in self._domains:
            name = name.partition(".")[2]
        return name or None

    def signers(self, domain: str) -> tuple[Signer, ...]:
        """All keys of a domain. Raises SigningKeyUnavailableError."""
        self._look()
        held = self._held[domain]
        if not held.signers:
            raise SigningKeyUnavailableError(held.trouble)
        return held.signers

    @property
    def usable(self) -> Mapping[str, tuple[Signer, ...]]:
        """The keys of each domain that has any."""
        self._look()
        return {name: held.signers for name, held in self._held.items() if held.signers}

    @property
    def trouble(self) -> str:
        """What a person should know and do, or ""."""
        self._look()
        told = [each.trouble for each in self._held.values() if each.trouble]
        return told[0] + (f" (and {len(told) - 1} more)" if len(told) > 1 else "") if told else ""

    def _look(self) -> None:
        """One look at a link costs microseconds, so nothing polls and nothing is notified."""
        if self._domains and (now := _version(self._folder)) != self._version:
            self._version = now
            self._read()

    def _read(self) -> None:
        before, self._held = self._held, {name: self._of(each) for name, each in self._domains.items()}
        wanted = {self._path(key) for each in self._domains.values() for key in each.keys}
        self._files = {path: known for path, known in self._files.items() if path in wanted}
        for name, held in self._held.items():
            if held.trouble and held.trouble != before[name].trouble:
                _logger.warning("%s", held.trouble)
            elif held.signers != before[name].signers and not held.trouble:
                _logger.info("dkim %s signs by %s", name, ", ".join(each.selector for each in held.signers))

    def _of(self, domain: SigningDomain) -> _Held:
        try:
            return _Held(tuple(self._signer(key) for key in domain.keys))
        except KeyUnusableError as error:
            last = self._held[domain.domain].signers
            meanwhile = "signed by the last good key" if last else "kept back"
            return _Held(last, f"mail of {domain.domain} is {meanwhile}: {error}")

    def _signer(self, stated: SigningKey) -> Signer:
        path, where = self._path(stated), f"entry {stated.entry} of Secret {stated.secret}"
        try:
            pem = path.read_bytes()
        except OSError as error:
            self._files.pop(path, None)
            raise KeyUnusableError(f"{where} is not mounted here: create it") from error
        known = self._files.get(path)
        if known is None or known[0] != pem:
            try:
                known = self._files[path] = pem, parse(pem)
            except KeyUnusableError as error:
                raise KeyUnusableError(f"{where} cannot be used, {error}") from error
        return Signer(stated.selector, known[1])

    def _path(self, key: SigningKey) -> Path:
        return self._folder / key.secret / key.entry


def _version(folder: Path) -> tuple[object, ...]:
    """Kubernetes swaps all files of a volume at once, by one link; a plain folder is looked at file by file."""
    try:
        return ((folder / "..data").readlink(),)
    except OSError:
        return look(folder)
