"""What a pool states of its credentials as relays are told of it: their domains, and their limits."""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.api import submitters
from relayfleet.protocol.relay_config import SubmissionLimit, Submitter


def told(stated: Sequence[submitters.Submitter]) -> tuple[Submitter, ...]:
    """Who may send for certain domains only."""
    return tuple(Submitter(each.name, tuple(each.domains)) for each in stated if each.domains)


def limits(stated: Sequence[submitters.Submitter]) -> tuple[SubmissionLimit, ...]:
    """Who may submit only so much; by name, since to sort the list is no news."""
    found = (SubmissionLimit(each.name, each.recipients_per_minute, each.recipients_per_day) for each in stated)
    limited = (each for each in found if each.per_minute or each.per_day)
    return tuple(sorted(limited, key=lambda each: each.credential))
