"""What a pool waits for whose name had another one, while the queues of that one are being removed (docs/decisions/0017)."""

from __future__ import annotations

from relayfleet.decide.pool.facts import Pool, Sweep
from relayfleet.decide.pool.problems import Problem


def waiting(pool: Pool) -> Problem | None:
    """Why no relay serves yet: none gets a user at the brokers."""
    if pool.sweep is None or pool.listed or pool.last_resort or pool.wanted == 0:
        return None
    return Problem(
        "QueuesBeingRemoved",
        f"relays get no user at the brokers yet, since queues of an earlier RelayPool of this name are being removed: {_until(pool.sweep)}",
    )


def stuck(pool: Pool) -> Problem | None:
    """The same where time alone may not end it."""
    return waiting(pool) if pool.sweep and pool.sweep.broker else None


def _until(sweep: Sweep) -> str:
    if not sweep.broker:
        return "this takes seconds"
    asked = f"broker {sweep.broker} was asked to remove {sweep.removed}, did not answer, and may still do it"
    if sweep.stream:
        return f"{asked}. This ends when the stream is gone or all brokers are up: bring {sweep.broker} back"
    return (
        f"{asked}. This ends when all brokers are up: bring {sweep.broker} back. If it does not come back, delete its pod (kubectl delete pod {sweep.broker}, with --force "
        "only if its node is off for good)"
    )
