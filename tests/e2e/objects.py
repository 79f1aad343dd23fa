"""The objects that tests apply: the three kinds with little in them, and the Secrets that they name."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relayfleet.api.labels import API_VERSION
from tests.e2e.api import Object

BCRYPT_ROUNDS = 4
"""The least: a test does not want to wait for its own passwords."""


def queue_cluster(namespace: str, name: str = "mail", storage: str = "1Gi", **spec: Any) -> Object:
    """Three RabbitMQ brokers with small volumes, unless `spec` says otherwise."""
    given = {"rabbitmq": {"replicas": 3, "storage": {"size": storage}}, **spec}
    return _own("QueueCluster", namespace, name, given)


def relay_pool(namespace: str, name: str = "tx", queue: str = "mail", replicas: int = 2, **spec: Any) -> Object:
    """A pool whose relays take mail with AUTH after STARTTLS, on a node port too, and send by all SendingIPs labelled with its name."""
    given = {
        "replicas": replicas,
        "queueRef": {"name": queue},
        "sendingIPSelector": {"matchLabels": {"pool": name}},
        "service": {"type": "NodePort"},
        "listeners": [{"name": "submission", "port": 587, "tls": "StartTLS"}],
        "authSecretRef": {"name": "submitters"},
        "tlsSecretRef": {"name": "smtp-tls"},
        **spec,
    }
    return _own("RelayPool", namespace, name, given)


def sending_ip(namespace: str, name: str, address: str, region: str, pool: str = "tx", **spec: Any) -> Object:
    """An address that the relays do not bind, said in EHLO as <name>.mail.example.test."""
    given = {"address": address, "region": region, "heloName": f"{name}.mail.example.test", **spec}
    return _own("SendingIP", namespace, name, given, labels={"pool": pool})


def submitters(namespace: str, users: Mapping[str, str], name: str = "submitters") -> Object:
    """The Secret of those who may submit: names and passwords, kept as bcrypt hashes as `htpasswd -B` writes them."""
    lines = [
        f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()}" for user, word in users.items()
    ]
    return _secret(namespace, name, "Opaque", {"htpasswd": "\n".join(lines).encode() + b"\n"})


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM texts of a self-signed certificate (its own authority) and its key."""

    certificate: bytes
    key: bytes

    def secret(self, namespace: str, name: str = "smtp-tls") -> Object:
        """As a Secret of type kubernetes.io/tls."""
        return _secret(namespace, name, "kubernetes.io/tls", {"tls.crt": self.certificate, "tls.key": self.key})


def certificate(*names: str) -> Certificate:
    """For these DNS names, good for a week."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Certificate(
        built.public_bytes(serialization.Encoding.PEM), key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
    )


def _own(kind: str, namespace: str, name: str, spec: Object, labels: Mapping[str, str] | None = None) -> Object:
    metadata: Object = {"namespace": namespace, "name": name}
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _secret(namespace: str, name: str, kind: str, data: Mapping[str, bytes]) -> Object:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "type": kind,
        "data": encoded,
    }
