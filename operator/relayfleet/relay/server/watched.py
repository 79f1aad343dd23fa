"""Small files that may change under us: a mounted Secret is swapped as a whole, by a symbolic link.

Nothing is notified and nothing polls: who needs the files asks for their signature first, which costs one `stat` a file, and reads
them again when it differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

Signature = tuple[tuple[str, int, int, int], ...]


def signature(files: Iterable[Path]) -> Signature:
    """Changes whenever one of the files does; a file that is not there does not count."""
    found = []
    for each in files:
        try:
            status = each.stat()
        except OSError:
            continue
        found.append((str(each), status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def entries(folder: Path) -> list[Path]:
    """The files of a mounted Secret, in order; without the links that Kubernetes swaps (`..data`). Empty when there is no folder."""
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("..") and each.is_file())
    except OSError:
        return []
