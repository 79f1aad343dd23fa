"""Which pod template a workload gets: a new one only when what it is made from has changed.

A new operator may build another template from the same resource (another default image, another probe). Applied at once, every upgrade
of the operator would restart every pod. So the template that was applied is kept beside a digest of what the *user* stated; while that
digest stays, the kept template is applied again. The new operator's template comes with the next change of the resource.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kept:
    """The template to apply, and what to remember of it: itself as text, and the digest of its inputs."""

    template: dict[str, Any]
    text: str
    inputs: str


def keep(inputs: Any, built: dict[str, Any], kept_text: str | None, kept_inputs: str | None) -> Kept:
    """`inputs` is all that the user stated about the pods, as JSON values; `kept_*` what is remembered, None for a new workload."""
    digest = hashlib.sha256(_text(inputs).encode()).hexdigest()[:16]
    if kept_text and kept_inputs == digest and (kept := _parsed(kept_text)):
        return Kept(kept, kept_text, digest)
    return Kept(built, _text(built), digest)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
