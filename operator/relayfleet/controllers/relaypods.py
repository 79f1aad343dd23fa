"""From pods as the API server has them to relays as decisions see them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from relayfleet.act.kubernetes.pods import gate
from relayfleet.api.labels import CORDON
from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.facts import Pod, Waiting
from relayfleet.decide.pool.relays import Relay
from relayfleet.kube.client import Object

_LEVELS = {"": Level.ACTIVE, "Soft": Level.SOFT, "Hard": Level.HARD}


def ended(pod: Object) -> bool:
    """An evicted or failed pod: its address may be another pod's by now."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def leaving(pod: Object) -> bool:
    """True while the pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def cordon(pod: Object) -> str:
    """The word that a person wrote on the pod, or ""."""
    word: str = pod["metadata"].get("annotations", {}).get(CORDON, "")
    return word


def odd_cordon(pod: Object) -> bool:
    """A cordon annotation that is no known word."""
    return cordon(pod) not in _LEVELS


def level(pod: Object) -> Level:
    """The level that a person ordered. A word that is not known is taken as Soft: somebody wanted less traffic there, and a soft cordon
    can never empty the pool."""
    return _LEVELS.get(cordon(pod), Level.SOFT)


def relay(pod: Object) -> Relay:
    """The relay for decisions about traffic."""
    ips = [each["ip"] for each in pod["status"].get("podIPs") or []]
    return Relay(
        pod["metadata"]["name"],
        addresses={("IPv6" if ":" in ip else "IPv4"): ip for ip in ips},
        serves=_serves(pod),
        leaving=leaving(pod),
        level=level(pod),
    )


def facts(pod: Object, now: datetime.datetime, mount_failures: Mapping[str, str]) -> Pod:
    """The relay for decisions about the status; `mount_failures` by uid of pod."""
    scheduled = _condition(pod, "PodScheduled")
    unscheduled = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    waiting = _waiting(pod)
    creating = waiting is not None and waiting.reason == "ContainerCreating"
    return Pod(
        pod["metadata"]["name"],
        listed=gate(pod),
        serves=_serves(pod),
        age=_age(pod, now),
        level=level(pod),
        unschedulable=scheduled.get("message", "no node fits") if unscheduled else "",
        waiting=waiting,
        mount_failure=mount_failures.get(pod["metadata"]["uid"], "") if creating else "",
    )


def held_up(pods: Sequence[Object], now: datetime.datetime) -> bool:
    """True when a pod has been waiting for its container for so long that its events are worth reading."""
    return any(
        (waiting := _waiting(pod)) and waiting.reason == "ContainerCreating" and _age(pod, now) > 3 for pod in pods
    )


def mount_failures(events: Sequence[Object]) -> dict[str, str]:
    """The latest mount failure of each pod, by its uid."""
    ordered = sorted(events, key=lambda each: each.get("lastTimestamp") or each.get("eventTime") or "")
    return {each["involvedObject"]["uid"]: each["message"] for each in ordered if each["reason"] == "FailedMount"}


def _serves(pod: Object) -> bool:
    return _condition(pod, "ContainersReady").get("status") == "True"


def _condition(pod: Object, type_: str) -> Object:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), {})


def _waiting(pod: Object) -> Waiting | None:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    for status in statuses:
        if waiting := status.get("state", {}).get("waiting"):
            last = _last(status.get("lastState", {}).get("terminated"), status.get("restartCount", 0))
            return Waiting(waiting.get("reason", ""), waiting.get("message", ""), last)
    return None


def _last(terminated: Object | None, restarts: int) -> str:
    if not terminated:
        return ""
    log = " ".join(terminated.get("message", "").split())[-300:]
    return f"{restarts} restarts, last exit code {terminated['exitCode']}" + (
        f": {log}" if log else "; look at its log"
    )


def _age(pod: Object, now: datetime.datetime) -> float:
    """Seconds since the pod came or its readiness last changed."""
    changed = _condition(pod, "ContainersReady").get("lastTransitionTime") or ""
    since = max(pod["metadata"]["creationTimestamp"], changed)
    return (now - datetime.datetime.fromisoformat(since.replace("Z", "+00:00"))).total_seconds()
