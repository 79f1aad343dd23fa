"""Which pod template a workload gets: the one it has, as long as the user asks for nothing else.

A new version of the operator builds its pods a little differently, or has another default image. If that alone rolled the pods, every
upgrade of the operator would restart every relay and broker. So the template that was applied is kept beside the workload, with a digest
of the user's inputs it was made from, and it is applied again until those inputs change. A hand edit of the workload is undone by the same
rule: what is applied is the kept template, not what is found.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

Template = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to apply: the template, and the two texts to keep beside it. `kept`: it is the earlier one."""

    template: Template
    text: str
    inputs: str
    kept: bool


def digest(inputs: Any) -> str:
    """A short name for a JSON value: equal values, equal names, whatever the order of their keys."""
    return hashlib.sha256(_canonical(inputs).encode()).hexdigest()[:16]


def choose_template(kept_text: str | None, kept_inputs: str | None, inputs: str, built: Template) -> Choice:
    """The kept template while the digest of the inputs is the same, else the built one.

    `kept_text` and `kept_inputs` are what an earlier Choice said (`text`, `inputs`), None when there is no workload yet. A text that is no
    JSON object (edited by hand) counts as none.
    """
    kept = _template(kept_text) if kept_inputs == inputs else None
    if kept is not None:
        return Choice(kept, _canonical(kept), inputs, kept=True)
    return Choice(built, _canonical(built), inputs, kept=False)


def _template(text: str | None) -> Template | None:
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) and found else None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
