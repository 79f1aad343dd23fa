"""Why a broker does not come up: the scheduler's and the kubelet's words, turned into a cause and a cure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relayfleet.decide.queue.facts import Cluster, Pod

PATIENCE, VOLUME_PATIENCE, SCHEDULING_PATIENCE = 180.0, 30.0, 5.0
"""Seconds in which a broker may start before it counts as stuck for no cause that is known, in which a volume may come, and in which the
scheduler may find a node: it first says that there is none, and then that the volume has one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One cause: a reason, and a sentence that says what is wrong and what to do."""

    reason: str
    message: str


_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_COMING = {"", "ContainerCreating", "PodInitializing"}


def problems(cluster: Cluster) -> list[Problem]:
    """One problem for each broker that has one, by name of pod."""
    hurt = (pod for pod in sorted(cluster.pods, key=lambda each: each.name) if not pod.ready and not pod.leaving)
    return [found for pod in hurt if (found := _problem(pod, cluster))]


def _problem(pod: Pod, cluster: Cluster) -> Problem | None:
    return next((found for check in _CHECKS if (found := check(pod, cluster))), None)


def _volume(pod: Pod, cluster: Cluster) -> Problem | None:
    claim = next((each for each in cluster.unbound if each.endswith(f"-{pod.name}")), None)
    if claim is None or pod.placed or pod.age < VOLUME_PATIENCE:
        return None
    detail = f" ({pod.unschedulable})" if pod.unschedulable else ""
    return Problem(
        "VolumePending",
        f"PersistentVolumeClaim {claim} gets no volume: is there a default StorageClass with room, or does "
        f"spec.rabbitmq.storage.storageClassName name one?{detail}",
    )


def _unscheduled(pod: Pod, _: Cluster) -> Problem | None:
    if not pod.unschedulable or pod.age < SCHEDULING_PATIENCE:
        return None
    return Problem("Unschedulable", f"no node takes broker {pod.name}: {pod.unschedulable}")


def _image(pod: Pod, _: Cluster) -> Problem | None:
    if pod.waiting not in _PULL:
        return None
    return Problem(
        "ImageNotPulled", f"the brokers' image cannot be pulled, see spec.template: {pod.message or pod.waiting}"
    )


def _crash(pod: Pod, _: Cluster) -> Problem | None:
    if pod.waiting != "CrashLoopBackOff":
        return None
    return Problem("Crashing", f"broker {pod.name} ends again and again ({pod.ended or pod.message}): look at its log")


def _held_up(pod: Pod, _: Cluster) -> Problem | None:
    if pod.waiting in _COMING:
        return None
    return Problem("Starting", f"broker {pod.name} does not start: {pod.waiting}: {pod.message}")


def _slow(pod: Pod, _: Cluster) -> Problem | None:
    if pod.age < PATIENCE:
        return None
    return Problem(
        "Starting", f"broker {pod.name} has not become ready for {pod.age / 60:.0f} minutes: look at its log"
    )


_CHECKS: tuple[Callable[[Pod, Cluster], Problem | None], ...] = (
    _volume,
    _unscheduled,
    _image,
    _crash,
    _held_up,
    _slow,
)
