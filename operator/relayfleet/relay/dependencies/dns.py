"""Does a name server answer a question? That a name does not exist is an answer; SERVFAIL, REFUSED and silence are none."""

from __future__ import annotations

import dns.exception
import dns.name
import dns.rcode
import dns.rdatatype

from relayfleet.protocol.dependency import DnsTarget
from relayfleet.relay.dependencies.outcome import Failed
from relayfleet.relay.dependencies.reaching import Names, Stage, split
from relayfleet.relay.routing.query import FAILURES, USABLE, query

_FOREVER = 3600.0
"""The question's own deadline, which shall never come before ours."""


class DnsProbe:
    """Asks one question: over UDP, and over TCP when the answer does not fit. Of a name with several addresses the first is asked."""

    def __init__(self, target: DnsTarget, names: Names) -> None:
        self._host, self._port = split(target.address)
        self._names = names
        self._name, self._kind = dns.name.from_text(target.name), dns.rdatatype.from_text(target.record_type)

    async def ask(self, stage: Stage) -> None:
        """Raises Failed. UDP has no connections, so silence is a question without an answer."""
        hosts = await self._names.addresses(self._host, self._port)
        stage.ask()
        try:
            response = await query(self._name, self._kind, (hosts[0], self._port), _FOREVER)
        except FAILURES as error:
            raise Failed(f"cannot be asked: {getattr(error, 'strerror', None) or error}") from error
        if response.rcode() not in USABLE:
            raise Failed(f"answers {dns.rcode.to_text(response.rcode())}")

    def close(self) -> None:
        """Nothing is kept."""
