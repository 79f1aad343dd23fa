"""Who may submit mail: lines `name:hash` as `htpasswd -B` writes them, in the files of a mounted Secret.

A line that cannot be used is skipped and logged by file and number, never by content, so that one slip does not lock everybody out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from relayfleet.relay.server.watched import Signature, entries, signature

_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_LARGEST_COST = 15
"""Beyond it one verification takes more than some three seconds of a processor."""
_LOGGED_LINES = 20
_logger = logging.getLogger(__name__)


class CredentialFiles:
    """The credentials of one folder, read again when a file in it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signature: Signature | None = None
        self._hashes: Mapping[str, bytes] = {}

    def hashes(self) -> Mapping[str, bytes]:
        """Name → bcrypt hash, as of now."""
        files = entries(self._folder)
        now = signature(files)
        if now != self._signature:
            self._hashes = _read(files)
            self._signature = now
            _logger.info("credentials read from %s: %d", self._folder, len(self._hashes))
        return self._hashes


def parse(text: str, origin: str) -> dict[str, bytes]:
    """The usable lines of one file; `origin` names it in the log."""
    found: dict[str, bytes] = {}
    wrong = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition(":")
        match = _HASH.fullmatch(value)
        if name.isprintable() and name and match and 4 <= int(match[1]) <= _LARGEST_COST:
            found[name] = value.encode()
        else:
            wrong.append(str(number))
    if wrong:
        _logger.warning(
            "%s: lines %s skipped, each must be name:hash with a bcrypt hash of cost 4 to %d, as htpasswd -B writes",
            origin,
            ", ".join(wrong[:_LOGGED_LINES]),
            _LARGEST_COST,
        )
    return found


def _read(files: list[Path]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for each in files:
        try:
            found.update(parse(each.read_text(encoding="utf-8"), str(each)))
        except (OSError, UnicodeDecodeError) as error:
            _logger.warning("%s: credentials not read: %s", each, error)
    return found
