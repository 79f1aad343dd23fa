"""What a queue's status says: four conditions, made of facts by checks that each know one cause.

Ready: a majority of brokers takes mail, and relays can log in. Degraded: it serves, but one more failure hurts, or a person should look.
Reconciling: it is on its way, nobody has to act. Stalled: a person has to act on the resource itself.
"""

from __future__ import annotations

from collections.abc import Callable

from relayfleet.decide.queue.facts import Cluster
from relayfleet.decide.queue.members import lacking
from relayfleet.decide.queue.problems import Problem, problems
from relayfleet.decide.queue.versions import why_unsupported
from relayfleet.decide.statement import Statement

Check = Callable[[Cluster], Problem | None]


def statements(cluster: Cluster) -> tuple[Statement, ...]:
    """Ready, Degraded, Reconciling, Stalled."""
    fault = _first(_BLOCKERS, cluster)
    return (
        _ready(cluster, fault),
        _said("Degraded", _first(_SHORTCOMINGS, cluster), "nothing is missing"),
        _reconciling(cluster),
        _said("Stalled", _first(_STALLS, cluster), "nothing needs a person"),
    )


def invalid(message: str) -> tuple[Statement, ...]:
    """The conditions of a queue whose spec this operator cannot use."""
    return (
        Statement("Ready", "False", "SpecInvalid", message),
        Statement("Degraded", "False", "SpecInvalid", message),
        Statement("Reconciling", "False", "SpecInvalid", message),
        Statement("Stalled", "True", "SpecInvalid", message),
    )


def _ready(cluster: Cluster, fault: Problem | None) -> Statement:
    status = "False" if fault else "True"
    said = fault or Problem("Serving", _count(cluster))
    if cluster.paused:
        paused = f"paused: nothing is changed until the annotation relayfleet.io/paused is removed; {said.message}"
        return Statement("Ready", status, "Paused", paused)
    return Statement("Ready", status, said.reason, said.message)


def _count(cluster: Cluster) -> str:
    return f"{len(cluster.serving)} of {cluster.wanted} brokers serve"


def _first(checks: tuple[Check, ...], cluster: Cluster) -> Problem | None:
    return next((found for check in checks if (found := check(cluster))), None)


def _said(condition: str, found: Problem | None, fine: str) -> Statement:
    if found:
        return Statement(condition, "True", found.reason, found.message)
    return Statement(condition, "False", "AsAsked", fine)


def _lost(cluster: Cluster) -> Problem | None:
    return Problem("CredentialsLost", cluster.lost) if cluster.lost else None


def _keys_lost(cluster: Cluster) -> Problem | None:
    return Problem("SealingKeysLost", cluster.keys_lost) if cluster.keys_lost else None


def _refused(cluster: Cluster) -> Problem | None:
    return Problem("ApplyFailed", cluster.refused) if cluster.refused else None


def _few(cluster: Cluster) -> Problem | None:
    """Fewer than a majority serve: for a cause that is known, because it is new, or because brokers went away."""
    if len(cluster.serving) >= cluster.majority:
        return None
    if cluster.refused:
        return _refused(cluster)
    hurt = problems(cluster)
    if hurt:
        return Problem(hurt[0].reason, f"{_count(cluster)}: {hurt[0].message}")
    if cluster.silent and cluster.served:
        causes = "; ".join(each.message for each in cluster.silent)
        return Problem("NoMajority", f"{_count(cluster)}, {cluster.majority} are needed for mail to be taken: {causes}")
    if not cluster.served:
        return Problem("Creating", f"{_count(cluster)}, {cluster.majority} are needed; they are starting")
    return Problem(
        "NoMajority", f"{_count(cluster)}, {cluster.majority} are needed: mail is refused with 451 until they are back"
    )


def _not_set_up(cluster: Cluster) -> Problem | None:
    if cluster.set_up:
        return None
    if cluster.unreachable:
        return Problem("BrokerUnreachable", f"the relays' user cannot be made: {cluster.unreachable}")
    return Problem("Creating", "brokers run, the relays' user is being made")


def _apart(cluster: Cluster) -> Problem | None:
    """Brokers that serve but do not see each other, as the one that was asked tells."""
    if cluster.brokers is None or len(cluster.brokers.running) >= cluster.majority:
        return None
    return Problem(
        "NoMajority",
        f"brokers run but only {len(cluster.brokers.running)} of {cluster.wanted} belong together: can they reach each other "
        "on ports 4369 and 25672?",
    )


def _hurt(cluster: Cluster) -> Problem | None:
    hurt = problems(cluster)
    if not hurt or len(cluster.serving) < cluster.majority:
        return hurt[0] if hurt else None
    more = f" (and {len(hurt) - 1} more)" if len(hurt) > 1 else ""
    return Problem(hurt[0].reason, f"{_count(cluster)}: {hurt[0].message}{more}")


