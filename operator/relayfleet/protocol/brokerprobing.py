"""What leader and prober say to each other about brokers. Not messages of their own: what is to be probed is a part of `probing.Watch`, what was
seen a part of `probing.Seen`, and a side that does not know of brokers reads past them.

The credentials open nothing but canaries: queues of one record whose names begin with `CANARY`, reached by `EXCHANGE`. The default exchange
would take records for every queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

CANARY = "relayfleet.canary."
"""Begins the names of all queues that probers make, and of no other queue."""
EXCHANGE = "amq.direct"
MOST_SECONDS = 1e12
"""Longer than any clock has run."""
MOST_WHY = 200
"""Characters of a reason that travel."""

Kind = Literal["Answered", "Silent", "Refused", "Unreachable", "Reset", "Erred", "Blocked", "Denied"]
"""Blocked: an alarm of the brokers keeps records out. Denied: the credentials are not the brokers', which is no fault of theirs."""
Step = Literal["Connect", "Publish"]
_KINDS, _STEPS = get_args(Kind), get_args(Step)


class BrokerError(ValueError):
    """No broker to probe, or no sight of one. The text tells no credentials."""


@dataclass(frozen=True, slots=True)
class BrokerTarget:
    """One broker to probe over TLS. `host` is an IP address, `server_name` what the certificate must say, `authority` the CA's PEM. `replicas`:
    members of a canary. Times in seconds."""

    key: str
    host: str
    port: int
    server_name: str
    vhost: str
    replicas: int
    authority: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    interval: float = 1.0
    connect_timeout: float = 1.0
    confirm_timeout: float = 0.75


@dataclass(frozen=True, slots=True)
class BrokerSight:
    """One observation: `age` seconds ago the broker did this at that step, with this `latency` if it answered; `since`: for how long before the
    moment of sending nothing has been confirmed, 0 when all is well; `why` in words for people, the same for the same cause."""

    key: str
    kind: Kind
    step: Step
    age: float
    latency: float = 0.0
    since: float = 0.0
    why: str = ""


def sight_row(sight: BrokerSight) -> list[Any]:
    """As it stands in a line."""
    return [sight.key, sight.kind, sight.step, sight.age, sight.latency, sight.since, sight.why[:MOST_WHY]]


def read_sight(each: Any) -> BrokerSight:
    """From a line. Raises BrokerError."""
    match each:
        case [str(key), kind, step, age, latency, since, str(why)] if (
            kind in _KINDS and step in _STEPS and all(map(is_time, (age, latency, since))) and len(why) <= MOST_WHY
        ):
            return BrokerSight(key, kind, step, float(age), float(latency), float(since), why)
    raise BrokerError(f"no sight of a broker: {str(each)[:200]}")


def read_target(each: Any) -> BrokerTarget:
    """From a line. Raises BrokerError."""
    match each:
        case {
            "key": str(key),
            "host": str(host),
            "port": int(port),
            "server_name": str(server_name),
            "vhost": str(vhost),
            "replicas": int(replicas),
            "authority": str(authority),
            "username": str(username),
            "password": str(password),
            "interval": interval,
            "connect_timeout": connect,
            "confirm_timeout": confirm,
        } if 0 < port < 65536 and 0 < replicas < 100 and all(map(_is_period, (interval, connect, confirm))):
            login = authority, username, password
            return BrokerTarget(key, host, port, server_name, vhost, replicas, *login, interval, connect, confirm)
    which = each.get("key") if isinstance(each, Mapping) else "no object"
    raise BrokerError(f"no broker to probe: {str(which)[:200]}")


def _is_period(value: Any) -> bool:
    return is_time(value) and 0.01 <= value <= 3600


def is_time(value: Any) -> bool:
    """Seconds that a clock can show; what JSON can hold goes beyond all floats."""
    return isinstance(value, int | float) and 0 <= value < MOST_SECONDS
