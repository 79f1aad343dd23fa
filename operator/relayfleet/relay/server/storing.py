"""The moment of acceptance: a record is given to the queue, and only its confirm makes a `250`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from relayfleet.relay.scavenger.window import Way
from relayfleet.relay.server import replies
from relayfleet.relay.server.replies import Reply
from relayfleet.relay.server.services import Services
from relayfleet.relay.spool.interface import SpoolError, SpoolFull, SpoolTooLarge
from relayfleet.relay.spool.record import Record

PATIENCE = 2.0
"""How many publish timeouts are waited for a queue that keeps not even its own deadline."""
_logger = logging.getLogger(__name__)


async def store(services: Services, record: Record, gone: Callable[[], bool], *, probe: bool = False) -> Reply | bytes:
    """Put the record and return what the client is told: bytes for `250`, a Reply for anything else. Never raises but for cancellation.
    `probe`: it is nobody's mail and counted apart. `gone`: the client is not there any more, so what waited for a place is not stored: it will be sent once more."""
    if probe:
        return await _put(services, record, probe)
    if not await services.scavenger.enter(gone):
        return replies.GONE if gone() else replies.BUSY
    try:
        return await _put(services, record, probe)
    finally:
        services.scavenger.leave()


async def _put(services: Services, record: Record, probe: bool) -> Reply | bytes:
    clock = asyncio.get_running_loop().time
    began, sent_at = clock(), services.scavenger.now()
    try:
        async with asyncio.timeout(PATIENCE * services.config.broker.publish_timeout):
            await services.spool.put(record)
    except SpoolFull:
        return replies.STORE_FULL
    except SpoolTooLarge:
        return replies.TOO_LARGE
    except (SpoolError, TimeoutError) as error:
        services.scavenger.failed(sent_at)
        _complain(services, f"queue: {error or 'no confirm in time'}")
        return replies.STORE_UNAVAILABLE
    except Exception as error:
        _complain(services, f"storing failed unexpectedly: {error!r}", error)
        return replies.STORE_UNAVAILABLE
    services.scavenger.confirmed(Way.MAIL, sent_at, len(record.message))
    if probe:
        services.counters.probes += 1
    else:
        _count(services, record, clock() - began)
    return replies.queued(record.id)


def _count(services: Services, record: Record, seconds: float) -> None:
    counters = services.counters
    counters.accepted += 1
    counters.accepted_recipients += len(record.recipients)
    counters.accepted_bytes += len(record.message)
    counters.confirm_seconds += seconds
    _logger.info(
        "accepted id=%s client=%s credential=%s sender=<%s> recipients=%d size=%d seconds=%.4f",
        record.id,
        record.client or "unknown",
        record.credential or "-",
        record.sender,
        len(record.recipients),
        len(record.message),
        seconds,
    )


def _complain(services: Services, what: str, error: Exception | None = None) -> None:
    held_back = services.gate.open(type(error).__name__, asyncio.get_running_loop().time())
    if held_back is not None:
        _logger.warning("mail not accepted, %s (%d more such lines held back)", what, held_back, exc_info=error)
