"""The client's own list: one line for every try of every mail, written before anything else is done with the answer.

A line is one JSON object: see `Entry`. The file is only ever appended to, so a client that is killed leaves a list that is right.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Outcome = Literal["accepted", "refused", "deferred", "unanswered", "failed", "given-up"]
"""What one try came to.

accepted     250 to the final dot: from here on the mail must not be lost
refused      5xx: the client gives up, as it must
deferred     4xx: tried again with the same id. After DATA it is doubtful: the relay may have the mail all the same
unanswered   the connection was lost, or nothing came, after DATA: doubtful too, tried again with the same id
failed       no connection, or lost before DATA: nothing can have been accepted; tried again
given-up     not accepted within the time that was set
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One try. `at`: Unix seconds of the answer; `seconds`: how long the try took; `stage`: connect, mail, rcpt or dot (everything after DATA).

    `recipients`: whom it is about (at the dot: those that RCPT accepted). `queued`: the id in the relay's reply. Digests as in
    `tests.sink.digest`.
    """

    test_id: str
    number: int
    at: float
    outcome: Outcome
    stage: str
    recipients: tuple[str, ...]
    target: str
    seconds: float
    code: int = 0
    text: str = ""
    queued: str = ""
    headers_sha256: str = ""
    body_sha256: str = ""

    @property
    def doubtful(self) -> bool:
        """True when the relay may have the mail although the client was not told so: a second copy is then nobody's fault."""
        return self.stage == "dot" and self.outcome in ("unanswered", "deferred")


def read(path: Path) -> Iterator[Entry]:
    """The entries of a file. A last line that was cut off by a kill is left out."""
    with path.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield entry(json.loads(line))


def entry(document: dict[str, Any]) -> Entry:
    """An entry from decoded JSON."""
    return Entry(**{**document, "recipients": tuple(document["recipients"])})


class Ledger:
    """Appends entries to a file (`with Ledger(path) as ledger`), each with one write, so a kill cuts at most the last one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def append(self, *entries: Entry) -> None:
        """Write at once."""
        os.write(self._file, "".join(f"{line}\n" for line in _lines(entries)).encode())


def _lines(entries: Iterable[Entry]) -> Iterator[str]:
    return (json.dumps(dataclasses.asdict(each), separators=(",", ":")) for each in entries)
