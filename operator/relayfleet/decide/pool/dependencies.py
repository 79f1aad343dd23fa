"""What a pool's status says of its dependencies: one condition for all, and what it means for the pool's mail when one is down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relayfleet.decide.pool.facts import DOWN, ON_BACKUP, UNKNOWN, Declared, Word
from relayfleet.decide.pool.problems import Problem
from relayfleet.decide.statement import Statement


def statement(declared: Sequence[Declared]) -> Statement | None:
    """DependenciesReady; None when nothing is declared."""
    if not declared:
        return None
    for status, reason, check in _CHECKS:
        if found := [message for each in declared if (message := check(each))]:
            return Statement("DependenciesReady", status, reason, "; ".join(found))
    names = ", ".join(each.name for each in declared)
    return Statement("DependenciesReady", "True", "AllAnswer", f"all relays that tell get answers from {names}")


def deferring(declared: Sequence[Declared], relays: Sequence[str]) -> Problem | None:
    """A dependency for which every one of these relays puts new mail off: then the pool takes none."""
    down = {relay for each in declared if each.defers for relay, word in each.words.items() if word.state == DOWN}
    if not relays or not down.issuperset(relays):
        return None
    return Problem("DependencyDown", f"no new mail is taken: {_causes(declared)}")


def hindering(declared: Sequence[Declared]) -> Problem | None:
    """A dependency for which at least one relay puts new mail off."""
    causes = _causes(declared)
    return Problem("DependencyDown", causes) if causes else None


def _causes(declared: Sequence[Declared]) -> str:
    return "; ".join(message for each in declared if each.defers and (message := _down(each)))


def _down(each: Declared) -> str:
    words = each.seen(DOWN)
    if not words:
        return ""
    then = "; they answer new mail with 451 until it is back" if each.defers else ""
    return f"dependency {each.name} does not answer {_relays(each, words)}{_why(words)}{then}"


def _untold(each: Declared) -> str:
    known = len(each.words) - len(each.seen(UNKNOWN))
    if known:
        return ""
    why = next((word.why for word in each.seen(UNKNOWN) if word.why), "")
    return f"no relay has asked dependency {each.name} yet{f': {why}' if why else ''}"


def _on_backup(each: Declared) -> str:
    words = each.seen(ON_BACKUP)
    return f"the backup of dependency {each.name} is used by {_relays(each, words)}{_why(words)}" if words else ""


def _relays(each: Declared, words: Sequence[Word]) -> str:
    return f"{len(words)} of {len(each.words)} relays since {min(word.since for word in words)}"


def _why(words: Sequence[Word]) -> str:
    return f": {words[0].why}" if words[0].why else ""


_CHECKS: tuple[tuple[str, str, Callable[[Declared], str]], ...] = (
    ("False", "DependencyDown", _down),
    ("Unknown", "NotTold", _untold),
    ("True", "OnBackup", _on_backup),
)
