"""One cluster for the whole session; tests leave it whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from relayfleet.act.broker.errors import BrokerError
from relayfleet.controllers.queuebrokers import read
from tests.relay.broker.cluster import BROKERS, Brokers

START_SECONDS = 100.0


@pytest.fixture(scope="session")
def _brokers() -> Iterator[Brokers]:
    brokers = Brokers()
    brokers.start()
    yield brokers
    brokers.stop()


@pytest.fixture
async def brokers(_brokers: Brokers) -> AsyncIterator[Brokers]:
    """Three brokers that know each other and are up."""
    await whole(_brokers)
    yield _brokers


async def whole(brokers: Brokers) -> None:
    """Wait until each broker says that all three run."""
    deadline = time.monotonic() + START_SECONDS
    for number in BROKERS:
        while (seen := await _running(brokers, number)) != len(BROKERS):
            if time.monotonic() > deadline:
                raise AssertionError(f"broker {number}: {seen}\n{brokers.logs(number)}")
            await asyncio.sleep(0.3)


async def _running(brokers: Brokers, number: int) -> int | BrokerError:
    """How many run, in the words of one, or why it does not say."""
    try:
        async with brokers.management(number) as management:
            return len((await read(management)).running)
    except BrokerError as error:
        return error
