"""The Secret by which a pool's relays and the leader know each other: read by name, kept while it is good, restored, renewed.

The operator's CA signs a certificate that vouches for servers only, so that nobody who holds a relay's files can pass for an operator. Relays
read their files again when they change, but each change is a moment in which some have the old ones: nothing is made anew without need.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
import secrets
import string
from collections.abc import Mapping, MutableMapping
from typing import Any

from relayfleet.act import authority
from relayfleet.act.kubernetes.children import state_over
from relayfleet.children.rabbitmq.secrets import texts
from relayfleet.children.relay import control, names
from relayfleet.controllers.context import Context
from relayfleet.controllers.evidence import PoolName
from relayfleet.decide.queue.renewal import needs_renewal
from relayfleet.kube.client import Object
from relayfleet.protocol.telemetry import SERVER_NAME
from relayfleet.runtime.control import SECRET

log = logging.getLogger(__name__)

VALIDITY = datetime.timedelta(days=6 * 365)
MARGIN = VALIDITY / 3
"""What is left when a certificate is made anew."""
_WORD = 32
_LETTERS = string.ascii_lowercase + string.digits

Texts = Mapping[str, str]


async def bring(context: Context, pool: Object, memory: MutableMapping[Any, Any]) -> None:
    """See that the Secret is there and right; `memory` belongs to `act.kubernetes.children`. Without a usable CA all is left as it is: relays do
    their work without this. Raises NotOursError and the errors of `kube.errors`."""
    whose = _whose(pool)
    live, operators = await asyncio.gather(
        context.kube.get("Secret", whose[0], names.control(whose[1])),
        context.kube.get("Secret", context.settings.namespace, SECRET),
    )
    held, known = texts(live) or {}, _known(context, whose)
    try:
        data = _certificate(whose, held, known, texts(operators) or {}) | {"discard": _word(held, known)}
    except (KeyError, ValueError) as error:
        log.warning("relays of %s/%s get no certificate: the CA in Secret %s cannot be used: %r", *whose, SECRET, error)
        return
    await state_over(context.kube, live, control.secret(pool, data), memory)
    context.memory["control", *whose] = data


async def look(context: Context, pool: Object) -> None:
    """Learn what the Secret holds without changing it: for a pool that is paused."""
    whose = _whose(pool)
    if not _known(context, whose):
        live = await context.kube.get("Secret", whose[0], names.control(whose[1]))
        context.memory["control", *whose] = texts(live) or {}


def discard(context: Context, pool: PoolName) -> str:
    """The secret word in the address of probe mails to the pool's relays; "" until the pool's slow work has made or read it."""
    return _known(context, pool).get("discard", "")


def forget(context: Context, pool: PoolName) -> None:
    """The pool is gone; a successor of its name gets a word of its own."""
    context.memory.pop(("control", *pool), None)


def _known(context: Context, pool: PoolName) -> Texts:
    found: Texts = context.memory.get(("control", *pool), {})
    return found


def _certificate(whose: PoolName, held: Texts, known: Texts, operators: Texts) -> dict[str, str]:
    """The one that is there, or else the one that was there, or else a new one. Raises KeyError and ValueError for a CA that cannot be used."""
    ca, now = operators["ca.crt"], datetime.datetime.now(datetime.UTC)
    why = ""
    for each in (held, known):
        certificate, key = each.get("tls.crt", ""), each.get("tls.key", "")
        reason = needs_renewal(authority.read(certificate, key, ca), [SERVER_NAME], now, MARGIN)
        if not reason:
            return {"tls.crt": certificate, "tls.key": key, "ca.crt": ca}
        why = why or reason
    log.info("relays of %s/%s get a new certificate: %s", *whose, why)
    certificate, key = authority.new_certificate(
        ca, operators["ca.key"], f"{whose[0]}/{whose[1]}", [SERVER_NAME], now, validity=VALIDITY
    )
    return {"tls.crt": certificate, "tls.key": key, "ca.crt": ca}


def _word(held: Texts, known: Texts) -> str:
    for each in (held, known):
        if re.fullmatch(f"[a-z0-9]{{{_WORD}}}", each.get("discard", "")):
            return each["discard"]
    return "".join(secrets.choice(_LETTERS) for _ in range(_WORD))


def _whose(pool: Object) -> PoolName:
    return pool["metadata"]["namespace"], pool["metadata"]["name"]
