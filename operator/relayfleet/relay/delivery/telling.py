"""What the delivery says of an attempt: one log line that answers "where is my mail?", and counters for metrics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from relayfleet.relay.control.tally import Ending, Tally
from relayfleet.relay.delivery.errors import ConnectError, LostError, PeerTimeoutError, SmtpError
from relayfleet.relay.delivery.outcome import Outcome
from relayfleet.relay.spool.record import Record

log = logging.getLogger("relayfleet.delivery")

MOST_ANSWERS = 1000
DISCARDED = "Discarded"
"""What becomes of a probe; the other fates are those of outcomes."""
OTHER = ("other", "other")
"""Whoever writes to a million domains gets a thousand lines of metrics, not a million."""
LINE = (
    "id=%s attempt=%d class=%s reason=%s from=<%s> to=%s source=%s host=%s address=%s tls=%s phase=%s code=%d status=%s"
    " seconds=%.3f text=%r"
)


@dataclass(slots=True)
class DeliveryCounters:
    """For metrics. Recipients by fate; `answers` by (provider, reason); `ruled` by (delivery rule, action); records by what became of them; attempts
    and their seconds."""

    recipients: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    ruled: Counter[tuple[str, str]] = field(default_factory=Counter)
    records_settled: int = 0
    records_released: int = 0
    records_refused: int = 0
    records_quarantined: int = 0
    records_moved: int = 0
    records_parked: int = 0
    duplicates_dropped: int = 0
    double_bounces: int = 0
    events_lost: int = 0
    attempts: int = 0
    seconds: float = 0.0


def tell(
    counters: DeliveryCounters, record: Record, outcomes: Sequence[Outcome], seconds: float, *, attempts: int = 1
) -> None:
    """Count, and log one line for each different answer: usually one for the whole attempt. `attempts`: 0 when a rule kept it from being one."""
    groups: dict[tuple[object, ...], list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault((each.fate, each.code, each.text, each.place), []).append(each)
    counters.attempts += attempts
    counters.seconds += seconds
    for group in groups.values():
        _tell_group(counters, record, group, seconds)


def _tell_group(counters: DeliveryCounters, record: Record, group: Sequence[Outcome], seconds: float) -> None:
    first = group[0]
    reason = first.verdict.reason if first.verdict else "Delivered"
    counters.recipients[first.fate.value] += len(group)
    key = provider(first.place.host), reason
    counters.answers[key if key in counters.answers or len(counters.answers) < MOST_ANSWERS else OTHER] += len(group)
    log.info(
        LINE,
        record.id,
        record.attempt,
        first.fate.value,
        reason,
        record.sender,
        ",".join([f"<{each.recipient.address}>" for each in group]),
        first.place.source or "-",
        first.place.host or "-",
        first.place.address or "-",
        "yes" if first.place.tls else "no",
        first.phase,
        first.code,
        first.status or "-",
        seconds,
        first.text,
    )


def count_attempt(tally: Tally, source: str, host: str, error: SmtpError | None) -> None:
    """Count an attempt from a source to an MX host by what ended it; None: a reply. A refusal is a reply too, and so is garbage."""
    match error:
        case PeerTimeoutError():
            ending = Ending.TIMED_OUT
        case ConnectError():
            ending = Ending.CONNECT_FAILED
        case LostError():
            ending = Ending.RESET
        case _:
            ending = Ending.REPLIED
    tally.attempt(source, provider(host), ending)


def provider(host: str) -> str:
    """The last two labels of an MX host, which name who runs it; "" when there was none."""
    return ".".join(host.rsplit(".", 2)[-2:])
