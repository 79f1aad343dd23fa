"""All that a run left behind, and the timeline of each mail for which it has to answer."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from relayfleet.relay.spool.rabbitmq.entries import Entry as Said
from tests.bench import _faults_traces as traces
from tests.bench._faults_judge import Fates, Step, by_id, fates
from tests.bench._faults_run import Course
from tests.ledger.entries import Entry
from tests.sink.client import Line

SHOWN = 50
"""Mails that get a timeline of their own, of each sort."""
AROUND = 30.0
"""Seconds before and after: faults within are part of the story."""

Moment = tuple[float, str]


@dataclass
class Evidence:
    """As collected at the end. `crashes`: relays that ended by themselves; `client`: what the client told of itself."""

    course: Course
    entries: list[Entry]
    deeds: list[Line]
    messages: list[Line]
    said: list[Said]
    left: traces.Left
    told: traces.Told
    logs: list[Path]
    client: dict[str, Any]
    crashes: int

    @cached_property
    def steps(self) -> dict[str, list[Step]]:
        """What the sink saw, by id."""
        return by_id(traces.steps(self.deeds, self.messages))

    @cached_property
    def accepted(self) -> dict[str, Entry]:
        """The tries that got a 250."""
        return {each.test_id: each for each in self.entries if each.outcome == "accepted"}

    @cached_property
    def fates(self) -> Fates:
        """The verdict."""
        stored = [each.id for its in self.steps.values() for each in its if each.stage == "stored"]
        return fates(self.accepted.keys(), stored, traces.reported(self.messages), self.left.all, self.told.uncertain)


def write(folder: Path, evidence: Evidence) -> None:
    """What the sink did and the journal says; and a file for each mail that is lost, or doubled, without a reason or with one."""
    _write_lines(folder / "deeds.jsonl", evidence.deeds)
    _write_lines(folder / "journal.jsonl", map(dataclasses.asdict, evidence.said))
    found = evidence.fates
    for sort, ids in (("lost", found.lost), ("duplicate", found.duplicates), ("repeated", found.repeated)):
        for name in ids[:SHOWN]:
            lines = [f"{_clock(at)} {text}" for at, text in sorted(_story(evidence, name))]
            (folder / f"{sort}-{name}.txt").write_text("\n".join(lines) + "\n")


def _write_lines(path: Path, documents: Iterable[Any]) -> None:
    with path.open("w") as file:
        file.writelines(f"{json.dumps(each, separators=(',', ':'))}\n" for each in documents)


def _story(evidence: Evidence, name: str) -> Iterator[Moment]:
    yield from _of_client(evidence, name)
    yield from ((each.at, f"sink    {each.stage} from {each.helo}") for each in evidence.steps.get(name, ()))
    own = [each for each in evidence.said if name in map(traces.id_of, each.recipients)]
    for each in own:
        yield (
            each.time,
            f"journal {each.kind} {each.key} by {each.holder} {each.answer if each.kind == 'outcome' else ''}",
        )
    records = {each.key.partition(".")[0] for each in own}
    yield from _of_logs(evidence, {name, *records})
    times = [entry.at for entry in evidence.entries if entry.test_id == name]
    times += [each.at for each in evidence.steps.get(name, ())]
    for struck in evidence.course.faults:
        if any(struck.began - AROUND < at < struck.ended + AROUND for at in times):
            yield struck.began, f"FAULT   {struck.kind} {struck.relays} {struck.brokers} {struck.note}"
            yield struck.ended, f"FAULT   {struck.kind} undone"


def _of_client(evidence: Evidence, name: str) -> Iterator[Moment]:
    for each in evidence.entries:
        if each.test_id == name:
            yield (
                each.at,
                f"client  {each.outcome} at {each.stage} by {each.target} after {each.seconds} s: {each.code} {each.text}",
            )


def _of_logs(evidence: Evidence, words: set[str]) -> Iterator[Moment]:
    for path in evidence.logs:
        with path.open(errors="replace") as lines:
            for line in lines:
                if any(word in line for word in words):
                    at, _, text = line.rstrip().partition(" ")
                    yield _number(at), f"{path.parent.name} {text}"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at)) + f"{at % 1:.3f}"[1:]
