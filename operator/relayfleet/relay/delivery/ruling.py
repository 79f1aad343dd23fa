"""What the pool's delivery rules say of a recipient before anything is sent. Pure.

    Hold     put off, until no rule holds him any more
    Bounce   ended, with a report to the sender
    Purge    ended without a word

A rule means those for whom all its terms hold. When several do, the gentlest is followed, and of these the first by name: what was held can be
purged later, but not the other way round. A rule with a word that this version does not know (a newer operator wrote it) means nobody,
since without the word it would mean too many.
"""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.protocol.relay_config import DeliveryRule, RuleTerm
from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.mx import domain_of
from relayfleet.relay.spool.record import Recipient, Record
from relayfleet.relay.suppression.lines import normal

HOLD, BOUNCE, PURGE = "Hold", "Bounce", "Purge"
_GENTLEST_FIRST = (HOLD, BOUNCE, PURGE)
_WORDS = frozenset({"recipientDomain", "sender", "senderDomain", "credential"})
_NULL = "<>"


class DeliveryRules:
    """The rules of one configuration. `unknown`: names of those that this version cannot follow."""

    def __init__(self, stated: Sequence[DeliveryRule] = ()) -> None:
        known = [each for each in stated if _known(each)]
        self.unknown = tuple(each.name for each in stated if not _known(each))
        ordered = sorted(known, key=lambda each: (_GENTLEST_FIRST.index(each.action), each.name))
        self._rules = [(each, {(term.what, _comparable(term)) for term in each.terms}) for each in ordered]

    def __len__(self) -> int:
        """How many are in force."""
        return len(self._rules)

    def of(self, record: Record, recipients: Sequence[Recipient]) -> list[DeliveryRule | None]:
        """The rule for each of the recipients of a record; None: it goes its way."""
        if not self._rules:
            return [None] * len(recipients)
        common = _facts(record)
        return [self._first({*common, ("recipientDomain", _domain(each.address))}) for each in recipients]

    def _first(self, facts: set[tuple[str, str]]) -> DeliveryRule | None:
        return next((rule for rule, terms in self._rules if terms <= facts), None)


def _known(rule: DeliveryRule) -> bool:
    return rule.action in _GENTLEST_FIRST and bool(rule.terms) and all(each.what in _WORDS for each in rule.terms)


def _facts(record: Record) -> set[tuple[str, str]]:
    return {
        ("credential", record.credential),
        ("sender", _address(record.sender)),
        ("senderDomain", _domain(record.sender)),
    }


def _comparable(term: RuleTerm) -> str:
    return _address(term.value) if term.what == "sender" else term.value


def _address(text: str) -> str:
    """As addresses are compared, which is without case. The null sender has no domain."""
    if text in ("", _NULL):
        return _NULL
    try:
        return normal(text)
    except DnsPermanent:
        return text


def _domain(address: str) -> str:
    """ "": it has none, or none that can be."""
    try:
        return domain_of(address) if address else ""
    except DnsPermanent:
        return ""
