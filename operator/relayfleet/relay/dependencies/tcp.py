"""Does a port take connections?"""

from __future__ import annotations

import asyncio

from relayfleet.protocol.dependency import TcpTarget
from relayfleet.relay.dependencies.reaching import Names, Reach, Stage, split


class TcpProbe:
    """Connects and closes; nothing is said and nothing read."""

    def __init__(self, target: TcpTarget, names: Names) -> None:
        self._reach = Reach(names, *split(target.address))

    async def ask(self, stage: Stage) -> None:
        """Raises Failed."""
        transport, _ = await self._reach.connect(asyncio.Protocol, stage)
        transport.close()

    def close(self) -> None:
        """Nothing is kept."""
