"""What came of one probe."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """`TIMED_OUT_CONNECTING`: not even a connection in time. `NOT_ASKED`: it could not be asked, which says nothing of it."""

    ANSWERED = "Answered"
    FAILED = "Failed"
    TIMED_OUT_CONNECTING = "TimedOutConnecting"
    NOT_ASKED = "NotAsked"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`why` it is no answer, for people."""

    kind: Kind
    why: str = ""


ANSWERED = Outcome(Kind.ANSWERED)


class Failed(Exception):  # noqa: N818 - an outcome, not a mistake of ours
    """The target has not answered as it should; the text says how."""


class NotAsked(Exception):  # noqa: N818 - an outcome, not a mistake of ours
    """The probe lacks something of its own; the text says what."""
