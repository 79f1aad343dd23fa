"""The leader's links to all relays that are watched.

A thousand relays have a thousand connections and no task: one loop looks after all, and a dial is a task for as long as it takes. How many dial
at once is bounded, since a leader that has just come has better things to do than handshakes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from relayfleet.controllers.evidence import PoolName
from relayfleet.controllers.relaypeers import Peer
from relayfleet.protocol import telemetry
from relayfleet.protocol.telemetry import SERVER_NAME, Hello, Usage, Usages, Window
from relayfleet.runtime import relaylink
from relayfleet.runtime.relaylink import Conversation, Link

LOOK = 1.0
"""Seconds between two looks at all links."""
CONNECT = 2.0
"""Seconds to connect, with the handshake."""
DIALS = 64

Take = Callable[[PoolName, str, Window], None]
UsageOf = Callable[[PoolName, str, Usages], tuple[Usage, ...]]


class RelayLinks:
    """Keeps one link to each relay. `hello` is this leader's; `take` gets what relays say; `usage` gives what a relay that spoke of its credentials
    should know of them."""

    def __init__(self, hello: Hello, take: Take, usage: UsageOf = lambda pool, relay, last: ()) -> None:
        self.hello = telemetry.encode(hello)
        self.take, self.usage = take, usage
        self.windows: Counter[tuple[str, str, str]] = Counter()
        self._links: dict[PoolName, dict[tuple[str, str], Link]] = {}
        self._size = 0
        self._tls: ssl.SSLContext | None = None
        self._dials: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(DIALS)

    def follow(self, pool: PoolName, peers: Sequence[Peer]) -> None:
        """Talk to these relays of a pool from now on, and to no others of it."""
        links = self._links.setdefault(pool, {})
        wanted = {(peer.relay, peer.host): peer for peer in peers}
        for gone in links.keys() - wanted.keys():
            links.pop(gone).close()
        for name, peer in wanted.items():
            if name not in links:
                links[name] = Link(pool, *name, self)
                self.dial(links[name])
            links[name].order(peer.order)
        if not links:
            del self._links[pool]
        self._size = sum(map(len, self._links.values()))

    async def run(self, tls: ssl.SSLContext) -> None:
        """Until cancelled. Before it there are no connections; `tls` has this leader's certificate, and checks the relays'."""
        self._tls = tls
        try:
            for link in self._all():
                self.dial(link)
            while True:
                await asyncio.sleep(LOOK)
                now = asyncio.get_running_loop().time()
                for link in self._all():
                    link.look(now)
        finally:
            await self._close()

    def up(self) -> Mapping[PoolName, int]:
        """How many links of each pool are up."""
        return {pool: sum(link.up for link in links.values()) for pool, links in self._links.items()}

    @property
    def share(self) -> float:
        """Seconds between two words to one relay on its credentials."""
        return max(relaylink.SHARE, self._size / relaylink.SHARES)

    def count(self, pool: PoolName, outcome: str) -> None:
        """What became of a line."""
        self.windows[(*pool, outcome)] += 1

    def dial(self, link: Link) -> None:
        """Connect a link."""
        if self._tls is None:
            return
        task = asyncio.get_running_loop().create_task(self._dial(link, self._tls))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, link: Link, tls: ssl.SSLContext) -> None:
        async with self._places:
            if link.closed:
                return
            try:
                async with asyncio.timeout(CONNECT):
                    await asyncio.get_running_loop().create_connection(
                        lambda: Conversation(link), link.host, telemetry.PORT, ssl=tls, server_hostname=SERVER_NAME
                    )
            except (OSError, TimeoutError) as error:
                link.unreached(error)

    def _all(self) -> list[Link]:
        return [link for links in self._links.values() for link in links.values()]

    async def _close(self) -> None:
        self._tls = None
        for link in self._all():
            link.close()
        for task in self._dials:
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
