"""The list as the delivery asks it, read from the files of mounted Secrets and again when they change.

As a whole or not at all: half a list would send to those in the other half. What cannot be read leaves the last good list in use, as with
certificates and DKIM keys. A relay that never had a good one sends nothing, since to take a list for empty is what it must never do: mail
waits, and the pool says why.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from relayfleet.protocol.relay_config import SuppressionEntry
from relayfleet.relay.suppression.lines import names
from relayfleet.relay.suppression.page import Page, content_of, digest, page

MOST_BYTES = 2 * 1024**2
"""Of one file. Kubernetes keeps no Secret of more than 1 MiB."""
MOST_ENTRIES = 2_000_000
"""Of the whole list: 16 MB of memory."""
_TOLD_LINES = 5
_NOT_READ = "mail is kept back: the suppression list has not been read yet"
_logger = logging.getLogger(__name__)


class SuppressionListUnavailableError(Exception):
    """Nobody knows to whom nothing may be sent; the text says why and what to do."""


class _UnusableError(Exception):
    """A file is of no use; the text says which, why, and what to do."""


class SuppressionList:
    """The list in the files below `folder`, as `<secret>/<entry>`, once it was `read`. Without `stated` nobody is listed."""

    def __init__(self, folder: Path = Path(), stated: Sequence[SuppressionEntry] = ()) -> None:
        self._folder = folder
        self._stated = tuple(stated)
        self._pages: tuple[Page, ...] | None = None
        self._trouble = ""
        self._key = os.urandom(16)
        self._reading = asyncio.Lock()

    @property
    def trouble(self) -> str:
        """What a person should know and do, or ""."""
        return self._trouble

    @property
    def withholds(self) -> bool:
        """Whether all mail waits, since there is no good list. Not told before the first look at it."""
        return bool(self._stated) and self._pages is None and bool(self._trouble)

    @property
    def size(self) -> int:
        """Entries in use."""
        return sum(len(each.digests) for each in self._pages or ())

    def lists(self, address: str) -> str:
        """The entry that means this address, or "". Raises SuppressionListUnavailableError."""
        if not self._stated:
            return ""
        if self._pages is None:
            raise SuppressionListUnavailableError(self._trouble or _NOT_READ)
        for name in names(address):
            wanted = digest(name, self._key)
            if any(each.has(wanted) for each in self._pages):
                return name
        return ""

    async def reload(self, stated: Sequence[SuppressionEntry]) -> None:
        """The list is in these files from now on. Until they are read the last list holds."""
        async with self._reading:
            if tuple(stated) != self._stated:
                await self._read(tuple(stated))

    async def read(self) -> None:
        """The files may have changed."""
        async with self._reading:
            await self._read(self._stated)

    async def _read(self, stated: tuple[SuppressionEntry, ...]) -> None:
        """Holds `_reading`."""
        before, trouble = self._trouble, ""
        if not stated:
            self._pages = None
        else:
            try:
                # In a thread: a million entries take seconds.
                pages = await asyncio.to_thread(self._all, stated, {each.content: each for each in self._pages or ()})
            except _UnusableError as error:
                kept = "mail is kept back" if self._pages is None else "the last good suppression list is in use"
                trouble = f"{kept}: {error}"
            else:
                self._pages, trouble = pages, _wrong_lines(stated, pages)
                _logger.info("suppression list read: %d entries in %d files", self.size, len(pages))
        self._stated, self._trouble = stated, trouble
        if trouble and trouble != before:
            _logger.warning("%s", trouble)

    def _all(self, stated: Sequence[SuppressionEntry], known: dict[bytes, Page]) -> tuple[Page, ...]:
        pages, entries = [], 0
        for each in stated:
            pages.append(self._one(each, known))
            entries += len(pages[-1].digests)
            if entries > MOST_ENTRIES:
                raise _UnusableError(
                    f"it has more than {MOST_ENTRIES} entries: list domains (@example.org), or split the pool"
                )
        return tuple(pages)

    def _one(self, entry: SuppressionEntry, known: dict[bytes, Page]) -> Page:
        where = _where(entry)
        try:
            with (self._folder / entry.secret / entry.entry).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except FileNotFoundError as error:
            raise _UnusableError(f"{where} is not mounted here: create it") from error
        except OSError as error:
            raise _UnusableError(f"{where} cannot be read: {error.strerror}") from error
        if len(data) > MOST_BYTES:
            raise _UnusableError(f"{where} has more than {MOST_BYTES} bytes: split it")
        if same := known.get(content_of(data)):
            return same
        try:
            found = page(data, self._key)
        except UnicodeDecodeError as error:
            raise _UnusableError(f"{where} is no UTF-8 text: write one address or @domain a line") from error
        if found.wrong and not found.digests:
            # Another format altogether; an empty file is a list of nobody.
            raise _UnusableError(f"no line of {where} can be read: write one address or @domain in each")
        return found


def _where(entry: SuppressionEntry) -> str:
    return f"entry {entry.entry} of Secret {entry.secret}"


def _wrong_lines(stated: Sequence[SuppressionEntry], pages: Sequence[Page]) -> str:
    """By number, never by content: addresses are personal data."""
    told = [(entry, each.wrong) for entry, each in zip(stated, pages, strict=True) if each.wrong]
    if not told:
        return ""
    entry, wrong = told[0]
    some = ", ".join(map(str, wrong[:_TOLD_LINES])) + (", …" if len(wrong) > _TOLD_LINES else "")
    more = f" (and {len(told) - 1} more files)" if len(told) > 1 else ""
    return f"lines {some} of {_where(entry)}{more} suppress nobody: write one address or @domain in each"
