"""The keys that seal records, as they stand in a Secret: written by the operator, mounted and read by relays.

One JSON document in one entry, so that a change of it is one step for whoever reads. It holds every key that some record may still be
sealed by. The one that seals is the one that came into use last; a key that is not in use yet only opens: it is being made known.

    {"keys": [{"id": "1f0a…", "secret": "base64", "made": 1790000000, "since": 1790003600}]}
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

ENTRY = "keys.json"
"""The entry of the Secret, and the name of the file in a relay."""

ID_BYTES, SECRET_BYTES = 8, 32

QUARANTINE = 30 * 24 * 3600.0
"""Seconds after which a record in quarantine goes. The operator keeps keys for longer than that."""


class SealingError(ValueError):
    """The document cannot be read; the text says why, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of AES-256. `id`: 16 hexadecimal digits. `made`, and `since` when it seals (None: not yet), in Unix seconds."""

    id: str
    secret: bytes = field(repr=False)
    made: int
    since: int | None = None


def dump(keys: Iterable[Key]) -> str:
    """The document, the oldest key first."""
    ordered = sorted(keys, key=lambda each: (each.made, each.id))
    rows = [
        {"id": each.id, "secret": base64.b64encode(each.secret).decode(), "made": each.made, "since": each.since}
        for each in ordered
    ]
    return json.dumps({"keys": rows}, indent=1)


def load(text: str) -> tuple[Key, ...]:
    """The keys of a document, one at least. Raises SealingError."""
    try:
        keys = tuple(_key(row) for row in json.loads(text)["keys"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # Not the error's own words: they may quote what is no business of a log.
        raise SealingError(f"it is no document of sealing keys ({type(error).__name__})") from None
    if not keys or len({each.id for each in keys}) < len(keys):
        raise SealingError("it has no key, or two of one name")
    return keys


def current(keys: Iterable[Key]) -> Key | None:
    """The key that seals; None when none is in use yet."""
    used = [each for each in keys if each.since is not None]
    return max(used, key=lambda each: (each.since or 0, each.id), default=None)


def _key(row: Any) -> Key:
    since = row.get("since")
    key = Key(_id(row["id"]), base64.b64decode(row["secret"], validate=True), _time(row["made"]), None)
    if len(key.secret) != SECRET_BYTES:
        raise ValueError("length")
    return key if since is None else Key(key.id, key.secret, key.made, _time(since))


def _id(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{2 * ID_BYTES}}}", value):
        raise ValueError("id")
    return value


def _time(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("time")
    return value
