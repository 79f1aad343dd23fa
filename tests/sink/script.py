"""The script: all rules as they stand, and how often each was used. Asked at every stage of every session."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tests.sink.actions import Action, Stage
from tests.sink.orders import orders_in
from tests.sink.rules import Facts, Rule, read_rules

COUNTERS_MAX = 200_000
"""Counted recipients, clients and sessions; beyond that the oldest are forgotten."""


class Script:
    """Empty at first: everything is accepted."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._at: dict[Stage, list[Rule]] = {}
        self._since = time.monotonic()
        self._counters: dict[tuple[int, str], int] = {}

    def put(self, document: Any) -> None:
        """Replace all rules and begin to count anew. Raises RuleError and changes nothing."""
        rules = read_rules(document)
        self.rules = rules
        self._at = {}
        for rule in rules:
            for stage in rule.stages:
                self._at.setdefault(stage, []).append(rule)
        self._since = time.monotonic()
        self._counters.clear()

    def find(self, stage: Stage, facts: Facts, recipients: Sequence[str] = ()) -> Action | None:
        """What to do at this stage in place of the usual. `recipients`: the one of a RCPT, or all at the dot."""
        if rules := self._at.get(stage):
            age = time.monotonic() - self._since
            for index, rule in enumerate(rules):
                recipient = rule.fits(facts, recipients, age)
                if recipient is not None and self._is_due(rule, self._count(index, stage, rule, facts, recipient)):
                    rule.hits += 1
                    return rule.action
        if stage == "mail":
            return self._ordered(stage, (facts.sender,))
        return self._ordered(stage, recipients) if recipients else None

    def _ordered(self, stage: Stage, addresses: Sequence[str]) -> Action | None:
        for address in addresses:
            if "+" not in address:
                continue
            for index, order in enumerate(orders_in(address)):
                if order.stage == stage and (
                    not order.first or self._up(-1 - index, f"{stage} {address}") <= order.first
                ):
                    return order.action
        return None

    def _count(self, index: int, stage: Stage, rule: Rule, facts: Facts, recipient: str) -> int:
        return self._up(index, f"{stage} {rule.counted_by(facts, recipient)}") if rule.skip or rule.first else 1

    def _up(self, index: int, name: str) -> int:
        key = (index, name)
        count = self._counters.get(key, 0) + 1
        self._counters[key] = count
        if len(self._counters) > COUNTERS_MAX:
            del self._counters[next(iter(self._counters))]
        return count

    @staticmethod
    def _is_due(rule: Rule, count: int) -> bool:
        """Whether the rule applies the `count`-th time that it fits."""
        if count <= rule.skip or (rule.first and count > rule.skip + rule.first):
            return False
        return rule.share >= 1 or rule.chance.random() < rule.share
