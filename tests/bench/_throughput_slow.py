"""New mail to others while one provider holds every session and much mail is queued for it.

The provider is the project's sink, which takes mail as any other until all the sessions are open that the relay may have there. From then on it
keeps each waiting for the answer to its final dot. That is the only place where a session is held for long: silence anywhere before ends by itself
after two to five minutes (RFC 5321), silence from the first banner on would leave a single session, and the relay passes over an address that let
it wait, so that the mail of all hands would be put off at once. The answer comes shortly before the relay would give the session up, for the same
reason, and the next mail is held like the one before.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from relayfleet.protocol.relay_config import Delivery
from relayfleet.relay.delivery.session import END_SECONDS
from relayfleet.relay.routing.servers import written
from tests.bench import _throughput_latency as latency
from tests.bench._throughput_destinations import OTHERS, SLOW, SLOW_ADDRESS, TTL, zone
from tests.bench._throughput_filling import fill, queues_of
from tests.bench._throughput_latency import Latency
from tests.bench._throughput_plan import ALONE_BURSTS, bursts
from tests.bench._throughput_relay import SESSIONS_OUT, Relay
from tests.bench._throughput_world import World
from tests.fakes.dns import responder
from tests.sink.client import SinkClient

HOLD_SECONDS = END_SECONDS - 10.0
OPEN_SECONDS = 10.0
"""For which all sessions are waited for; then those that are open are held."""
SETTLE_SECONDS = 10.0
"""After so much mail was put at once, which is nothing that a provider does: brokers still write it where it stays."""
_LOOK, WATCH_SECONDS = 0.05, 5.0
RECIPIENTS = tuple(each.recipient for each in OTHERS)


class Hold:
    """What the slow provider does. `took`: mails before it began to hold sessions; `looks`: how many it held, each time that somebody looked."""

    def __init__(self, sink: SinkClient) -> None:
        self._sink = sink
        self.took = 0
        self.looks: list[int] = []

    async def begin(self, sessions: int = SESSIONS_OUT, patience: float = OPEN_SECONDS) -> None:
        """When so many sessions are open, or after so many seconds: then those that are."""
        until = time.monotonic() + patience
        while time.monotonic() < until and (await self._sink.stats())["sessions_open"] < sessions:  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(_LOOK)
        await self._sink.put_rules({"stage": "dot", "delay": HOLD_SECONDS})
        self.took = (await self._sink.stats())["messages"]

    async def look(self) -> None:
        """How many sessions it holds now."""
        stats = await self._sink.stats()
        begun = stats["deeds"] - (stats["messages"] - self.took)  # one too many for each that broke meanwhile
        self.looks.append(min(begun, stats["sessions_open"]))

    async def watch(self) -> None:
        """Look every few seconds."""
        while True:
            await self.look()
            await asyncio.sleep(WATCH_SECONDS)


async def beside_slow_provider(made: World, count: int, minutes: float, *, lanes: bool) -> latency.Row:
    """`count` records are queued for it."""
    pool = "lanes" if lanes else "no-lanes"
    async with (
        responder(zone(), TTL) as names,
        latency.timing_sink() as sink,
        latency.timing_sink(SLOW_ADDRESS) as slow,
    ):
        delivery = Delivery(port=latency.LATENCY_PORT, resolvers=(written(names.address),), lanes=lanes)
        with made.relay(pool, delivery=delivery).running() as relay:
            await relay.ready(*(["lanes_used"] if lanes else []))
            without = await _alone(relay, sink, min(bursts(minutes), ALONE_BURSTS))
            hold = Hold(slow)
            seconds = await _queue(made, pool, hold, count, lanes=lanes)
            await asyncio.sleep(SETTLE_SECONDS)
            loaded = await _beside(relay, sink, hold, bursts(minutes))
            moved = relay.metrics().get("moved_total", 0.0)
    made.brokers.clear()  # what is left would move on in the middle of what is measured next
    if not any(hold.looks):
        raise RuntimeError("the slow provider held no session")
    detail = {
        "queued": count,
        "seconds_to_put_them": round(seconds, 1),
        "minutes": minutes,
        "lanes": lanes,
        "taken_before": hold.took,
        "sessions_held": statistics.median(hold.looks),
        "sessions_held_fewest": min(hold.looks),
        "moved": moved,
    }
    return latency.row(f"slow-provider{'' if lanes else '.no-lanes'}", "none queued", loaded, without, detail)


async def _alone(relay: Relay, sink: SinkClient, count: int) -> Latency:
    """After a burst by which the relay knows the way to each."""
    latency.complete(await latency.measure(relay.port, sink, "warm-up", RECIPIENTS))
    return latency.complete(await latency.measure(relay.port, sink, "without", RECIPIENTS, count))


async def _queue(made: World, pool: str, hold: Hold, count: int, *, lanes: bool) -> float:
    """Put the mail where new mail goes, while the relay takes it and the provider begins to hold it. Seconds that took."""
    names = queues_of(made.brokers, pool)
    queue = names.place(SLOW.lane) if lanes else names.ready("a")
    async with asyncio.TaskGroup() as group:
        filling = group.create_task(fill(made.brokers, [queue], count, SLOW.recipient))
        group.create_task(hold.begin())
    return filling.result()


async def _beside(relay: Relay, sink: SinkClient, hold: Hold, count: int) -> Latency:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(hold.watch())
        found = await latency.measure(relay.port, sink, "with", RECIPIENTS, count)
        watching.cancel()
    return found
