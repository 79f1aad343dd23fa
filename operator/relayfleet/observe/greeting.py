"""Does a broker that somebody else runs answer? A connection, TLS if the broker has it, and AMQP's first words; no log-in.

The credentials, and the CA, are in Secrets of users, which the operator does not read: so nobody logs in, nothing is published, and whose
certificate it is remains for relays to check. A broker takes note of a client that leaves before the log-in, so this is not done each second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from relayfleet.amqp.dial import Address, greeted
from relayfleet.amqp.errors import AmqpError
from relayfleet.observe.probing.brokersighting import WHY, kind_of
from relayfleet.observe.probing.tls import anybody

ALLOWANCE = 64 * 1024
"""Bytes that a broker may say before the log-in: many times what one does."""

_VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Greeting:
    """`failure`: why there was no answer, "" when there was one. `version`: as in 4.0.5, of a RabbitMQ that says so, else ""."""

    failure: str = ""
    version: str = ""


async def greet(address: str, timeout: float, *, tls: bool, server_name: str | None = None) -> Greeting:
    """Ask whoever is at host:port, for `timeout` seconds at most."""
    context = anybody() if tls else None
    try:
        where = Address.parse(address)
        said = await greeted(where, timeout, tls=context, server_name=server_name, allowance=ALLOWANCE)
    except ValueError as error:
        return Greeting(str(error))
    except AmqpError as error:
        kind = kind_of(error)
        return Greeting((WHY.get((kind, "Connect"), "") if kind else "") or str(error))
    return Greeting(version=_version(said))


def _version(said: dict[str, Any]) -> str:
    """Numbers only: it gets into the status, and anybody could have said it."""
    found = _VERSION.match(str(said.get("version", ""))) if said.get("product") == "RabbitMQ" else None
    return found[0] if found else ""
