"""Which envelope senders a credential may use: those of its domains and of what is below them; all, when none are stated for it.

The null reverse-path belongs to no domain and is everybody's: notifications have it. Names are compared as they go into DNS.
"""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.protocol.relay_config import Submitter
from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.mx import domain_of


class Senders:
    """The domains of one configuration, by name of credential."""

    def __init__(self, submitters: Sequence[Submitter] = ()) -> None:
        self._domains = {each.name: frozenset(each.domains) for each in submitters}

    def owns(self, credential: str, sender: str) -> bool:
        """Whether the credential ("": a client of an allowed network) may send as this mailbox, and be told what became of such mail."""
        domains = self._domains.get(credential) if credential else None
        if domains is None or not sender:
            return True
        try:
            name = domain_of(sender)
        except DnsPermanent:
            return False
        while name and name not in domains:
            name = name.partition(".")[2]
        return bool(name)
