"""Why a relay does not come up: the kubelet's and the scheduler's words, turned into a cause and a cure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relayfleet.decide.health.words import Level, Reason
from relayfleet.decide.pool.facts import Pod

PATIENCE = 60.0
"""Seconds in which a relay may start, or come back, before it counts as stuck for no cause that is known."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One cause: a reason, and a sentence that says what is wrong and what to do."""

    reason: str
    message: str


_NOT_FOUND = re.compile(r'(secret|configmap) "([^"]+)" not found')
_NO_KEY = re.compile(r"references non-existent secret key: (\S+)")
_VOLUME = re.compile(r'volume "([^"]+)"')
_PURPOSE = {
    "auth": "authSecretRef",
    "tls": "tlsSecretRef",
    "dkim": "secretRef of a key in dkim",
    "suppression": "suppressionList",
    "broker": "the QueueCluster's credentials",
    "sealing": "the QueueCluster's sealing keys, see its conditions",
    "dependencies": "dependencies",
}
_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}


def problems(pods: Sequence[Pod]) -> list[Problem]:
    """One problem for each pod that has one, by name of pod; the same words for the same cause."""
    return [found for pod in sorted(pods, key=lambda each: each.name) if (found := _problem(pod))]


def _problem(pod: Pod) -> Problem | None:
    if pod.listed:
        return None
    return next((found for check in _CHECKS if (found := check(pod))), None)


def _cordoned(pod: Pod) -> Problem | None:
    place = pod.place
    if place.level is Level.ACTIVE:
        return None
    if place.reason == Reason.ORDERED:
        return Problem("Cordoned", f"relay {pod.name} is {place.message}")
    return Problem(place.reason, f"relay {pod.name} is out of traffic: {place.message}")


def _unscheduled(pod: Pod) -> Problem | None:
    if not pod.unschedulable:
        return None
    return Problem("Unschedulable", f"no node takes relay {pod.name}: {pod.unschedulable}")


def _mount(pod: Pod) -> Problem | None:
    text = pod.mount_failure
    volume = _VOLUME.search(text)
    purpose = _PURPOSE.get(volume[1], "") if volume else ""
    for_what = f" ({purpose})" if purpose else ""
    if (missing := _NOT_FOUND.search(text)) and missing[1] == "secret":
        return Problem("SecretNotFound", f"Secret {missing[2]}{for_what} does not exist: create it in this namespace")
    if key := _NO_KEY.search(text):
        return Problem(
            "SecretInvalid",
            f"the Secret of volume {volume[1] if volume else '?'}{for_what} lacks the key {key[1]}: add it",
        )
    return Problem("RelaysNotReady", f"relay {pod.name} cannot mount its files: {text}") if text else None


def _image(pod: Pod) -> Problem | None:
    if not pod.waiting or pod.waiting.reason not in _PULL:
        return None
    return Problem(
        "ImageNotPulled",
        f"the relays' image cannot be pulled, see spec.template: {pod.waiting.message or pod.waiting.reason}",
    )


def _crash(pod: Pod) -> Problem | None:
    if not pod.waiting or pod.waiting.reason != "CrashLoopBackOff":
        return None
    return Problem("Crashing", f"relay {pod.name} ends again and again: {pod.waiting.last or pod.waiting.message}")


def _held_up(pod: Pod) -> Problem | None:
    if not pod.waiting or pod.waiting.reason in ("ContainerCreating", "PodInitializing"):
        return None
    return Problem("RelaysNotReady", f"relay {pod.name} does not start: {pod.waiting.reason}: {pod.waiting.message}")


def _stuck(pod: Pod) -> Problem | None:
    if pod.serves or pod.age < PATIENCE:
        return None  # one that serves will be listed in a moment
    return Problem("RelaysNotReady", f"relay {pod.name} has not become ready for over a minute: look at its log")


_CHECKS: tuple[Callable[[Pod], Problem | None], ...] = (
    _cordoned,
    _unscheduled,
    _mount,
    _image,
    _crash,
    _held_up,
    _stuck,
)
