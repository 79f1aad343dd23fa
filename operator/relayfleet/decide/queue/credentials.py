"""What to do about the Secrets of a queue: keep, restore, generate, or say that they are lost.

The admin Secret (the operator's password, the Erlang cookie, the CA) exists nowhere else but in its copy: brokers that run, and volumes with mail, were
made with it, and a new one would not open them. So it is made once, for a queue that has neither, and never again.
The client Secret is another matter: its password is set in the brokers by the operator, so a new one is as good as the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

ADMIN_KEYS = ("username", "password", "erlang-cookie", "ca.crt", "ca.key")
CLIENT_KEYS = ("username", "password", "ca.crt")


class Step(Enum):
    """What to do about the admin Secret."""

    KEEP = "keep"
    RESTORE = "restore"
    GENERATE = "generate"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Admin:
    """`data` is what the Secret should hold with KEEP and RESTORE; `missing` the keys that are gone with LOST."""

    step: Step
    data: Mapping[str, str] | None = None
    missing: tuple[str, ...] = ()


def lacking(found: Mapping[str, str] | None) -> tuple[str, ...]:
    """What an admin Secret would have to hold, and this one does not."""
    return tuple(key for key in ADMIN_KEYS if not (found or {}).get(key))


def admin(found: Mapping[str, str] | None, remembered: Mapping[str, str] | None, made_before: bool) -> Admin:
    """`remembered`: what this leader read earlier, or found in the copy. `made_before`: a StatefulSet or volumes exist that were made with some admin Secret."""
    missing = lacking(found)
    if remembered is not None:
        same = not missing and all((found or {})[key] == remembered[key] for key in ADMIN_KEYS)
        return Admin(Step.KEEP if same else Step.RESTORE, remembered)
    if not missing:
        return Admin(Step.KEEP, found)
    if made_before or found is not None:
        return Admin(Step.LOST, missing=missing)
    return Admin(Step.GENERATE)


def client(
    found: Mapping[str, str] | None, username: str, fresh_password: str, certificate_authority: str
) -> dict[str, str]:
    """What the client Secret should hold. An existing password stays, also one that somebody wrote by hand: the brokers learn it."""
    password = (found or {}).get("password") or fresh_password
    return {"username": username, "password": password, "ca.crt": certificate_authority}


def lost(secret: str, missing: tuple[str, ...], stateful_set: str, label: str) -> str:
    """The message for a person who has to act."""
    return (
        f"Secret {secret} is gone or lacks {', '.join(missing)}, its copy as well, and brokers or volumes exist that were made with it. It is not made anew, "
        f"since nothing would open them: restore it from a backup. If the mail in the volumes may be lost, delete StatefulSet {stateful_set}, "
        f"the Secret and the PersistentVolumeClaims labelled {label}, and the operator starts afresh"
    )
