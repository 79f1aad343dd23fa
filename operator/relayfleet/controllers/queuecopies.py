"""Copies of Secrets, from which the Secrets are restored: written when they differ from what is known, and held up by nothing.

A quota or a policy may refuse one. A queue is looked at every two seconds, so what is refused is not tried again, and told of, at each look.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeForbidden, KubeInvalid

log = logging.getLogger(__name__)

AGAIN = 60.0
"""Seconds after which the API server is asked again for what it refused."""


@dataclass(slots=True)
class _Refusal:
    """`data`: of the copy that was refused at that moment (monotonic seconds), with these words."""

    at: float
    words: str
    data: Any = field(repr=False)


class Copies:
    """Of one queue's Secrets: which are refused. Without a refusal it is the caller's to know what was written."""

    def __init__(self) -> None:
        self._refused: dict[str, _Refusal] = {}

    async def keep(self, kube: Kube, copy: Object, now: float) -> bool:
        """Write a copy; whether it was written. One that was refused within the last minute is written only when it says something new, as after a
        rotation. Raises KubeError for all but a refusal."""
        name = copy["metadata"]["name"]
        before = self._refused.get(name)
        if before and before.data == copy.get("data") and now - before.at < AGAIN:
            return False
        try:
            await kube.apply(copy)
        except (KubeForbidden, KubeInvalid) as error:
            self._refused[name] = _Refusal(now, str(error), copy.get("data"))
            if before is None or before.words != str(error):
                log.warning("Secret %s/%s, a copy, is not written: %s", copy["metadata"]["namespace"], name, error)
            return False
        if self._refused.pop(name, None):
            log.info("Secret %s/%s, a copy that was refused, is written", copy["metadata"]["namespace"], name)
        return True
