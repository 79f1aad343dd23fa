"""The discard address: to which probers send, and from which nothing goes on.

`<word>@discard.relayfleet.invalid`, where the word is a secret of the pool that its relays and the probers know. A mail from this address
to this address is a probe: it is taken without AUTH and stored like any mail, and whichever relay takes it from the queue throws it away.
Without the file there is no such address, and then everything here is ordinary mail to a domain that does not exist.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from relayfleet.protocol.probing import DISCARD_DOMAIN
from relayfleet.relay.files import look
from relayfleet.relay.spool.record import Record


class Discard:
    """The address whose word is in `file`; the file may come, change and go. None: there is none."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._version: tuple[object, ...] = ()
        self._word = b""

    def is_address(self, address: str) -> bool:
        """Whether this mailbox is the discard address. How long it takes tells nothing of the word."""
        local, _, domain = address.rpartition("@")
        # The domain is no secret, and mail to any other shall not cost a look at the file.
        if domain.lower() != DISCARD_DOMAIN or not (word := self._now()):
            return False
        return hmac.compare_digest(local.encode(), word)

    def takes(self, record: Record) -> bool:
        """Whether this record is a probe, sent to nobody but the discard address."""
        return self.is_address(record.sender) and all(self.is_address(each.address) for each in record.recipients)

    def _now(self) -> bytes:
        if self._file is None:
            return b""
        version = look(self._file)
        if version != self._version:
            self._version = version
            self._word = _read(self._file)
        return self._word


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes().strip()
    except OSError:
        return b""
