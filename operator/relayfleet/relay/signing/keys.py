"""Private keys for DKIM from PEM: RSA (RFC 6376, RFC 8301) and Ed25519 (RFC 8463)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

FEWEST_BITS, MOST_BITS = 2048, 4096
"""Receivers distrust shorter RSA keys, and need not know longer ones (RFC 8301 section 3.2)."""
MAKE_ONE = "make one with `openssl genrsa 2048`"


RSA = "rsa-sha256"


class KeyUnusableError(ValueError):
    """This is no key to sign with; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """`algorithm` is the a= of the signature; `sign` takes what RFC 6376 section 3.7 has hashed for it. `public`: the public half in the forms
    that p= may have, the one to publish first."""

    algorithm: str
    sign: Callable[[bytes], bytes] = field(repr=False)
    public: tuple[bytes, ...] = field(repr=False)


def parse(pem: bytes) -> Key:
    """The key in a PEM file. Raises KeyUnusableError."""
    if b"BEGIN CERTIFICATE" in pem:
        raise KeyUnusableError(f"it is a certificate, not a private key: {MAKE_ONE}")
    if b"BEGIN PUBLIC KEY" in pem or b"BEGIN RSA PUBLIC KEY" in pem:
        raise KeyUnusableError("it is a public key: put the private one here, and the public one into DNS")
    try:
        # OpenSSL's own check of RSA keys takes 0.1 s for each, and a pool may have hundreds; a signature that verifies says as much.
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:
        raise KeyUnusableError("it is encrypted: store it without a password (openssl pkey)") from error
    except ValueError as error:
        raise KeyUnusableError(f"it is no private key in PEM: {MAKE_ONE}") from error
    try:
        return _checked(key)
    except (InvalidSignature, ValueError) as error:
        if isinstance(error, KeyUnusableError):
            raise
        raise KeyUnusableError(f"it is damaged, its signatures do not verify: {MAKE_ONE}") from error


def _checked(key: object) -> Key:
    match key:
        case RSAPrivateKey():
            if not FEWEST_BITS <= key.key_size <= MOST_BITS:
                raise KeyUnusableError(
                    f"RSA keys need {FEWEST_BITS} to {MOST_BITS} bits, it has {key.key_size}: {MAKE_ONE}"
                )
            key.public_key().verify(_rsa(key)(b"test"), b"test", PKCS1v15(), hashes.SHA256())
            return Key(RSA, _rsa(key), _rsa_public(key))
        case Ed25519PrivateKey():
            return Key("ed25519-sha256", _ed25519(key), (key.public_key().public_bytes_raw(),))
    raise KeyUnusableError(f"it is neither an RSA nor an Ed25519 key: {MAKE_ONE}")


def _rsa(key: RSAPrivateKey) -> Callable[[bytes], bytes]:
    return lambda data: key.sign(data, PKCS1v15(), hashes.SHA256())


def _rsa_public(key: RSAPrivateKey) -> tuple[bytes, ...]:
    # RFC 6376 names RSAPublicKey, its examples and all the world have SubjectPublicKeyInfo: receivers take both.
    forms = PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1
    return tuple(key.public_key().public_bytes(Encoding.DER, each) for each in forms)


def _ed25519(key: Ed25519PrivateKey) -> Callable[[bytes], bytes]:
    # What is signed is the hash (RFC 8463 section 3), which Ed25519 hashes once more.
    return lambda data: key.sign(hashlib.sha256(data).digest())
