"""No resolver is asked twice, or taken for silent, only because this machine is busy."""

from __future__ import annotations

import pytest

from relayfleet.relay.dependencies import resolvers
from relayfleet.relay.routing import lookup


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than busy cores take to answer. Where a silent resolver is to be overtaken a test sets it back."""
    monkeypatch.setattr(lookup, "HEDGE_SECONDS", 4.0)
    monkeypatch.setattr(resolvers, "TIMEOUT", 4.0)
