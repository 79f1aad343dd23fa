"""The Secrets with DKIM keys, as one volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relayfleet.api.dkim import SigningDomain
from relayfleet.children.relay import projected


def volume(domains: Sequence[SigningDomain]) -> dict[str, Any]:
    """The projected volume."""
    return projected.volume((key.secret_ref.name, key.secret_ref.key) for domain in domains for key in domain.keys)
