"""What a broker's disk holds, and how much of that RabbitMQ may keep of queues that are empty. Pure.

The log that all queues share (WAL) is rolled over when it is full, not when its records are gone. A queue's segments go, from the oldest on, when
the queue writes down its state (a checkpoint), which it does after some thousands of entries and never because it has become quiet. Both are
bounded, however many records have passed: that is what tells them from a leak.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

MIB = 2**20
SEGMENT_ENTRIES = 4096
"""Of a queue's log, in one file of segments."""

KEPT_SEGMENTS = 3
"""Segments that a queue may keep: 8,192 entries between two checkpoints (4.0), rounded up since the first and the last file are kept whole."""

ENTRY_BYTES = 1024
"""Of a record's envelope, properties, the history of its dead-lettering, and its frame in the log, at most."""

DELETED, MEMORY = "deleted:\n", "memory:\n"


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a broker: of its data on disk in all, of the log of all queues and of segments among them. `deleted`: files that have no name any
    more, but that the broker holds open, so their place is not free; they are part of `total`. `memory`: of its processes."""

    total: int = 0
    log: int = 0
    segments: int = 0
    deleted: int = 0
    memory: int = 0

    def told(self) -> dict[str, float]:
        """In MiB, for a row's detail."""
        return {name: mib(value) for name, value in asdict(self).items()}

    def peak(self, other: Usage) -> Usage:
        """The larger one of each figure."""
        mine, theirs = asdict(self), asdict(other)
        return Usage(**{name: max(value, theirs[name]) for name, value in mine.items()})


def command(folder: str) -> str:
    """For a shell in the broker's container. It says KiB on disk and path of each file; inode and 512-byte blocks of each open file without a name,
    once for each process that has it; and KiB of memory of each process."""
    return (
        f"find {folder} -type f -printf '%k %p\\n' 2>/dev/null; printf '{_word(DELETED)}'; "
        f"find /proc/[0-9]*/fd -lname '{folder}/* (deleted)' -exec stat -L -c '%i %b' {{}} + 2>/dev/null; "
        f"printf '{_word(MEMORY)}'; grep -h ^VmRSS: /proc/[0-9]*/status 2>/dev/null; true"
    )


def _word(mark: str) -> str:
    return mark.replace("\n", "\\n")


def parse(text: str) -> Usage:
    """Of what the command says. ValueError when that has no files, which means that nothing was measured."""
    named, _, rest = text.partition(DELETED)
    nameless, mark, memory = rest.partition(MEMORY)
    if not mark or not named:
        raise ValueError(f"the broker's files were not listed: {text[:200]!r}")
    sizes = [(int(size) * 1024, path) for size, _, path in (line.partition(" ") for line in named.splitlines())]
    blocks = dict(line.split() for line in nameless.splitlines())
    deleted = sum(map(int, blocks.values())) * 512
    return Usage(
        total=sum(size for size, _ in sizes) + deleted,
        log=sum(size for size, path in sizes if path.endswith(".wal")),
        segments=sum(size for size, path in sizes if path.endswith(".segment")),
        deleted=deleted,
        memory=sum(int(line.split()[1]) for line in memory.splitlines()) * 1024,
    )


def kept(queues: int, size: int) -> int:
    """Bytes of segments that so many empty queues may keep, whose records had `size` bytes."""
    return queues * KEPT_SEGMENTS * SEGMENT_ENTRIES * (size + ENTRY_BYTES)


def allowed(before: Usage, log: int, queues: int, size: int) -> int:
    """Bytes at which a broker's disk counts as free again. `log`: after how many the log of all queues is rolled over."""
    return before.total + log + kept(queues, size)


def largest(usages: Iterable[Usage]) -> Usage:
    """Of several, that of the largest total."""
    return max(usages, key=lambda each: each.total, default=Usage())


def mib(size: float) -> float:
    """Bytes as MiB, with one digit."""
    return round(size / MIB, 1)
