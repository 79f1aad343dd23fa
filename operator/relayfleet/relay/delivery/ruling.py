"""What the pool's delivery rules say of accepted mail. Pure.

    Hold     put off, until no rule holds him any more
    Bounce   ended, with a report to the sender
    Purge    ended without a word
    Requeue  what waits since before a moment is tried now, once

A rule means those for whom all its terms hold. When several do, the gentlest is followed, and of these the first by name: what was held can be
purged later, but not the other way round. A rule with a word that this version does not know (a newer operator wrote it) means nobody,
since without the word it would mean too many.

A report is bounced only by a rule that says `sender: <>`. Any other would eat the reports that it causes itself, which have the credential of their
mail and the domain of its sender, and since nobody is told of a report that failed, the mail would end without a word.

Requeue says when, the others say what: a record that a Requeue means gets its turn now, and then the other rules are asked as always. Only what a
Hold keeps waiting is left to it. What was put off after the moment of the rule is not meant, so that each record is moved once, whoever looks how often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from relayfleet.protocol.relay_config import DeliveryRule, RuleTerm
from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.mx import domain_of
from relayfleet.relay.spool.record import Recipient, Record
from relayfleet.relay.suppression.lines import normal

HOLD, BOUNCE, PURGE, REQUEUE = "Hold", "Bounce", "Purge", "Requeue"
_GENTLEST_FIRST = (HOLD, BOUNCE, PURGE)
_WORDS = frozenset({"recipientDomain", "sender", "senderDomain", "credential"})
_BEFORE, _DEFERRED_BEFORE = "acceptedBefore", "deferredBefore"
_MOMENTS = (_BEFORE, _DEFERRED_BEFORE)
_NULL = "<>"
_REPORTS = ("sender", _NULL)


class DeliveryRules:
    """The rules of one configuration. `unknown`: names of those that this version cannot follow."""

    def __init__(self, stated: Sequence[DeliveryRule] = ()) -> None:
        read = [(each, _read(each)) for each in stated]
        self.unknown = tuple(each.name for each, known in read if known is None)
        known = [each for _, each in read if each is not None]
        others = (each for each in known if each.rule.action != REQUEUE)
        self._rules = sorted(others, key=lambda each: (_GENTLEST_FIRST.index(each.rule.action), each.rule.name))
        self._holds = [each for each in self._rules if each.rule.action == HOLD]
        self._requeues = sorted(
            (each for each in known if each.rule.action == REQUEUE), key=lambda each: each.rule.name
        )

    def __len__(self) -> int:
        """How many are in force."""
        return len(self._rules) + len(self._requeues)

    @property
    def moments(self) -> frozenset[float]:
        """Of the Requeue rules: Unix times, before which a record was put off that they mean."""
        return frozenset(each.deferred_before for each in self._requeues)

    def requeued_by(self, record: Record, deferred: float, now: float) -> str:
        """Name of the rule that gives a record its turn now which waits since `deferred`, "": none does. A moment that has not come yet would mean the
        same mail again and again."""
        rules = [
            each
            for each in self._requeues
            if deferred < each.deferred_before <= now and record.accepted_at < each.before
        ]
        if not rules:
            return ""
        common = _facts(record)
        holds = [each for each in self._holds if record.accepted_at < each.before]
        for recipient in record.recipients:
            facts = {*common, ("recipientDomain", _domain(recipient.address))}
            if (rule := _first(rules, facts)) is not None and _first(holds, facts) is None:
                return rule.name
        return ""

    def of(self, record: Record, recipients: Sequence[Recipient]) -> list[DeliveryRule | None]:
        """The rule for each of the recipients of a record; None: it goes its way."""
        if not self._rules:
            return [None] * len(recipients)
        common = _facts(record)
        rules = [each for each in self._rules if record.accepted_at < each.before and not _eats_a_report(each, common)]
        return [_first(rules, {*common, ("recipientDomain", _domain(each.address))}) for each in recipients]


@dataclass(frozen=True, slots=True)
class _Known:
    """`terms`: facts that a mail must have. `before`: Unix time before which it was accepted; `deferred_before`: put off."""

    rule: DeliveryRule
    terms: frozenset[tuple[str, str]]
    before: float
    deferred_before: float


def _read(rule: DeliveryRule) -> _Known | None:
    """None: this version cannot follow it."""
    terms = frozenset((each.what, _comparable(each)) for each in rule.terms if each.what not in _MOMENTS)
    if rule.action not in (*_GENTLEST_FIRST, REQUEUE) or not terms or any(what not in _WORDS for what, _ in terms):
        return None
    try:
        before, deferred = (min(_moments(rule, what), default=math.inf) for what in _MOMENTS)
    except ValueError:
        return None
    # Without its moment a Requeue would never end; with one, any other action would mean too many where nobody heeds it.
    if (rule.action == REQUEUE) is (deferred == math.inf):
        return None
    return _Known(rule, terms, before, deferred)


def _moments(rule: DeliveryRule, what: str) -> list[float]:
    return [_moment(each.value) for each in rule.terms if each.what == what]


def _moment(text: str) -> float:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return found.timestamp()


def _eats_a_report(known: _Known, facts: set[tuple[str, str]]) -> bool:
    return known.rule.action == BOUNCE and _REPORTS in facts - known.terms


def _first(rules: Sequence[_Known], facts: set[tuple[str, str]]) -> DeliveryRule | None:
    return next((each.rule for each in rules if each.terms <= facts), None)


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
