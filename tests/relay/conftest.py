"""What the relay's tests with real brokers share: one cluster a session, mended and well before each test that uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.relay.rabbitmq.cluster import Cluster


@pytest.fixture(scope="session")
def _rabbitmq_nodes() -> Iterator[Cluster]:
    cluster = Cluster()
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
async def rabbitmq(_rabbitmq_nodes: Cluster) -> AsyncIterator[Cluster]:
    """Three nodes, all well; whatever the test does to them is undone for the next one."""
    _rabbitmq_nodes.mend()
    await _rabbitmq_nodes.healthy()
    _rabbitmq_nodes.keep_metadata_by_raft()
    yield _rabbitmq_nodes
