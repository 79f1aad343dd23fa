"""A sealed record: AES-256-GCM around the bytes of `record.encode`. Pure, but for the random nonce.

On the wire: 4 bytes magic and version, 8 bytes name of the key, 12 bytes nonce, then the ciphertext with its tag of 16 bytes. All of it is
bound together, and to two things that stand beside it at the broker: the pool's prefix of queue names and the message id, which is the
record's key. So a sealed record that somebody moves to another pool, or hands out under another record's name, does not open.

A random nonce of 96 bits for each record: at 3,000 records a second the chance that a key of 30 days ever meets one twice is below one in
a billion.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relayfleet.relay.spool.record import RecordError

MAGIC = b"RFS1"
NONCE_BYTES = 12
_HEAD = struct.Struct("!4s8s")
_LENGTH = struct.Struct("!H")
OVERHEAD = _HEAD.size + NONCE_BYTES + 16
"""Bytes that a sealed record has more."""


def is_sealed(body: bytes) -> bool:
    """Whether these bytes say that they are a sealed record."""
    return body.startswith(MAGIC)


def key_of(body: bytes) -> str:
    """The name of the key. Raises RecordError for what is too short for a sealed record."""
    if len(body) < OVERHEAD:
        raise RecordError(f"a sealed record of {len(body)} bytes")
    return bytes(_HEAD.unpack_from(body)[1]).hex()


def seal(key_id: str, key: AESGCM, pool: str, message_id: str, data: bytes) -> bytes:
    """Seal the bytes of a record."""
    head, nonce = _HEAD.pack(MAGIC, bytes.fromhex(key_id)), os.urandom(NONCE_BYTES)
    return b"".join((head, nonce, key.encrypt(nonce, data, _bound(head, pool, message_id))))


def unseal(key: AESGCM, pool: str, message_id: str, body: bytes) -> bytes:
    """The bytes that were sealed by this key, for this pool and message id. Raises RecordError when anything was changed."""
    head, nonce = body[: _HEAD.size], body[_HEAD.size : _HEAD.size + NONCE_BYTES]
    try:
        return key.decrypt(nonce, memoryview(body)[_HEAD.size + NONCE_BYTES :], _bound(head, pool, message_id))
    except InvalidTag as error:
        raise RecordError(
            f"the seal of record {message_id!r} is broken: it was changed, or belongs elsewhere"
        ) from error


def _bound(head: bytes, pool: str, message_id: str) -> bytes:
    name = pool.encode()
    return b"".join((head, _LENGTH.pack(len(name)), name, message_id.encode()))
