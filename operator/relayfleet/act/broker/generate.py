"""Secrets that the operator makes up, once."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets

from relayfleet.act.authority import new_authority


def password() -> str:
    """A password of 192 random bits."""
    return secrets.token_urlsafe(24)


def derived(secret: str, purpose: str) -> str:
    """A password that follows from another one: it need not be kept, and it tells nothing of the other."""
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def admin(queue: str, username: str, now: datetime.datetime) -> dict[str, str]:
    """The contents of an admin Secret. The cookie has letters and digits only, as Erlang likes it."""
    certificate, key = new_authority(queue, now)
    return {
        "username": username,
        "password": password(),
        "erlang-cookie": secrets.token_hex(32),
        "ca.crt": certificate,
        "ca.key": key,
    }
