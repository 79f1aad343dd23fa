"""The broker user that a relay has of its own, so that it can be cut off from the queue without its neighbours.

Relays of a pool are made of one template and share their mounts, so nobody can hand each a password. Operator and relay therefore derive the
same one: the seed is the password in the Secret that relays of a managed queue mount anyway, the name is the pod's. A relay could derive those
of others; the users are there to tell relays apart, not to keep them from each other, which one shared password did not do either.
"""

from __future__ import annotations

import hashlib
import hmac

VARIABLE, OWN = "RELAYFLEET_BROKER_USER", "Own"
"""Environment of a relay that has a user of its own. Without it (an older pod, somebody else's broker) it logs in as its files say."""

_PREFIX = "relay@"
_PURPOSE = b"relayfleet broker user 1\0"


def username(relay: str) -> str:
    """The name of a relay's user. No other user of ours has an `@`, and no pod's name has one."""
    return f"{_PREFIX}{relay}"


def relay_of(user: str) -> str | None:
    """Whose user it is; None for one that is no relay's own."""
    return user.removeprefix(_PREFIX) if user.startswith(_PREFIX) else None


def password(relay: str, seed: str) -> str:
    """The password of a relay's user: 64 hexadecimal digits."""
    return hmac.new(seed.encode(), _PURPOSE + relay.encode(), hashlib.sha256).hexdigest()
