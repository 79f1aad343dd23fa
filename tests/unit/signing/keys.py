"""Keys as users store them, and their public halves as DNS has them."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from relayfleet.protocol.relay_config import SigningDomain, SigningKey

RSA, ED25519 = SigningKey("rsa1", "keys", "rsa.pem"), SigningKey("ed1", "keys", "ed.pem")
BOTH = (SigningDomain("sender.test", (RSA, ED25519)),)

Private = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """Made once a run, since it takes long; another `number` is another key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(key: Private, password: str = "") -> bytes:
    encryption = form.BestAvailableEncryption(password.encode()) if password else form.NoEncryption()
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption)


def traditional(key: rsa.RSAPrivateKey) -> bytes:
    """As `openssl genrsa` wrote it for decades."""
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())


def public_pem(key: Private) -> bytes:
    return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


def dns_text(key: Private) -> bytes:
    """The TXT record of the public half."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)
    der = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


def zone_text(record: str) -> str:
    """The record as a zone file has it: in strings of 255 bytes at most."""
    return " ".join(f'"{record[at : at + 255]}"' for at in range(0, max(len(record), 1), 255))


def mounted(root: Path, **contents: bytes) -> Path:
    """A folder with a Secret `keys` in it; `rsa` and `ed` unless told otherwise. `_` in a name stands for the dot."""
    folder = root / "keys"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ({"rsa_pem": pem(rsa_key()), "ed_pem": pem(ed25519_key())} | contents).items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return root
