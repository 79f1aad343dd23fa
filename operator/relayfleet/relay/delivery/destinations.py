"""Which recipients of a record go which way. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.relay.delivery.judging import UNROUTABLE
from relayfleet.relay.delivery.outcome import Fate, Outcome, Place
from relayfleet.relay.routing import mx
from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.spool.record import Recipient


def by_domain(recipients: Sequence[Recipient]) -> tuple[dict[str, list[Recipient]], list[Outcome]]:
    """Recipients by domain as DNS knows it, and the outcomes of those whose domain can be none."""
    domains: dict[str, list[Recipient]] = {}
    hopeless = []
    for each in recipients:
        try:
            domains.setdefault(mx.domain_of(each.address), []).append(each)
        except DnsPermanent as error:
            hopeless.append(Outcome(each, Fate.PERMANENT, "dns", 0, error.status, error.text, Place(), UNROUTABLE))
    return domains, hopeless
