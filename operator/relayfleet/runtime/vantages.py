"""The leader's connections to the probers of all replicas, its own among them: targets and bursts go out, evidence comes in.

A prober that is silent for a second is no vantage for that time: nothing is known through it, and nothing is concluded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relayfleet.api.labels import COMPONENT, NAME
from relayfleet.decide.health.roster import Vantage
from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeError
from relayfleet.protocol import probing
from relayfleet.protocol.brokerprobing import BrokerTarget
from relayfleet.protocol.probing import Burst, Hello, ProtocolError, Seen, Target, Watch
from relayfleet.runtime.control import SERVER_NAME

log = logging.getLogger(__name__)

LOOK = 2.0
"""Seconds between two looks at who the replicas are."""
SILENCE = 1.0
"""A prober says something every quarter of a second."""
TURN = 0.05
"""Words that are here already are taken for so many seconds; then other work has its turn. A turn of a leader with a thousand new relays takes
as long as two words are apart: with one word a turn what it hears would be ever older, and at last too old to be evidence."""
_BACKOFF = (0.2, 3.0)
_LABELS = {NAME: "relayfleet", COMPONENT: "operator"}


@dataclass(frozen=True, slots=True)
class Ears:
    """Who wants to know: `take` gets what a vantage saw, `present` which vantages there are."""

    take: Callable[[str, Seen], None]
    present: Callable[[tuple[Vantage, ...]], None]


class Vantages:
    """Keeps one connection to each replica's prober. `hello` is this leader's."""

    def __init__(self, kube: Kube, namespace: str, hello: Hello, tls: ssl.SSLContext, ears: Ears) -> None:
        self._kube = kube
        self._namespace = namespace
        self._hello = hello
        self._tls = tls
        self._ears = ears
        self._watch = Watch(())
        self._links: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._nodes: dict[str, str] = {}

    def watch(self, targets: Sequence[Target]) -> None:
        """From now on these are probed, by all vantages."""
        self._say(Watch(tuple(targets), self._watch.brokers))

    def watch_brokers(self, targets: Sequence[BrokerTarget]) -> None:
        """The same for brokers."""
        self._say(Watch(self._watch.targets, tuple(targets)))

    def _say(self, watch: Watch) -> None:
        self._watch = watch
        for writer in self._writers.values():
            writer.write(probing.encode(watch))

    def burst(self, keys: Sequence[str]) -> None:
        """A closer look at these, now, by all vantages."""
        line = probing.encode(Burst(tuple(keys)))
        for writer in self._writers.values():
            writer.write(line)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                with contextlib.suppress(KubeError):
                    self._follow(await self._kube.list("Pod", self._namespace, _LABELS))
                await asyncio.sleep(LOOK)
        finally:
            for link in self._links.values():
                link.cancel()
            await asyncio.gather(*self._links.values(), return_exceptions=True)

    def _follow(self, pods: Sequence[Object]) -> None:
        """One link for each running replica, by name and address."""
        running = {
            (str(pod["metadata"]["name"]), str(pod["status"]["podIP"])): str(pod["spec"].get("nodeName", ""))
            for pod in pods
            if pod.get("status", {}).get("podIP") and pod["status"].get("phase") == "Running"
        }
        for gone in self._links.keys() - running.keys():
            self._links.pop(gone).cancel()
        for (name, host), node in running.items():
            self._nodes[name] = node
            if (name, host) not in self._links:
                self._links[name, host] = asyncio.create_task(self._link(name, host))

    async def _link(self, name: str, host: str) -> None:
        """Talk to one prober, again and again."""
        wait = _BACKOFF[0]
        while True:
            try:
                async with asyncio.timeout(SILENCE * 2):
                    reader, writer = await asyncio.open_connection(
                        host, probing.PORT, ssl=self._tls, server_hostname=SERVER_NAME, limit=probing.MOST_BYTES
                    )
            except (OSError, TimeoutError) as error:
                log.info("prober of %s (%s): %s", name, host, error or "no answer")
                await asyncio.sleep(wait)
                wait = min(_BACKOFF[1], wait * 2)
                continue
            wait = _BACKOFF[0]
            try:
                await self._talk(name, reader, writer)
            except (OSError, TimeoutError, ProtocolError, ValueError) as error:
                log.warning("prober of %s (%s) is lost: %s", name, host, error or "it says nothing")
            finally:
                self._lost(name, writer)
            await asyncio.sleep(wait)

    async def _talk(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = self._watch
        writer.write(probing.encode(self._hello) + probing.encode(said))
        began = time.monotonic()
        while True:
            async with asyncio.timeout(SILENCE):
                line = await reader.readline()
            if not line:
                raise ConnectionError("it closed the connection")
            seen = probing.decode_seen(line)
            if self._writers.get(name) is not writer:
                self._writers[name] = writer
                if self._watch is not said:  # it has changed before the prober's first word
                    writer.write(probing.encode(self._watch))
                self._tell()
            self._ears.take(name, seen)
            if time.monotonic() - began >= TURN:  # to read a word that is here already takes no turn
                await asyncio.sleep(0)
                began = time.monotonic()

    def _lost(self, name: str, writer: asyncio.StreamWriter) -> None:
        writer.close()
        if self._writers.get(name) is writer:
            del self._writers[name]
            self._tell()

    def _tell(self) -> None:
        self._ears.present(tuple(Vantage(name, self._nodes.get(name, "")) for name in sorted(self._writers)))
