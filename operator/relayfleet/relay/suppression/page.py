"""One file of a suppression list in memory: eight bytes an entry.

Entries are kept as keyed digests of 64 bits in a sorted array, because a set of a million strings would take 150 MB. Of a million entries, an
address that is not listed is taken for one with a chance of one in 10^13: once in thousands of years at a hundred million mails a month.
The key is random, so nobody can look for such an address.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass

from relayfleet.relay.suppression.lines import read


@dataclass(frozen=True, slots=True)
class Page:
    """`content` is a digest of the whole file, `digests` are sorted and each of them is there once; `wrong` are the numbers of the lines that mean nobody."""

    content: bytes
    digests: array[int]
    wrong: tuple[int, ...] = ()

    def has(self, digest: int) -> bool:
        """Whether an entry has this digest."""
        place = bisect_left(self.digests, digest)
        return place < len(self.digests) and self.digests[place] == digest


def digest(name: str, key: bytes) -> int:
    """What stands for the normal form of an entry; `key` has up to 64 bytes."""
    return int.from_bytes(
        hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest(), "big"
    )


def content_of(data: bytes) -> bytes:
    """Equal for files that are equal."""
    return hashlib.sha256(data).digest()


def page(data: bytes, key: bytes) -> Page:
    """Read a file. Raises UnicodeDecodeError when it is no UTF-8."""
    found, wrong = set(), []
    for number, line in enumerate(data.decode("utf-8-sig").split("\n"), 1):
        name = read(line)
        if name:
            found.add(digest(name, key))
        elif name is None:
            wrong.append(number)
    return Page(content_of(data), array("Q", sorted(found)), tuple(wrong))
