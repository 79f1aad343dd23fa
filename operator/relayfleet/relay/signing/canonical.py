"""What is hashed: the *relaxed* forms of header fields and body (RFC 6376 section 3.4). Pure.

A body is taken in pieces. Large ones are worked on in a thread, and each step on bytes keeps the interpreter to itself until it is done:
in one piece, 50 MB would stop the event loop for as long as without a thread.
"""

from __future__ import annotations

import hashlib
import re

PIECE_BYTES = 64 * 1024
_SPACE = re.compile(rb"[ \t]+")
_SOLID = re.compile(rb"[^ \t\r\n.]")
"""A byte after which a body may be cut: no run of white space, no line end and no stuffed dot lies across such a cut."""


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """A field without its line end. `value` is what follows the colon, folded as it came."""
    return name.lower() + b":" + _SPACE.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


def body_digest(message: bytes, start: int) -> bytes:
    """SHA-256 of the relaxed body, which begins at `start` of a dot-stuffed message whose lines all end with CRLF."""
    digest = hashlib.sha256()
    if message.startswith(b".", start):
        start += 1
    cut = _cut(message, start)
    empty = cut == start
    while start < cut:
        digest.update(_relaxed(message[start:cut]))
        start, cut = cut, _cut(message, cut)
    # What is left has no solid byte before a cut any more, so all empty lines at the end are in it.
    rest = _relaxed(message[start:]).rstrip(b"\r\n")
    if rest or not empty:
        digest.update(rest + b"\r\n")
    return digest.digest()


def _cut(message: bytes, start: int) -> int:
    """Where the piece from `start` ends; `start` itself when the rest is the last piece."""
    if len(message) - start <= PIECE_BYTES:
        return start
    found = _SOLID.search(message, start + PIECE_BYTES)
    return found.end() if found else start


def _relaxed(piece: bytes) -> bytes:
    """Without dot-stuffing, white space as one space, none before a line end. Searching costs next to nothing, rewriting does."""
    if b"\n." in piece:
        piece = piece.replace(b"\r\n.", b"\r\n")
    if b"\t" in piece:
        piece = piece.replace(b"\t", b" ")
    while b"  " in piece:
        piece = piece.replace(b"  ", b" ")
    return piece.replace(b" \r\n", b"\r\n")
