"""Sends mail as users do: from a pod in the cluster with swaks, from outside with aiosmtplib. Neither client is ours."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib.errors import SMTPRecipientsRefused, SMTPResponseException

from tests.e2e.api import Object
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for

POD = "mailclient"
_TO_THE_DOT = re.compile(r"^ ?[-~]> \.\n<[-~*]+ +(\d{3})[ -](.*)$", re.MULTILINE)
_REFUSED = re.compile(r"^<[*~]\* +(\d{3})[ -](.*)$", re.MULTILINE)
"""swaks marks an error by `<**`, over TLS by `<~*`."""


_GREETING = 'exec 3<>"/dev/tcp/$0/$1" && read -r line <&3 && echo "$line"'


class NotAccepted(Exception):  # noqa: N818 - an answer, not a mistake
    """The server did not answer 250 to the mail. `code` 0: there was no answer; the text is what the client saw."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}" if code else text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Account:
    """Where to send mail and as whom. `tls`: none, starttls or implicit; the certificate is not checked."""

    host: str
    port: int = 587
    username: str | None = None
    password: str = ""
    tls: str = "starttls"


def client_pod(namespace: str, image: str) -> Object:
    """A pod that sleeps, for `send_from_inside` and for smtp-source (networks that need no AUTH)."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "client", "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": security}
    user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [{**container, "command": ["sleep", "infinity"]}],
        "securityContext": user,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": POD}, "spec": spec}


async def greets(region: Region, namespace: str, account: Account, budget: float = 30.0) -> None:
    """Return when the server greets a pod of the cluster. A pool is Ready when its relays are listed; until every node's kube-proxy has read that, a
    second later or some on busy cores, and until a new pod's NetworkPolicy is enforced, a client that tries once is refused."""

    async def holds() -> bool:
        said = await region.execute(
            namespace, POD, "timeout", "5", "bash", "-c", _GREETING, account.host, str(account.port)
        )  # fails as long as nobody answers
        if not said.startswith("220"):
            raise NotYet(said)
        return True

    await wait_for(holds, budget, f"{account.host}:{account.port} greets")


async def send_from_inside(
    region: Region, namespace: str, account: Account, sender: str, recipients: list[str], message: bytes
) -> str:
    """The text of the 250. `message`: UTF-8 that ends with CRLF. Raises NotAccepted."""
    command = ["swaks", "--server", account.host, "--port", str(account.port), "--helo", "client.example.test"]
    command += ["--from", sender, "--to", ",".join(recipients), "--data", "-", "--timeout", "20"]
    command += {"none": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[account.tls]
    if account.username is not None:
        command += ["--auth", "PLAIN", "--auth-user", account.username, "--auth-password", account.password]
    # Whatever comes of it, what was said is wanted.
    text = message.decode().removesuffix("\r\n")  # swaks ends the last line itself
    said = await region.execute(namespace, POD, "sh", "-c", '"$@" 2>&1; exit 0', "sh", *command, stdin=text)
    if (dot := _TO_THE_DOT.search(said)) and dot[1] == "250":
        return dot[2]
    refused = _REFUSED.findall(said)
    raise NotAccepted(int(refused[-1][0]) if refused else 0, refused[-1][1] if refused else said[-1000:])


async def send_from_outside(account: Account, sender: str, recipients: list[str], message: bytes) -> str:
    """The text of the 250. `message`: bytes with CRLF line ends. Raises NotAccepted."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    smtp = aiosmtplib.SMTP(
        hostname=account.host,
        port=account.port,
        timeout=20,
        use_tls=account.tls == "implicit",
        start_tls=account.tls == "starttls",
        tls_context=context if account.tls != "none" else None,
        local_hostname="client.example.test",
    )
    try:
        async with smtp:
            if account.username is not None:
                await smtp.login(account.username, account.password)
            _, text = await smtp.sendmail(
                sender, recipients, message, mail_options=_options(sender, recipients, message)
            )
            return text
    except SMTPResponseException as error:
        raise NotAccepted(error.code, error.message) from error
    except SMTPRecipientsRefused as error:
        raise NotAccepted(error.recipients[0].code, error.recipients[0].message) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise NotAccepted(0, str(error) or type(error).__name__) from error


def _options(sender: str, recipients: list[str], message: bytes) -> list[str]:
    """What a mail needs of the server."""
    options = [] if message.isascii() else ["BODY=8BITMIME"]
    return options if "".join([sender, *recipients]).isascii() else [*options, "SMTPUTF8"]
