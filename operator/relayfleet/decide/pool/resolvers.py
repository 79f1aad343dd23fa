"""What a pool's status says of the DNS resolvers of its relays: one condition, and that the pool is hurt where no resolver is left."""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.decide.pool.facts import DOWN, Declared, Resolvers, Word
from relayfleet.decide.pool.problems import Problem
from relayfleet.decide.statement import Statement

_KIND = "ResolversReady"


def statement(resolvers: Resolvers) -> Statement | None:
    """ResolversReady; None while nobody names or tells of any."""
    if found := [message for each in resolvers.seen if (message := _down(each))]:
        return Statement(_KIND, "False", "ResolverDown", "; ".join([*found, _then(resolvers.seen)]))
    told = [each for each in resolvers.seen if each.words]
    if not told:
        silence = Statement(_KIND, "Unknown", "NotTold", "no relay has told of its resolvers yet")
        return silence if resolvers.named else None
    if not resolvers.named and (lone := _lone(told)):
        return Statement(_KIND, "True", "OneResolver", _ONE.format(", ".join(lone)))
    names = ", ".join(each.name for each in told)
    return Statement(_KIND, "True", "ResolversAnswer", f"all relays that tell get answers from {names}")


def hindering(resolvers: Resolvers) -> Problem | None:
    """At least one relay gets an answer from none of its resolvers."""
    cut_off = _cut_off(resolvers.seen)
    if not cut_off:
        return None
    causes = "; ".join(message for each in resolvers.seen if (message := _down(each)))
    return Problem("ResolverDown", f"{causes}; {_then(resolvers.seen)}")


_ONE = (
    "relays have one resolver, {} of their pods' resolv.conf, which answers: when it does not, they deliver to names that they asked for "
    "within a day, and other mail waits. Name at least two in spec.resolvers"
)


def _down(each: Declared) -> str:
    words = each.seen(DOWN)
    if not words:
        return ""
    since, why = min(word.since for word in words), f": {words[0].why}" if words[0].why else ""
    return f"resolver {each.name} does not answer {len(words)} of {len(each.words)} relays since {since}{why}"


def _then(seen: Sequence[Declared]) -> str:
    """What it means for mail."""
    cut_off, relays = _cut_off(seen), {relay for each in seen for relay in each.words}
    if not cut_off:
        return "they ask the others"
    return f"{len(cut_off)} of {len(relays)} relays have no other one: they deliver to names that they asked for within a day, other mail waits"


def _cut_off(seen: Sequence[Declared]) -> set[str]:
    """Relays that see all of their resolvers down."""
    relays = {relay for each in seen for relay in each.words}
    return {relay for relay in relays if all(word.state == DOWN for word in _words(seen, relay))}


def _lone(told: Sequence[Declared]) -> list[str]:
    """Resolvers that are the only one of a relay."""
    relays = {relay for each in told for relay in each.words}
    alone = {relay for relay in relays if len(_words(told, relay)) == 1}
    return [each.name for each in told if alone & each.words.keys()]


def _words(seen: Sequence[Declared], relay: str) -> list[Word]:
    return [each.words[relay] for each in seen if relay in each.words]
