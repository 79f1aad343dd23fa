"""How long a peer may take: never less than RFC 5321 section 4.5.3.2 grants it."""

from __future__ import annotations

import pytest

from relayfleet.protocol.relay_config import Limits
from relayfleet.relay.delivery import connecting, session, transaction

MINUTES = {
    "BANNER_SECONDS": 5,
    "EHLO_SECONDS": 5,
    "MAIL_SECONDS": 5,
    "RCPT_SECONDS": 5,
    "DATA_SECONDS": 2,
    "BLOCK_SECONDS": 3,
    "END_SECONDS": 10,
}
"""The least in minutes, by the RFC; EHLO is none of its list and gets what other commands get."""


@pytest.mark.parametrize("name", MINUTES)
def test_each_wait_for_a_peer_is_as_long_as_the_rfc_asks(name: str) -> None:
    used = [getattr(module, name) for module in (session, connecting, transaction) if hasattr(module, name)]
    assert used
    assert min(used) >= MINUTES[name] * 60


def test_a_client_may_be_silent_for_five_minutes() -> None:
    assert Limits().command_seconds >= 5 * 60
