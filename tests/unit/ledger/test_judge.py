"""What the judge calls lost, doubled, explained and altered."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.entries import Entry, Ledger, Outcome, read
from tests.ledger.judge import Verdict, judge, percentiles


def tried(outcome: Outcome, test_id: str = "t", stage: str = "dot", *recipients: str) -> Entry:
    entry = Entry(test_id, 1, 100.0, outcome, stage, recipients or ("a@one.test",), "relay:25", 0.01)
    return dataclasses.replace(entry, headers_sha256="h", body_sha256="b") if outcome == "accepted" else entry


def arrived(test_id: str = "t", *recipients: str, time: float = 101.0, body: str = "b") -> dict[str, Any]:
    named = [{"address": each, "params": {}} for each in recipients or ("a@one.test",)]
    return {"test_id": test_id, "recipients": named, "time": time, "headers_sha256": "h", "body_sha256": body}


ACCEPTED, COPY = tried("accepted"), arrived()
TWICE = [COPY, arrived(time=102.0)]

CASES: dict[str, tuple[list[Entry], list[dict[str, Any]], dict[str, int]]] = {
    "accepted and arrived": ([ACCEPTED], [COPY], {"accepted": 1, "delivered": 1}),
    "accepted and nothing arrived": ([ACCEPTED], [], {"accepted": 1, "lost": 1}),
    "one of two recipients got nothing": (
        [tried("accepted", "t", "dot", "a@one.test", "b@two.test")],
        [COPY],
        {"accepted": 2, "delivered": 1, "lost": 1},
    ),
    "two copies for no reason": ([ACCEPTED], TWICE, {"accepted": 1, "delivered": 1, "duplicates": 1}),
    "two copies after an answer that did not come": (
        [tried("unanswered"), ACCEPTED],
        TWICE,
        {"accepted": 1, "delivered": 1, "explained": 1},
    ),
    "two copies after a 4xx to the dot": (
        [tried("deferred"), ACCEPTED],
        TWICE,
        {"accepted": 1, "delivered": 1, "explained": 1},
    ),
    "two copies after a 4xx to the recipient explain nothing": (
        [tried("deferred", "t", "rcpt"), ACCEPTED],
        TWICE,
        {"accepted": 1, "delivered": 1, "duplicates": 1},
    ),
    "three copies and one doubt": (
        [tried("unanswered"), ACCEPTED],
        [*TWICE, COPY],
        {"accepted": 1, "delivered": 1, "duplicates": 1},
    ),
    "a doubt about one mail explains no other": (
        [tried("unanswered", "u"), tried("accepted", "u"), ACCEPTED],
        [*TWICE, arrived("u")],
        {"accepted": 2, "delivered": 2, "duplicates": 1},
    ),
    "other bytes than were sent": ([ACCEPTED], [arrived(body="x")], {"accepted": 1, "delivered": 1, "altered": 1}),
    "arrived although nobody said 250": ([tried("given-up")], [COPY], {"unclaimed": 1}),
    "mail of somebody else": ([], [arrived("other")], {}),
    "two recipients in two transactions": (
        [tried("accepted", "t", "dot", "a@one.test", "b@two.test")],
        [COPY, arrived("t", "b@two.test")],
        {"accepted": 2, "delivered": 2},
    ),
    "a domain in other letters": (
        [tried("accepted", "t", "dot", "a@One.Test")],
        [COPY],
        {"accepted": 1, "delivered": 1},
    ),
    "refused and not arrived": ([tried("refused")], [], {}),
}


def counts(verdict: Verdict) -> dict[str, int]:
    fields = (
        (each.name, getattr(verdict, each.name)) for each in dataclasses.fields(verdict) if each.name != "latency"
    )
    sizes = {name: value if isinstance(value, int) else len(value) for name, value in fields}
    return {name: size for name, size in sizes.items() if size}


@pytest.mark.parametrize(("entries", "messages", "expected"), CASES.values(), ids=CASES.keys())
def test_the_verdict_on(entries: list[Entry], messages: list[dict[str, Any]], expected: dict[str, int]) -> None:
    verdict = judge(entries, messages)
    assert counts(verdict) == expected
    assert verdict.good == (not {"lost", "duplicates", "altered"} & set(expected))


def test_a_verdict_names_its_offenders_up_to_twenty() -> None:
    text = str(judge([tried("accepted", f"t-{number:03}") for number in range(30)], []))
    assert text.startswith("BAD: accepted 30, delivered 0, lost 30")
    assert "t-000 for a@one.test" in text
    assert "t-020" not in text
    assert "and 10 more" in text


def test_latency_is_from_the_answer_to_the_first_copy() -> None:
    verdict = judge([tried("unanswered"), ACCEPTED], [arrived(time=103.0), arrived(time=100.5)])
    assert verdict.latency == {"p50": 0.5, "p95": 0.5, "p99": 0.5, "max": 0.5}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        (range(1, 101), {"p50": 50, "p95": 95, "p99": 99, "max": 100}),
        ([3, 1], {"p50": 1, "p95": 3, "p99": 3, "max": 3}),
    ],
)
def test_percentiles_by_the_nearest_rank(values: list[float], expected: dict[str, float]) -> None:
    assert percentiles(values) == expected


def test_a_list_is_read_as_it_was_written_without_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for entry in (tried("deferred"), ACCEPTED):
        with Ledger(path) as ledger:
            ledger.append(entry)
    with path.open("a") as file:
        file.write('{"test_id": "cut')
    assert list(read(path)) == [tried("deferred"), ACCEPTED]
