"""From brokers' pods as the API server has them to brokers as decisions see them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from relayfleet.act.broker.management import Endpoint
from relayfleet.children.rabbitmq import names
from relayfleet.decide.queue.facts import Pod
from relayfleet.kube.client import Object, Objects

REVISION = "controller-revision-hash"
CONTAINER = "rabbitmq"
"""The broker's, among those that others may have put into its pod."""


def numbered(queue: Object, pods: Objects) -> list[tuple[int, Object]]:
    """The pods that are this queue's brokers, with their numbers."""
    prefix = f"{names.base(queue)}-"
    found = []
    for pod in pods:
        number = pod["metadata"]["name"].removeprefix(prefix)
        if number.isdecimal() and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            found.append((int(number), pod))
    return sorted(found, key=lambda each: each[0])


def facts(queue: Object, pods: Objects, revision: str, now: datetime.datetime) -> tuple[Pod, ...]:
    """The brokers; `revision` is the StatefulSet's newest."""
    return tuple(_facts(names.node(queue, number), pod, revision, now) for number, pod in numbered(queue, pods))


def endpoints(queue: Object, pods: Objects) -> list[Endpoint]:
    """Where the management API can be asked, brokers that are ready first."""
    able = [(number, pod) for number, pod in numbered(queue, pods) if pod.get("status", {}).get("podIP")]
    able.sort(key=lambda each: not ready(each[1]))
    return [Endpoint(pod["status"]["podIP"], names.host(queue, number), names.MANAGEMENT) for number, pod in able]


def ready(pod: Object) -> bool:
    """Whether the kubelet says that it takes connections."""
    return _condition(pod, "Ready").get("status") == "True"


def newest(pod: Object) -> datetime.datetime:
    """When the pod came, or its broker began or ended the last time: whatever ran there before has ended."""
    times: list[str] = [pod["metadata"]["creationTimestamp"]]
    for each in pod.get("status", {}).get("containerStatuses") or []:
        if each["name"] == CONTAINER:
            states = (each.get("state") or {}, each.get("lastState") or {})
            times += [state["running"]["startedAt"] for state in states if state.get("running", {}).get("startedAt")]
            times += [
                state["terminated"]["finishedAt"] for state in states if state.get("terminated", {}).get("finishedAt")
            ]
    return max(datetime.datetime.fromisoformat(each.replace("Z", "+00:00")) for each in times)


def _facts(node: str, pod: Object, revision: str, now: datetime.datetime) -> Pod:
    scheduled = _condition(pod, "PodScheduled")
    unscheduled = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    statuses = _statuses(pod)
    waiting, last = _waiting(statuses)
    return Pod(
        name=pod["metadata"]["name"],
        node=node,
        ready=ready(pod),
        current=not revision or pod["metadata"].get("labels", {}).get(REVISION) == revision,
        leaving="deletionTimestamp" in pod["metadata"],
        placed=bool(pod["spec"].get("nodeName")),
        started=any(each.get("containerID") for each in pod.get("status", {}).get("containerStatuses") or []),
        age=_age(pod, now),
        unschedulable=scheduled.get("message", "no node fits") if unscheduled else "",
        waiting=waiting.get("reason", ""),
        message=waiting.get("message", ""),
        ended=_ending(last),
    )


def _statuses(pod: Object) -> Objects:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waiting(statuses: Sequence[Object]) -> tuple[Object, Object]:
    """The first container that waits for something else than its turn, and how it ended the last time."""
    for each in statuses:
        waiting = each.get("state", {}).get("waiting")
        if waiting and waiting.get("reason") not in ("PodInitializing", "ContainerCreating"):
            return waiting, each.get("lastState", {}).get("terminated") or {}
    return {}, {}


def _ending(terminated: Object) -> str:
    if not terminated:
        return ""
    reason = terminated.get("reason", "")
    return f"last exit code {terminated['exitCode']}" + (f", {reason}" if reason not in ("", "Error") else "")


def _age(pod: Object, now: datetime.datetime) -> float:
    """Seconds since the pod came or its readiness last changed."""
    changed = _condition(pod, "Ready").get("lastTransitionTime") or ""
    since = max(pod["metadata"]["creationTimestamp"], changed)
    return (now - datetime.datetime.fromisoformat(since.replace("Z", "+00:00"))).total_seconds()


def _condition(pod: Object, type_: str) -> Object:
    conditions = pod.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), {})
