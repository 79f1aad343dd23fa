"""Pods that a StatefulSet would wait for in vain.

A rolling update replaces one pod and waits until it is ready. When none of the brokers ever started (a wrong image, say, that was now
corrected), the first corrected one waits for a second to form a cluster with, and the StatefulSet for the first: neither would ever end. Pods of
the old template in which nothing ever ran hold no mail that they could lose, so they are deleted and made anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.decide.queue.facts import Pod


def to_replace(pods: Sequence[Pod]) -> list[str]:
    """Names of pods to delete; none while any broker serves, since then the StatefulSet gets on by itself."""
    if any(pod.ready for pod in pods):
        return []
    return sorted(pod.name for pod in pods if not pod.current and not pod.started and not pod.leaving)
