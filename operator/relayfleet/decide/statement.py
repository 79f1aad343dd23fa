"""One condition as it should read: what every decision about a status returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statement:
    """`status` is True, False or Unknown; `reason` a word of `api.conditions.Reason`; `message` what is wrong and what to do."""

    type: str
    status: str
    reason: str
    message: str
