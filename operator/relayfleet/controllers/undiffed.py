"""What kopf keeps about objects: nothing.

kopf copies each object of each event, four times, to find out what has changed for handlers of changes, also when there are none. Our handlers
only take events, and with a thousand pods the copies are most of what kopf costs.
"""

from __future__ import annotations

from typing import Any

import kopf


class NoDiffs(kopf.DiffBaseStorage):  # type: ignore[misc] # mypy does not follow kopf
    """Every object looks the same, and no last state is kept."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """Nothing of an object is worth comparing."""
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """There is no last state."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Write nothing."""
