"""What can go wrong at the API server, by what the caller has to do about it.

KubeError
├── KubeConflict      somebody else wrote first, or it exists: read again
├── KubeInvalid       the object is refused; the text says which field and why
├── KubeForbidden     the operator lacks a right; the text says which
├── KubeUnavailable   no answer, or an overloaded one: later
└── NotLeader         the lease is not surely ours: write nothing
"""

from __future__ import annotations


class KubeError(Exception):
    """The API server did not do what was asked. `status` is the HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubeConflict(KubeError):  # noqa: N818 - an answer, not a mistake
    """Somebody else wrote first, or the object exists."""


class KubeInvalid(KubeError):  # noqa: N818
    """The object is refused."""


class KubeForbidden(KubeError):  # noqa: N818
    """The operator lacks a right."""


class KubeUnavailable(KubeError):  # noqa: N818
    """No answer, or one that says later."""


class NotLeader(KubeError):  # noqa: N818
    """The lease is not surely ours."""


def from_answer(status: int, message: str) -> KubeError:
    """The error that an HTTP status stands for."""
    if status == 409:
        return KubeConflict(message, status)
    if status in (400, 404, 405, 413, 415, 422):
        return KubeInvalid(message, status)
    if status in (401, 403):
        return KubeForbidden(message, status)
    return KubeUnavailable(message, status)