def _silent(cluster: Cluster) -> Problem | None:
    """Brokers that do not answer the probers, whatever the kubelet says: a process that stands still has a kernel that takes connections."""
    silent = cluster.silent
    if not silent:
        return None
    return Problem(silent[0].reason, f"{_count(cluster)}: {'; '.join(each.message for each in silent)}")


def _dark(cluster: Cluster) -> Problem | None:
    """It is no word about the brokers, so Ready stays as it is."""
    if not cluster.probed.dark or not cluster.set_up or not cluster.serving:
        return None
    mail = "relays publish" if cluster.probed.publishing else "whether mail is taken is not known from here"
    return Problem(
        "BrokerUnreachable",
        f"the operator's probers get no answer from any broker, {mail}: can the operator's pods reach port 5671 of the brokers'?",
    )


def _missing(cluster: Cluster) -> Problem | None:
    if not cluster.set_up or not cluster.majority <= len(cluster.serving) < cluster.wanted or _change(cluster):
        return None
    return Problem("MembersMissing", f"{_count(cluster)}; mail is safe as long as {cluster.majority} do")


def _alarmed(cluster: Cluster) -> Problem | None:
    if cluster.brokers is None or not cluster.brokers.alarms:
        return None
    node, what = cluster.brokers.alarms[0]
    return Problem(
        "BrokerAlarm",
        f"broker {node} is short of {what} and takes no more mail: give it more, or let relays deliver what waits",
    )


def _unreachable(cluster: Cluster) -> Problem | None:
    if not cluster.unreachable or not cluster.set_up or not cluster.serving:
        return None
    return Problem(
        "BrokerUnreachable",
        f"the management API does not answer, so queues cannot be looked after; mail goes on: {cluster.unreachable}",
    )


def _uncounted(cluster: Cluster) -> Problem | None:
    """Brokers that list queues and do not count them. In words that stay the same: the brokers' own name another process each time."""
    if cluster.brokers is None or not cluster.brokers.uncounted:
        return None
    brokers = cluster.pods[0].name.rpartition("-")[0] if cluster.pods else "of the brokers"
    return Problem(
        "CountsUnknown",
        "mail goes on, but the brokers answer with an error when they are asked what is in their queues, as they do when the coordinator of their "
        "streams is lost. Until they answer, no queue gets a new member, queues of pools that are gone stay, and a deletionPolicy of Delete keeps the "
        f"volumes. Restart the brokers one after the other: kubectl rollout restart statefulset {brokers}. If the error stays, look in their logs for "
        "rabbit_stream_coordinator",
    )


def _thin(cluster: Cluster) -> Problem | None:
    """Queues with fewer members than brokers."""
    if cluster.brokers is None or cluster.wanted > len(cluster.pods):
        return None
    queues = lacking(cluster.brokers, cluster.nodes)
    if not queues:
        return None
    return Problem("MembersMissing", f"{queues} queues do not have a member on each broker yet")


def _outdated(cluster: Cluster) -> Problem | None:
    """Of the broker that answered."""
    why = why_unsupported(cluster.brokers.version) if cluster.brokers else ""
    return Problem("VersionUnsupported", f"{why} by spec.template.image") if why else None


def _reconciling(cluster: Cluster) -> Statement:
    if cluster.paused:
        return Statement("Reconciling", "False", "Paused", "paused")
    return _said("Reconciling", _progress(cluster), "everything is as asked")


def _progress(cluster: Cluster) -> Problem | None:
    if cluster.lost or cluster.refused:
        return None
    if not cluster.set_up:
        return Problem("Creating", _count(cluster))
    return _change(cluster) or _thin(cluster)


def _change(cluster: Cluster) -> Problem | None:
    if len(cluster.pods) < cluster.wanted:
        return Problem("Scaling", f"{len(cluster.pods)} brokers, {cluster.wanted} wanted")
    if old := sum(not pod.current for pod in cluster.pods):
        return Problem("Rolling", f"{len(cluster.pods) - old} of {cluster.wanted} brokers have the new template")
    coming = [pod for pod in cluster.pods if not pod.ready and pod.age < 180.0]
    if coming and not problems(cluster):
        return Problem("Starting", _count(cluster))
    return None


def _shrinks(cluster: Cluster) -> Problem | None:
    if cluster.stated >= cluster.wanted:
        return None
    return Problem(
        "ScaleDownRefused",
        f"spec.rabbitmq.replicas is {cluster.stated}, but {cluster.wanted} brokers have volumes with mail: set it to {cluster.wanted}",
    )


_BLOCKERS: tuple[Check, ...] = (_lost, _few, _not_set_up, _apart)
_SHORTCOMINGS: tuple[Check, ...] = (
    _lost,
    _keys_lost,
    _refused,
    _hurt,
    _silent,
    _alarmed,
    _missing,
    _dark,
    _unreachable,
    _uncounted,
    _thin,
    _outdated,
)
_STALLS: tuple[Check, ...] = (_lost, _keys_lost, _refused, _shrinks)
