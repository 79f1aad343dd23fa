"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from relayfleet.api.conditions import Reason

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "operator" / "relayfleet"


def test_the_source_folder_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "split it by idea"
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    for node in functions:
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert length <= 70, f"{node.name} has {length} lines: split it"


def test_reasons_are_single_words_that_programs_can_match() -> None:
    for reason in Reason:
        assert reason.value.isalnum()
        assert reason.value[0].isupper()
