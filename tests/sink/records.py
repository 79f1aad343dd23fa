"""What is remembered of a message and of every scripted deed: one JSON object a line, with these keys.

A message (`GET /messages`):
    n, session          number of the message, and of the session it came in
    time                Unix seconds when the final dot had come
    client, port, helo, tls     source address, our port, greeting name, TLS version or ""
    from, from_params   reverse-path and parameters of MAIL
    recipients          accepted ones: [{"address": …, "params": {…}}, …]
    size                bytes, dots unstuffed
    headers_sha256, body_sha256     see `digest.py`
    message_id, test_id, received   Message-ID, X-Test-Id, number of Received fields
    answered            false when it was stored but the client was not told so

A deed (`GET /deeds`): n, session, time, client, port, helo, tls, from, recipients (addresses), stage, deed ("reply 451", "hang" …).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.sink.actions import Action, Stage
from tests.sink.body import Body
from tests.sink.rules import Facts

_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(slots=True)
class Envelope:
    """A transaction: reverse-path, its parameters, and the recipients that were accepted with theirs."""

    sender: str
    params: dict[str, str]
    addresses: list[str] = field(default_factory=list)
    recipient_params: list[dict[str, str]] = field(default_factory=list)

    def add(self, address: str, params: dict[str, str]) -> bytes:
        """Accept a recipient; the reply that says so."""
        self.addresses.append(address)
        self.recipient_params.append(params)
        return b"250 2.1.5 ok\r\n"


def parameters(text: str) -> dict[str, str]:
    """`SIZE=5 SMTPUTF8` as {"SIZE": "5", "SMTPUTF8": ""}."""
    words = (word.partition("=") for word in text.split())
    return {name.upper(): value for name, _, value in words}


def message(number: int, facts: Facts, envelope: Envelope, body: Body, answered: bool) -> bytes:
    """The line of a message."""
    headers = body.headers
    recipients = zip(envelope.addresses, envelope.recipient_params, strict=True)
    return _line(
        {
            **_common(number, facts),
            "from": envelope.sender,
            "from_params": envelope.params,
            "recipients": [{"address": address, "params": params} for address, params in recipients],
            "size": body.size,
            "headers_sha256": headers.sha256,
            "body_sha256": body.body_sha256,
            "message_id": headers.message_id,
            "test_id": headers.test_id,
            "received": headers.received,
            "answered": answered,
        }
    )


def deed(number: int, facts: Facts, stage: Stage, action: Action, recipients: Sequence[str]) -> bytes:
    """The line of a scripted deed."""
    return _line(
        {
            **_common(number, facts),
            "from": facts.sender,
            "recipients": list(recipients),
            "stage": stage,
            "deed": str(action),
        }
    )


def _common(number: int, facts: Facts) -> dict[str, object]:
    return {
        "n": number,
        "session": facts.session,
        "time": round(time.time(), 6),
        "client": facts.client,
        "port": facts.port,
        "helo": facts.helo,
        "tls": facts.tls,
    }


def _line(document: dict[str, object]) -> bytes:
    # What came as bytes that are no UTF-8 is shown with backslashes, so nothing here can fail to encode.
    return _dump(document).encode()
