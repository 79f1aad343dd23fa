"""The operator's own certificates: with them its replicas know each other, and relays their leader.

One CA, in a Secret of the operator's namespace. Whoever can read it is a replica of this operator, so every process signs a certificate for
itself at its start, which never leaves its temporary files and needs no renewal.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from relayfleet.act import authority
from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeConflict, KubeError
from relayfleet.runtime.settings import Settings

log = logging.getLogger(__name__)

SECRET = "relayfleet-control"
SERVER_NAME = "control.relayfleet"
"""The host name in the certificates of replicas: relays have certificates of the same authority, for another name."""
_AGAIN = 2.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of PEM: this process's certificate and key, and the CA that vouches for all replicas and relays."""

    certificate: Path
    key: Path
    authority: Path

    def client(self) -> ssl.SSLContext:
        """For connections to other replicas, and to relays. Pods have no names that last, so the CA and a name for all of a kind say who they
        are: the caller states it as the server's name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context


async def identity(kube: Kube, settings: Settings, folder: Path) -> Identity:
    """This process's identity, in files in `folder`. Waits for as long as the Secret can neither be read nor made."""
    while True:
        try:
            held = await _secret(kube, settings.namespace)
            return _issue(held, settings.identity, folder)
        except (KubeError, KeyError, ValueError) as error:
            log.warning(
                "no probes yet: Secret %s/%s cannot be used (delete it to have it made anew): %s",
                settings.namespace,
                SECRET,
                error or type(error).__name__,
            )
            await asyncio.sleep(_AGAIN)


async def _secret(kube: Kube, namespace: str) -> Object:
    """The Secret; made if there is none. Of two replicas that make it at once one gets the other's."""
    if found := await kube.get("Secret", namespace, SECRET):
        return found
    certificate, key = authority.new_authority("relayfleet control", datetime.datetime.now(datetime.UTC))
    made = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": SECRET},
        "type": "Opaque",
        "data": {"ca.crt": _encoded(certificate), "ca.key": _encoded(key)},
    }
    try:
        return await kube.create(made)
    except KubeConflict:
        return await kube.get("Secret", namespace, SECRET) or made


def _issue(secret: Object, name: str, folder: Path) -> Identity:
    ca, ca_key = (base64.b64decode(secret["data"][key]).decode() for key in ("ca.crt", "ca.key"))
    now = datetime.datetime.now(datetime.UTC)
    certificate, key = authority.new_certificate(
        ca, ca_key, name, [SERVER_NAME], now, validity=datetime.timedelta(days=3650), client=True
    )
    files = Identity(folder / "control.crt", folder / "control.key", folder / "control-ca.crt")
    for path, text in ((files.certificate, certificate), (files.key, key), (files.authority, ca)):
        path.touch(mode=0o600)
        path.write_text(text)
    return files


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
