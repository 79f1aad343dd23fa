"""Does a broker that somebody else runs answer? A connection, TLS if the broker has it, and AMQP's first words; no log-in.

The credentials, and the CA, are in Secrets of users, which the operator does not read: so nobody logs in, nothing is published, and whose
certificate it is remains for relays to check. A broker takes note of a client that leaves before the log-in, so this is not done each second.
"""

from __future__ import annotations

from relayfleet.amqp.dial import Address, greeted
from relayfleet.amqp.errors import AmqpError
from relayfleet.observe.probing.brokersighting import WHY, kind_of
from relayfleet.observe.probing.tls import anybody

ALLOWANCE = 64 * 1024
"""Bytes that a broker may say before the log-in: many times what one does."""


async def why_not(address: str, timeout: float, *, tls: bool, server_name: str | None = None) -> str:
    """Ask whoever is at host:port; returns why there was no answer within `timeout` seconds, empty when there was."""
    context = anybody() if tls else None
    try:
        where = Address.parse(address)
        await greeted(where, timeout, tls=context, server_name=server_name, allowance=ALLOWANCE)
    except ValueError as error:
        return str(error)
    except AmqpError as error:
        kind = kind_of(error)
        return (WHY.get((kind, "Connect"), "") if kind else "") or str(error)
    return ""
