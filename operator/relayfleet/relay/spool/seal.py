"""A sealed record: AES-256-GCM around the bytes of `record.encode`. Pure, but for the random nonce.

On the wire: 4 bytes magic and version, 8 bytes name of the key, 12 bytes nonce, the record's key (its message id at the broker) with a byte of
length before it, then the ciphertext with its tag of 16 bytes. All of it is bound together, and to the pool's prefix of queue names. The
record's key has to be the message id as well: so a sealed record that somebody moves to another pool, or hands out under another record's
name, does not open. It stands in the bytes too, so that a record whose message id is lost is not.

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
_HEAD = struct.Struct(f"!4s8s{NONCE_BYTES}sB")
_TAG = 16
OVERHEAD = _HEAD.size + _TAG
"""Bytes that a sealed record has more, besides its key."""


def is_sealed(body: bytes) -> bool:
    """Whether these bytes say that they are a sealed record."""
    return body.startswith(MAGIC)


def key_of(body: bytes) -> str:
    """The name of the key that sealed it. Raises RecordError for what is too short for a sealed record."""
    _begin(body)
    return body[4:12].hex()


def name_of(body: bytes) -> str:
    """The key of the record in it, as it says. Raises RecordError."""
    try:
        return body[_HEAD.size : _begin(body)].decode()
    except UnicodeDecodeError as error:
        raise RecordError("a sealed record whose name is no text") from error


def seal(key_id: str, key: AESGCM, pool: str, name: str, data: bytes) -> bytes:
    """Seal the bytes of the record with the key `name`, of at most 255 bytes."""
    nonce, text = os.urandom(NONCE_BYTES), name.encode()
    head = _HEAD.pack(MAGIC, bytes.fromhex(key_id), nonce, len(text)) + text
    return head + key.encrypt(nonce, data, head + pool.encode())


def unseal(key: AESGCM, pool: str, message_id: str, body: bytes) -> bytes:
    """The bytes that were sealed by this key, for this pool, under this message id. Raises RecordError when anything was changed."""
    if name_of(body) != message_id:
        raise RecordError(f"a sealed record is named {message_id!r}, and is another one")
    begin = _begin(body)
    nonce = body[_HEAD.size - 1 - NONCE_BYTES : _HEAD.size - 1]
    try:
        return key.decrypt(nonce, memoryview(body)[begin:], body[:begin] + pool.encode())
    except InvalidTag as error:
        raise RecordError(
            f"the seal of record {message_id!r} is broken: it was changed, or belongs elsewhere"
        ) from error


def _begin(body: bytes) -> int:
    """Where the ciphertext begins. Raises RecordError."""
    begin = _HEAD.size + (body[_HEAD.size - 1] if len(body) >= _HEAD.size else 0)
    if len(body) < begin + _TAG:
        raise RecordError(f"a sealed record of {len(body)} bytes")
    return begin
