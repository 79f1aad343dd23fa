"""What a pool's status says: four conditions, and those of fencing, of its dependencies and of its resolvers, made of facts by checks that each
know one cause.

Ready: mail is accepted and sent. Degraded: it serves, but with less than was asked for, or something stands in the way that time alone
does not cure. Reconciling: it is on its way, nobody has to act. Stalled: a person has to act on the pool itself.
One cause is said in one way: the first check that finds something gives reason and message to Ready, or to Degraded while relays serve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relayfleet.decide.pool import dependencies, fences, resolvers, sweeping
from relayfleet.decide.pool.facts import Pool
from relayfleet.decide.pool.problems import Problem, problems
from relayfleet.decide.statement import Statement


def statements(pool: Pool) -> tuple[Statement, ...]:
    """Ready, Degraded, Reconciling, Stalled; Fencing of a pool that has a queue; DependenciesReady and ResolversReady where there is something to say."""
    four = (_ready(pool), _degraded(pool), _reconciling(pool), _stalled(pool))
    more = (
        fences.statement(pool),
        dependencies.statement(pool.dependencies),
        resolvers.statement(pool.resolvers),
    )
    return (*four, *(each for each in more if each))


def invalid(message: str) -> tuple[Statement, ...]:
    """The conditions of a pool whose spec this operator cannot read."""
    return (
        Statement("Ready", "False", "SpecInvalid", message),
        Statement("Degraded", "False", "SpecInvalid", message),
        Statement("Reconciling", "False", "SpecInvalid", message),
        Statement("Stalled", "True", "SpecInvalid", message),
    )


def _ready(pool: Pool) -> Statement:
    fault = next((found for check in _BLOCKERS if (found := check(pool))), None)
    status = "False" if fault else "True"
    if pool.paused:
        return Statement(
            "Ready",
            status,
            "Paused",
            f"paused: {_PAUSED}; {fault.message if fault else _serving(pool)}{_ordered(pool)}",
        )
    if fault:
        return Statement("Ready", "False", fault.reason, fault.message + _ordered(pool))
    if pool.wanted == 0:
        return Statement(
            "Ready",
            "True",
            "ScaledToZero",
            "no relays, as asked: no mail is accepted here, and mail in the queue waits",
        )
    return Statement("Ready", "True", "Serving", _serving(pool) + _ordered(pool))


_PAUSED = "nothing is changed until the annotation relayfleet.io/paused is removed, so new relays get no traffic, and rollouts and drains wait"


def _serving(pool: Pool) -> str:
    sources = pool.sources.used
    by = ", sent by " + ", ".join(sources[:5]) + (", …" if len(sources) > 5 else "") if sources else ""
    if pool.last_resort:
        return f"no relay is in traffic, {pool.last_resort} cordoned ones take mail as the last resort{by}"
    return f"{pool.listed} of {pool.wanted} relays take mail{by}"


def _ordered(pool: Pool) -> str:
    """A rule that is forgotten goes on ending mail: it is told as long as it is there. Nobody is to rely on one that is not followed yet."""
    if not pool.rules:
        return ""
    if pool.paused:
        return f"; deliveryRules are stated, but while paused relays are told of no change to them: {_some(pool.rules)}"
    late = f" (perhaps not yet at {pool.outdated} relays, which have an older template)" if pool.outdated else ""
    requeued = tuple(each for each in pool.rules if each.endswith(_REQUEUE))
    others = tuple(each for each in pool.rules if each not in requeued)
    told = f"; by deliveryRules some mail is not tried: {_some(others)}{late}" if others else ""
    return told + (f"; by deliveryRules waiting mail is tried sooner: {_some(requeued)}{late}" if requeued else "")


_REQUEUE = "(Requeue)"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _no_queue(pool: Pool) -> Problem | None:
    if pool.queue.found:
        return None
    return Problem("QueueNotFound", f"QueueCluster {pool.queue.name} does not exist: create it in this namespace")


def _queue_not_ready(pool: Pool) -> Problem | None:
    if pool.queue.ready:
        return None
    return Problem("QueueNotReady", f"QueueCluster {pool.queue.name} is not ready: {pool.queue.message}")


def _no_relay(pool: Pool) -> Problem | None:
    if pool.listed or pool.last_resort or pool.wanted == 0:
        return None
    if pool.refused:
        return Problem("ApplyFailed", pool.refused)
    if found := problems(pool.pods):
        return found[0]
    return Problem("NoRelayReady", f"none of {pool.wanted} relays is ready yet")


def _no_source(pool: Pool) -> Problem | None:
    """Relays without a SendingIP accept mail and hold it, up to the pool's quota: it is then safe in the queue and goes out when an
    address appears, whereas a refusal would leave it to clients that often have no queue of their own."""
    sources = pool.sources
    if sources.used or pool.wanted == 0:
        return None
    also = (
        f"; of those that match, {', '.join(sources.elsewhere[:5])} belong to other regions"
        if sources.elsewhere
        else ""
    )
    also += f"; {', '.join(sources.unclaimed[:5])} cannot be used, see their conditions" if sources.unclaimed else ""
    return Problem(
        "NoSendingIP",
        f"mail is accepted and held, none is sent: no SendingIP of region {pool.region} matches sendingIPSelector{also}. Create or label one",
    )


def _withheld(pool: Pool) -> Problem | None:
    """No relay in traffic knows to whom nothing may be sent, so none sends. Relays that are about to go count as well: a Secret that is missing
    keeps their successors from coming."""
    takers = set(pool.takers)
    told = sorted((each.name, each.suppression) for each in pool.pods if each.name in takers and each.withholds)
    if not told or len(told) < len(takers):
        return None
    return Problem(
        "SuppressionListUnavailable", f"mail is accepted and held, none is sent: {told[0][1]} (relay {told[0][0]})"
    )


def _deferring(pool: Pool) -> Problem | None:
    return dependencies.deferring(pool.dependencies, pool.takers)


_BLOCKERS: tuple[Callable[[Pool], Problem | None], ...] = (
    _no_queue,
    _queue_not_ready,
    sweeping.waiting,
    _no_relay,
    _deferring,
    _no_source,
    _withheld,
)


def _degraded(pool: Pool) -> Statement:
    if found := _short(pool):
        return Statement("Degraded", "True", found.reason, found.message)
    return Statement("Degraded", "False", "AsAsked", "nothing is missing")


def _short(pool: Pool) -> Problem | None:
    """What is missing, first what holds mail up, then relays that are out of traffic while others serve. While no relay serves, what is merely on its way is not called degraded."""
    hurt = problems(pool.pods)
    if not pool.listed and not pool.last_resort:
        return sweeping.stuck(pool) or (hurt[0] if hurt and pool.wanted else None)
    queue = _no_queue(pool) or (None if pool.queue.coming else _queue_not_ready(pool))
    if (
        found := queue
        or _deferring(pool)
        or _no_source(pool)
        or _withheld(pool)
        or dependencies.hindering(pool.dependencies)
        or resolvers.hindering(pool.resolvers)
    ):
        return found
    if hurt:
        more = f" (and {len(hurt) - 1} more)" if len(hurt) > 1 else ""
        return Problem(hurt[0].reason, f"{_serving(pool)}: {hurt[0].message}{more}")
    waits = _unsigned(pool) or _unlisted(pool) or _unopened(pool)
    if found := waits or _unpublished(pool):
        return found
    if pool.odd_cordons:
        return _odd(pool)
    return None


def _unsigned(pool: Pool) -> Problem | None:
    """Relays of an older template lack the Secrets of a newer one, and are about to go: nothing to tell."""
    if pool.outdated or not pool.settled:
        return None
    told = sorted((each.name, each.signing) for each in pool.pods if each.signing)
    if not told:
        return None
    return Problem("SigningKeyUnavailable", f"{told[0][1]} (relay {told[0][0]})")


def _unpublished(pool: Pool) -> Problem | None:
    """One relay that cannot see the record is enough to tell: the world's receivers are as different as relays are."""
    told = sorted((each.name, each.unpublished) for each in pool.pods if each.unpublished)
    if pool.outdated or not pool.settled or not told:
        return None
    return Problem("SigningKeyNotPublished", f"{told[0][1]} (relay {told[0][0]})")


