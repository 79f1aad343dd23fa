"""The list of what the RFCs ask for: each line names tests that exist, or a gap that says what happens instead and what to do."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "rfc-checklist.md"
HEAD = ("Asked for", "Shown by", "Gap")
GROUPS = {
    "RFC 5321",
    "Submission",
    "Extensions",
    "Reports",
    "Status codes",
    "Null MX",
    "DNS",
    "MTA-STS",
    "DANE",
    "TLSRPT",
    "Authentication and reputation",
    "Bulk senders",
}
_TEST = re.compile(r"`([^`\s]+\.py)::(\w+)`")
_GAP = re.compile(r"\*\*([a-z0-9-]+)\*\*")
_DEFINED = re.compile(r"\*\*[a-z0-9-]+\*\*: \S.+[.] → \S.+[.]")
Row = tuple[str, ...]


def rows(text: str) -> list[Row]:
    """The cells of all tables, without heads and rules."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in lines]
    return [row for row in cells if row != HEAD and not set("".join(row)) <= set("-: |")]


@lru_cache
def names_in(path: Path) -> frozenset[str]:
    """Names of the test functions of a file, which may be missing."""
    if not path.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(
        node.name
        for node in nodes
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    )


def complaints(text: str) -> list[str]:
    """What is wrong with the document."""
    table = rows(text)
    defined = Counter(found[1] for row in table if (found := _GAP.match(row[-1])) and _DEFINED.fullmatch(row[-1]))
    wrong = [f"{name} is defined {count} times" for name, count in defined.items() if count > 1]
    for row in table:
        wrong += [f"{row[0]}: {each}" for each in _wrong(row, set(defined))]
    return wrong


def _wrong(row: Row, defined: set[str]) -> list[str]:
    if len(row) != len(HEAD):
        return [f"{len(row)} cells"]
    named, gap = _TEST.findall(row[1]), row[2].strip("– ")
    wrong = [f"no test {path}::{name}" for path, name in named if name not in names_in(ROOT / "tests" / path)]
    if _TEST.sub("", row[1]).strip("–, "):
        wrong.append("something that is no test")
    if gap and not _DEFINED.fullmatch(gap) and not ((found := _GAP.fullmatch(gap)) and found[1] in defined):
        wrong.append("a gap without name, or without what happens instead and what to do")
    if not named and not gap:
        wrong.append("neither test nor gap")
    return wrong


def test_each_line_names_tests_that_exist_or_a_gap() -> None:
    assert complaints(DOCUMENT.read_text()) == []


def test_no_group_is_empty() -> None:
    sections = DOCUMENT.read_text().split("\n## ")[1:]
    assert {section.splitlines()[0].partition(" (")[0] for section in sections} == GROUPS
    for section in sections:
        assert rows(section), section.splitlines()[0]


def test_metrics_that_it_names_exist() -> None:
    counted = (ROOT / "operator" / "relayfleet" / "relay" / "status.py").read_text()
    named = set(re.findall(r"relayfleet_relay_\w+", DOCUMENT.read_text()))
    assert named
    assert [name for name in named if f'"{name.removesuffix("_total")}"' not in counted] == []


HERE = "`unit/test_rfc_checklist.py::test_no_group_is_empty`"
LINES = {
    "a test": (f"| x | {HERE} | – |", 0),
    "two tests and a gap": (f"| x | {HERE}, {HERE} | **g**: It is not done. → Do it yourself. |", 0),
    "a gap that another line defines": ("| x | – | **g**: It is not done. → Do it yourself. |\n| y | – | **g** |", 0),
    "a test that does not exist": ("| x | `unit/test_rfc_checklist.py::test_nothing` | – |", 1),
    "a file that does not exist": ("| x | `unit/test_nowhere.py::test_no_group_is_empty` | – |", 1),
    "a function that is no test": ("| x | `unit/test_rfc_checklist.py::rows` | – |", 1),
    "neither": ("| x | – | – |", 1),
    "nothing at all": ("| x |  |  |", 1),
    "words in the place of a test": ("| x | it works | – |", 2),
    "a gap without a name": ("| x | – | It is not done. → Do it yourself. |", 1),
    "a gap that leaves the user alone": ("| x | – | **g**: It is not done. |", 1),
    "a gap that nobody defines": ("| x | – | **g** |", 1),
    "a gap defined twice": ("| x | – | **g**: Not done. → Do it. |\n| y | – | **g**: Not done. → Do it. |", 1),
    "a cell too few": (f"| x | {HERE} |", 1),
}


@pytest.mark.parametrize("case", LINES)
def test_what_is_wrong_is_found(case: str) -> None:
    lines, wrong = LINES[case]
    assert len(complaints(f"# A list\n\n| {' | '.join(HEAD)} |\n|---|---|---|\n{lines}\n")) == wrong
