"""TLS for the sink: a given certificate, or a self-signed one that the `openssl` command makes at the start."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path


class NoCertificate(Exception):  # noqa: N818 - a state, not a mistake
    """There is none and none can be made; the text says what to do."""


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context with this certificate (chain) and key, PEM files."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def self_signed(name: str) -> ssl.SSLContext:
    """A certificate for `name`, good for a month. Raises NoCertificate without the `openssl` command."""
    if not shutil.which("openssl"):
        raise NoCertificate("no STARTTLS: the openssl command is missing; install it or give --tls-cert and --tls-key")
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key"), Path(folder, "certificate")
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-batch",
        ]
        command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "30"]
        subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        return context(certificate, key)