def _unlisted(pool: Pool) -> Problem | None:
    """As with keys: relays of an older template lack the Secrets of a newer one."""
    if pool.outdated or not pool.settled:
        return None
    told = sorted((not each.withholds, each.name, each.suppression) for each in pool.pods if each.suppression)
    if not told:
        return None
    goes_on, name, text = told[0]
    reason = "SuppressionListInvalid" if goes_on else "SuppressionListUnavailable"
    return Problem(reason, f"{text} (relay {name})")


def _unopened(pool: Pool) -> Problem | None:
    told = sorted((each.name, each.sealing) for each in pool.pods if each.sealing)
    if not told:
        return None
    message = f"{told[0][1]} (relay {told[0][0]}; the keys are in Secret {pool.queue.name}-sealing)"
    return Problem("SealingKeyUnavailable", message)


def _odd(pool: Pool) -> Problem:
    return Problem(
        "Cordoned",
        f"annotation relayfleet.io/cordon of {', '.join(pool.odd_cordons)} is none of Soft, Hard and None; taken as Soft",
    )


def _reconciling(pool: Pool) -> Statement:
    if pool.paused:
        return Statement("Reconciling", "False", "Paused", "paused")
    if found := _progress(pool):
        return Statement("Reconciling", "True", found.reason, found.message)
    return Statement("Reconciling", "False", "AsAsked", "nothing is under way")


def _progress(pool: Pool) -> Problem | None:
    if pool.refused:
        return None
    if not pool.queue.found or pool.queue.coming:
        return _no_queue(pool) or _queue_not_ready(pool)
    pods, listed = len(pool.pods), pool.listed
    if pool.outdated:
        return Problem("Rolling", f"{pods - pool.outdated} of {pool.wanted} relays have the new template")
    if pods != pool.wanted:
        return Problem("Scaling", f"{pods} relays, {pool.wanted} wanted")
    if not pool.settled:
        return Problem("Rolling", "the Deployment has not settled yet")
    if listed < pods and len(problems(pool.pods)) < pods - listed:
        return Problem("Starting", f"{listed} of {pool.wanted} relays take mail")
    return None


def _stalled(pool: Pool) -> Statement:
    if pool.refused:
        return Statement("Stalled", "True", "ApplyFailed", pool.refused)
    return Statement("Stalled", "False", "AsAsked", "nothing needs a person")
