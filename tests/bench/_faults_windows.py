"""In which dangerous windows records were when faults struck: so many that a fault in each of them would have shown."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from relayfleet.relay.spool.rabbitmq.topology import LADDER
from tests.bench import _faults_traces as traces
from tests.bench._faults_evidence import Evidence
from tests.bench._faults_judge import ATTEMPTS, spans_at

FOREVER = float("inf")
WAITS = sorted(rung * percent / 100 for rung in LADDER for percent in (100, 120))
"""Seconds that records wait, in either lane."""

Span = tuple[float, float]


def windows(evidence: Evidence) -> dict[str, dict[str, float]]:
    """How many records were where when faults struck: smallest, median and sum over all faults.

    unconfirmed_at_client   sent, and not answered yet
    in_hand_of_…            with a relay, of all or of those that were struck: prefetched at least, by the relay's own word
    claimed                 from the claim to its outcome
    past_dot                from the final dot at the sink to the outcome
    being_copied            put off, until the journal says that the copy which waits is stored; the acknowledgement comes with that
    coming_back             their time-to-live is over, and the next attempt has not begun: dead-lettered, or with a relay again. What was not tried again is not counted
    """
    faults = evidence.course.faults
    moments = [each.began for each in faults]
    own = [sum(each.in_hand.get(name, 0.0) for name in each.relays) for each in faults if each.relays]
    unconfirmed = ((each.at - each.seconds, each.at) for each in evidence.entries if each.stage == "dot")
    copied = list(_copied(evidence))
    found: dict[str, Sequence[float]] = {
        "unconfirmed_at_client": spans_at(moments, unconfirmed),
        "in_hand_of_all_relays": [sum(each.in_hand.values()) for each in faults],
        "in_hand_of_struck_relay": own,
        "claimed": spans_at(moments, _claims(evidence).values()),
        "past_dot": spans_at(moments, [(at, end) for _, at, end in past_dot(evidence)]),
        "being_copied": spans_at(moments, [span for _, span in copied]),
        "coming_back": spans_at(moments, _coming_back(evidence, copied)),
    }
    return {name: _spread(values) for name, values in found.items() if values}


def past_dot(evidence: Evidence) -> Iterator[tuple[str, float, float]]:
    """HELO name, final dot at the sink, outcome in the journal; for ever when there is none."""
    ends: dict[tuple[str, str], float] = {}
    for each in evidence.said:
        if each.kind == "outcome":
            name = each.holder.partition("/")[0]
            ends.update({(traces.id_of(to), name): each.time for to in each.recipients})
    for name, its in evidence.steps.items():
        for step in its:
            if step.stage == "dot":
                yield step.helo, step.at, ends.get((name, step.helo.partition(".")[0]), FOREVER)


def _claims(evidence: Evidence) -> dict[tuple[str, str], Span]:
    """When each claim was made and when its outcome came, by key and holder."""
    spans: dict[tuple[str, str], Span] = {}
    for each in evidence.said:
        key = each.key, each.holder
        if each.kind == "claim":
            spans[key] = each.time, FOREVER
        elif each.kind == "outcome" and key in spans:
            spans[key] = spans[key][0], each.time
    return spans


def _copied(evidence: Evidence) -> Iterator[tuple[str, Span]]:
    """By id; where the journal has no word before the next attempt it is not known whether there was a copy, and it is left out."""
    stored: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in evidence.said:
        if each.kind == "settled":
            for to in each.recipients:
                stored[traces.id_of(to), each.holder.partition("/")[0]].append(each.time)
    for its in stored.values():
        its.sort()
    for name, deferrals in evidence.told.deferred.items():
        for at, helo in deferrals:
            times = stored.get((name, helo.partition(".")[0]), [])
            attempts = (each.at for each in evidence.steps.get(name, ()) if each.stage in ATTEMPTS and each.at > at)
            if (after := bisect_left(times, at)) < len(times) and times[after] < next(attempts, FOREVER):
                yield name, (at, times[after])


def _coming_back(evidence: Evidence, copied: Sequence[tuple[str, Span]]) -> Iterator[Span]:
    """The time-to-live is the longest that fits between copy and next attempt."""
    for name, (_, stored) in copied:
        attempts = (each.at for each in evidence.steps.get(name, ()) if each.stage in ATTEMPTS and each.at > stored)
        if (begun := next(attempts, None)) and (waits := [each for each in WAITS if each <= begun - stored]):
            yield stored + waits[-1], begun


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": sorted(values)[len(values) // 2], "sum": sum(values)}
