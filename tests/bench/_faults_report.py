"""The rows: figures out of the evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tests.bench import _faults_traces as traces
from tests.bench._faults_evidence import Evidence
from tests.bench._faults_judge import Takeover, pauses, takeover
from tests.bench._faults_kinds import STOPPING
from tests.bench._faults_run import Plan
from tests.bench._faults_scene import Struck
from tests.bench._faults_windows import past_dot, windows
from tests.ledger.judge import percentiles

HOW_LOST = "answered with 250, and after the settling time neither stored by the sink, nor reported to its sender, nor in any queue of the pool"
HOW_DUPLICATE = "stored by the sink more than once under the id of one try; without_reason: no relay had called it uncertain, which is a fault of ours"
KILLED, FROZEN, GONE = ("relay.killed",), ("relay.frozen",), ("relay.gone",)
BOTH_KILLED = "broker-and-relay.killed"
POWER_LOST = "power.lost"
UNSYNCED_SECONDS = 40.0
"""Within which a kernel writes what nobody synced: 30 s until it is old, and 5 s between looks."""


def rows(plan: Plan, evidence: Evidence) -> list[dict[str, Any]]:
    """All rows, the verdict first."""
    course = evidence.course
    return [
        *_verdict(plan, evidence),
        _pause_row(evidence),
        _takeover_row("takeover.killed.p99", KILLED, evidence),
        _takeover_row("takeover.frozen.p99", FROZEN, evidence),
        _takeover_row("takeover.gone.p99", GONE, evidence),
        _row("faults.count", len(course.faults), "faults", len(course.faults), _course(plan, evidence)),
    ]


def _verdict(plan: Plan, evidence: Evidence) -> Iterator[dict[str, Any]]:
    found, count = evidence.fates, len(evidence.accepted)
    changed = traces.altered(evidence.entries, evidence.messages)
    waiting = {name: len(ids) for name, ids in evidence.left.ids.items()}
    lost = {
        "how": HOW_LOST, "ids": found.lost[:20], "seed": plan.seed, "settled": evidence.course.settled,
        "still_in_queues": waiting, "no_records": evidence.left.strange, "altered": len(changed),
        "reported": len(traces.reported(evidence.messages)),
    }  # fmt: skip
    yield _row("faults.lost", len(found.lost), "mails", count, lost)
    stored = {name for name, its in evidence.steps.items() if any(each.stage == "stored" for each in its)}
    double = {
        "how": HOW_DUPLICATE, "without_reason": len(found.duplicates), "ids": found.duplicates[:20],
        "stored_and_still_in_queues": len(stored & evidence.left.all),
        "after_uncertain": len(found.repeated), "called_uncertain": len(evidence.told.uncertain),
        "past_dot_of_killed_or_frozen": _past_dot_of_struck(evidence),
        "without_reason_and_stored_before_power_was_lost": before_power_was_lost(found.duplicates, evidence),
    }  # fmt: skip
    yield _row("faults.duplicates", len(found.duplicates) + len(found.repeated), "mails", count, double)
    tries = {"without_250_at_sink": len(found.unclaimed), "tries": evidence.client.get("outcomes")}
    yield _row("faults.accepted", count, "mails", len(evidence.entries), tries)


def _pause_row(evidence: Evidence) -> dict[str, Any]:
    faults = evidence.course.faults
    times = sorted(each.at for each in evidence.accepted.values())
    longest = pauses(times, faults)
    by_kind: dict[str, list[float]] = defaultdict(list)
    for struck, pause in zip(faults, longest, strict=True):
        by_kind[struck.kind].append(round(pause, 3))
    counted = [pause for name, its in by_kind.items() if name not in STOPPING for pause in its]
    worst = sorted(zip(longest, faults, strict=True), key=lambda each: -each[0])[:10]
    stalls = [(at, at + seconds) for at, seconds in evidence.client.get("stalls", ())]
    detail = {
        "counts_not": STOPPING,
        "client_itself_stood_still": {"times": len(stalls), "max": max((end - at for at, end in stalls), default=0.0)},
        "by_kind": {name: {"max": max(its), "n": len(its)} for name, its in sorted(by_kind.items())},
        "worst": [f"{pause:.2f} s: {each.kind} {each.relays} {each.note}" for pause, each in worst],
    }
    return _row("faults.intake_pause.max", max(counted, default=0.0), "s", len(counted), detail)


def _takeover_row(name: str, kinds: Sequence[str], evidence: Evidence) -> dict[str, Any]:
    struck = [each for each in evidence.course.faults if each.kind in kinds]
    told = evidence.told
    found = [takeover(each, evidence.steps, told.uncertain, told.deferred) for each in struck]
    seconds = [value for each in found for value in each.seconds.values()]
    figures = {key: round(value, 3) for key, value in percentiles(seconds).items()}
    detail = {"faults": len(struck), **figures, **_remainder(struck, found)}
    return _row(name, figures.get("p99"), "s", len(seconds), detail)


def _remainder(struck: Sequence[Struck], found: Sequence[Takeover]) -> dict[str, Any]:
    return {
        "went_on_by_itself": sum(len(each.resumed) for each in found),
        "not_tried_again": [name for each in found for name in each.never][:20],
        "slowest_by_fault": [
            {"seconds": round(max(its.seconds.values(), default=0.0), 2), "in_hand_of_all": sum(each.in_hand.values())}
            for each, its in zip(struck, found, strict=True)
        ],
    }


def _course(plan: Plan, evidence: Evidence) -> dict[str, Any]:
    course = evidence.course
    return {
        "seed": plan.seed, "asked": {"faults": plan.faults, "mails": plan.mails, "rate": plan.rate},
        "ended_by": course.ended_by, "seconds": round(course.ended - course.began, 1),
        "kinds": Counter(each.kind for each in course.faults), "relays_that_crashed": evidence.crashes,
        "not_whole_before": [each.note for each in course.faults if "before" in each.note or "bench" in each.note],
        "windows": windows(evidence),
    }  # fmt: skip


def _past_dot_of_struck(evidence: Evidence) -> int:
    """Records past their dot at a killed or frozen relay: only these may come twice."""
    kinds = (*KILLED, *FROZEN, *GONE, BOTH_KILLED)
    struck: list[Struck] = [each for each in evidence.course.faults if each.kind in kinds]
    dots = list(past_dot(evidence))
    return sum(
        helo in each.relays and at <= each.began < end and each.began - at < 600
        for each in struck
        for helo, at, end in dots
    )


def before_power_was_lost(ids: Sequence[str], evidence: Evidence) -> int:
    """The journal is on several brokers, but not synced: what it said last is gone with the power of all. The first copy came shortly before that, all others after it."""
    moments = [each.began for each in evidence.course.faults if each.kind == POWER_LOST]
    copies = [[each.at for each in evidence.steps[name] if each.stage == "stored"] for name in ids]
    return sum(
        any(its[0] <= moment < its[1] and moment - its[0] <= UNSYNCED_SECONDS for moment in moments) for its in copies
    )


def _row(name: str, value: float | None, unit: str, n: int, detail: dict[str, Any]) -> dict[str, Any]:
    figure = round(value, 3) if isinstance(value, float) else value
    return {"name": name, "value": figure, "unit": unit, "peer": None, "peer_value": None, "n": n, "detail": detail}
