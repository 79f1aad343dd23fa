"""From pods as the API server has them to relays as decisions see them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from relayfleet.act.kubernetes.pods import gate
from relayfleet.api.labels import CORDON
from relayfleet.controllers.relaywords import Sealing, Signing, Suppression
from relayfleet.decide.health.verdict import Verdict
from relayfleet.decide.health.words import Level, Manual, Reason
from relayfleet.decide.pool.facts import Pod, Waiting
from relayfleet.decide.pool.relays import IN_TRAFFIC, Place, Relay
from relayfleet.decide.weights import QUARTERS
from relayfleet.kube.client import Object

_LEVELS = {"": Level.ACTIVE, "None": Level.ACTIVE, "Soft": Level.SOFT, "Hard": Level.HARD}


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


def manual(pod: Object) -> Manual:
    """A person's order about the relay."""
    return {"": Manual.NONE, "None": Manual.UNCORDON}.get(cordon(pod), Manual.CORDON)


def place(pod: Object, verdict: Verdict | None) -> Place:
    """The relay's place in traffic: a person's order, or else the verdict on it (None: it is no case for health).

    A word in the annotation that is not known is taken as Soft: somebody wanted less traffic there, and a soft cordon can never empty the pool.
    """
    if manual(pod) is Manual.CORDON:
        message = f"cordoned by order: remove its annotation {CORDON} to take it back"
        return Place(_LEVELS.get(cordon(pod), Level.SOFT), QUARTERS, Reason.ORDERED.value, message)
    if verdict is None or manual(pod) is Manual.UNCORDON:
        return IN_TRAFFIC
    return Place(verdict.level, verdict.weight, verdict.reason.value, verdict.message)


def relay(pod: Object, place: Place) -> Relay:
    """The relay for decisions about traffic."""
    return Relay(
        pod["metadata"]["name"],
        addresses=addresses(pod),
        serves=serves(pod),
        leaving=leaving(pod),
        level=place.level,
        weight=place.weight,
    )


def addresses(pod: Object) -> dict[str, str]:
    """One address for each family (IPv4, IPv6)."""
    ips = [each["ip"] for each in pod["status"].get("podIPs") or []]
    return {("IPv6" if ":" in ip else "IPv4"): ip for ip in ips}


def facts(
    pod: Object,
    place: Place,
    now: datetime.datetime,
    mount_failures: Mapping[str, str],
    signing: Signing,
    sealing: Sealing,
    suppression: Suppression,
) -> Pod:
    """The relay for decisions about the status; `mount_failures` by uid of pod; `signing`, `sealing`, `suppression`: its own words on
    its keys and on the suppression list."""
    scheduled = _condition(pod, "PodScheduled")
    unscheduled = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    waiting = _waiting(pod)
    creating = waiting is not None and waiting.reason == "ContainerCreating"
    return Pod(
        pod["metadata"]["name"],
        listed=gate(pod),
        serves=serves(pod),
        age=_age(pod, now),
        place=place,
        unschedulable=scheduled.get("message", "no node fits") if unscheduled else "",
        waiting=waiting,
        mount_failure=mount_failures.get(pod["metadata"]["uid"], "") if creating else "",
        signing=signing.unavailable,
        unpublished=signing.unpublished,
        sealing=sealing.trouble,
        suppression=suppression.trouble,
        withholds=suppression.withholds,
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


def serves(pod: Object) -> bool:
    """Whether its containers are ready, by the kubelet's probes."""
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
