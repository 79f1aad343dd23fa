"""What the operator's process is told by its environment (the chart sets it). Read once, at start."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(ValueError):
    """A variable is missing or makes no sense; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`namespaces` empty: all. `image` is the operator's own, which new pools get for their relays."""

    region: str
    namespace: str
    identity: str
    image: str
    rabbitmq_image: str
    namespaces: tuple[str, ...] = ()
    lease: str = "relayfleet"
    status_port: int = 8080


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError."""
    return Settings(
        region=_required(environment, "RELAYFLEET_REGION", "the chart's value `region`"),
        namespace=_required(environment, "RELAYFLEET_NAMESPACE", "the namespace that the operator runs in"),
        # A restarted container has its pod's name again, but is another candidate for the lease.
        identity=f"{_required(environment, 'RELAYFLEET_IDENTITY', 'the name of the pod')}_{secrets.token_hex(4)}",
        image=_required(environment, "RELAYFLEET_IMAGE", "the chart's value `image`"),
        rabbitmq_image=_required(environment, "RELAYFLEET_RABBITMQ_IMAGE", "the chart's value `rabbitmq.image`"),
        namespaces=tuple(filter(None, environment.get("RELAYFLEET_WATCH_NAMESPACES", "").split(","))),
        status_port=int(environment.get("RELAYFLEET_STATUS_PORT", "8080")),
    )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set: it should hold {meaning}")
    return value
