"""How large the broker's own limits are, from what its pod is given."""

from __future__ import annotations

from typing import Any

from relayfleet.api.meta import size_in_bytes

MI = 2**20

RESOURCES: dict[str, Any] = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}
"""For a broker whose owner did not say: small requests, so that it starts on a small machine, and room for bursts."""


def resources(template: dict[str, Any]) -> dict[str, Any]:
    """What the broker's container asks for; what the user states replaces the default as a whole."""
    return template or RESOURCES


def memory_limit(stated: dict[str, Any]) -> int | None:
    """Bytes of the container's memory limit; None when there is none, or when it is written in a way that we do not read."""
    try:
        return size_in_bytes(str(stated.get("limits", {}).get("memory", "")))
    except ValueError:
        return None


def memory_watermark(limit: int) -> int:
    """Bytes at which the broker stops publishers: the rest is for garbage collection and the page cache, which counts too."""
    return limit * 6 // 10


def write_ahead_log(limit: int | None) -> int:
    """Bytes after which the log of all queues is rolled over. What is in it is also in memory, so it is an eighth of that."""
    return max(32 * MI, min(512 * MI, limit // 8)) if limit else 128 * MI


def free_disk(volume: int) -> int:
    """Bytes of free disk at which the broker stops publishers. Relays refuse new mail long before, by the pool's quota; this is for the
    log and segments, which need room to shrink."""
    return max(64 * MI, min(4096 * MI, volume // 10))
