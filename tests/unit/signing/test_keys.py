"""Which keys sign, and what is said of those that do not."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from relayfleet.relay.signing.keys import KeyUnusableError, parse
from tests.unit.signing.keys import ed25519_key, pem, public_pem, rsa_key, traditional


def damaged() -> bytes:
    """A key whose numbers no longer belong together."""
    lines = traditional(rsa_key()).splitlines()
    der = bytearray(base64.b64decode(b"".join(lines[1:-1])))
    der[-1] ^= 0xFF
    der[400] ^= 0xFF
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + base64.encodebytes(bytes(der)) + b"-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("content", "algorithm"),
    [
        pytest.param(pem(rsa_key()), "rsa-sha256", id="RSA"),
        pytest.param(traditional(rsa_key()), "rsa-sha256", id="RSA as of old"),
        pytest.param(pem(ed25519_key()), "ed25519-sha256", id="Ed25519"),
    ],
)
def test_keys_that_sign(content: bytes, algorithm: str) -> None:
    assert parse(content).algorithm == algorithm


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(pem(rsa_key(1024)), "2048 to 4096 bits, it has 1024: make one", id="short"),
        pytest.param(pem(rsa_key(), "secret"), "encrypted: store it without a password", id="encrypted"),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "is a certificate", id="certificate"
        ),
        pytest.param(public_pem(rsa_key()), "public key: put the private one here", id="public key"),
        pytest.param(pem(ec.generate_private_key(ec.SECP256R1())), "neither an RSA nor an Ed25519", id="elliptic"),
        pytest.param(damaged(), "damaged|no private key", id="damaged"),
        pytest.param(pem(rsa_key())[:500], "no private key in PEM", id="cut off"),
        pytest.param(b"", "no private key in PEM", id="empty"),
    ],
)
def test_keys_that_do_not(content: bytes, says: str) -> None:
    with pytest.raises(KeyUnusableError, match=says) as caught:
        parse(content)
    assert "PRIVATE" not in str(caught.value)
