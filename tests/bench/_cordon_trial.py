"""One trial: load flows, a relay of each Service is hit at a known moment, and the trial ends when neither gets connections any more."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.bench import _cordon_judge as judge
from tests.bench._cordon_child import Child, inside
from tests.bench._cordon_faults import BEHIND_PROXY, GRAY, PORTS, Strike, prepared
from tests.bench._cordon_pods import Pod, node_process
from tests.bench._cordon_watch import Seen, watching
from tests.bench._cordon_world import NAMESPACE, OURS, PEER, World
from tests.e2e.api import access
from tests.testbed.faults import paused_node

SECOND, LOST = "second", "lost"
BEGUN_ANEW = ("sigkill", "sigstop")
"""Faults after which the relay's container is started again: one that died by itself, one that is killed since it answered nobody."""
BOUND = 15.0
"""Seconds after which a relay that still gets connections counts as never cordoned."""
WARM_SECONDS, SETTLE_SECONDS, RESET_SECONDS = 1.5, 2.0, 1.0
SILENCE = {"traffic": 1.5, "idle": 3.0}
"""Seconds without a connection, once the API server says that the relay is out, after which there come no more."""
RATES = {"traffic": {"mail": 50, "trace": 50, "peer": 50}, "idle": {"mail": 0, "trace": 5, "peer": 5}}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done: a fault, a load, and whether a relay of the peer is hit too. `number` chooses the relay.

    `variant`: `busy` (another Service's slice changes every second), `pair` (two relays are hit), `leader` (the node of the operator's leader
    stands still from the same moment) or nothing.
    """

    fault: str
    load: str
    number: int
    variant: str = ""
    with_peer: bool = False

    def victims(self) -> dict[str, tuple[str, int]]:
        """Service and number of each relay that is hit, by a word for it."""
        found = {OURS: (OURS, self.number)}
        if self.variant == "pair":
            found[SECOND] = (OURS, self.number + 1)
        return found | ({PEER: (PEER, self.number)} if self.with_peer else {})


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from the fault. `ended`: see `_over`. `held`: what the last SYN's way to the relay took, as far as a client knows of it."""

    last_syn: float
    steered: int
    last_failure: float
    failures: int
    ended: str
    slice_out: float | None
    event: float | None = None
    reason: str = ""
    held: float | None = None


@dataclass(slots=True)
class Rig:
    """The instruments: clients, sniffers (both write into `record`), the watch of the API server."""

    world: World
    clients: Child
    record: judge.Record
    seen: Seen

    async def load(self, rates: dict[str, int]) -> None:
        """Let the clients try so often from now on; with nothing to try, return when no attempt is open."""
        self.clients.say(json.dumps(rates))
        if not any(rates.values()):
            await self.clients.answer()


@asynccontextmanager
async def rigged(world: World) -> AsyncIterator[Rig]:
    """All instruments, while the block runs."""
    record, place = judge.Record(), world.region.place
    async with AsyncExitStack() as stack:
        for node in place.nodes[1:]:
            ports = (str(PORTS[0]), str(PORTS[-1]))
            sniffer = inside(
                node_process(node), "_cordon_sniffer.py", *ports, on_line=record.packet, answers=("listening",)
            )
            await (await stack.enter_async_context(sniffer)).answer()
        targets = (world.targets[OURS], world.targets[PEER])
        clients = inside(
            world.client.holder, "_cordon_clients.py", *targets, on_line=record.attempt, answers=("quiet",)
        )
        child = await stack.enter_async_context(clients)
        seen = await stack.enter_async_context(watching(access(place.kubeconfig), NAMESPACE))
        rig = Rig(world, child, record, seen)
        await rig.load({})
        yield rig


async def perform(rig: Rig, trial: Trial) -> dict[str, Outcome]:
    """Outcome by victim. It begins when all relays take traffic; those that are killed are replaced."""
    await rig.world.forgiven(rig.seen)
    services = {word: service for word, (service, _) in trial.victims().items()}
    lost = await rig.world.leaders_node() if trial.variant == "leader" else ""
    victims = {word: await rig.world.victim(*which, away=lost) for word, which in trial.victims().items()}
    operators = await rig.world.operators()
    rig.record.begin()
    try:
        async with AsyncExitStack() as stack:
            if trial.variant == "busy":
                await stack.enter_async_context(rig.world.busy())
            strikes = {
                name: await stack.enter_async_context(prepared(trial.fault, pod)) for name, pod in victims.items()
            }
            if trial.fault in BEHIND_PROXY:
                # Sessions were reset to get behind the proxy, for which the relay may have left traffic.
                await asyncio.sleep(RESET_SECONDS)
                await rig.world.forgiven(rig.seen)
            strikes = ({LOST: lambda: _lose(stack, lost)} if lost else {}) | strikes
            faults, ended = await _hit(rig, trial, strikes, victims, operators)
        assert not rig.record.unseen, f"the sniffers missed {rig.record.unseen} packets"
        return {
            name: _outcome(rig, services[name], victims[name], faults[name], ended[name], operators) for name in victims
        }
    finally:
        for pod in victims.values() if trial.fault == "sigkill" else ():
            await rig.world.replace(pod)
        await rig.world.clear_sinks()


async def _hit(
    rig: Rig, trial: Trial, strikes: dict[str, Strike], victims: dict[str, Pod], operators: frozenset[str]
) -> tuple[dict[str, float], dict[str, tuple[float, str]]]:
    """When the faults set in, and when and why the wait for each was over. The load stands still before the faults are undone."""
    await rig.load({name: rate for name, rate in RATES[trial.load].items() if name != "peer" or trial.with_peer})
    await asyncio.sleep(SETTLE_SECONDS if trial.fault in GRAY else WARM_SECONDS)
    rig.seen.forget()
    try:
        for word, (service, _) in trial.victims().items():
            _takes_traffic(rig, trial, service, victims[word], operators)
        faults = {name: await strike() for name, strike in strikes.items()}
        services = {word: service for word, (service, _) in trial.victims().items()}
        over = [_over(rig, trial, services[name], victims[name], faults[name], operators) for name in victims]
        return faults, dict(zip(victims, await asyncio.gather(*over), strict=True))
    finally:
        await rig.load({})


def _takes_traffic(rig: Rig, trial: Trial, service: str, pod: Pod, operators: frozenset[str]) -> None:
    """AssertionError: the relay is out of traffic already, or not yet in it, so a fault would show nothing."""
    assert pod.address in rig.seen.ready(service), f"{pod.name} left traffic before it was hit"
    if trial.load == "traffic":
        times = judge.steered(rig.record.packets, pod.address, operators)
        assert times and time.monotonic() - times[-1] < WARM_SECONDS, (
            f"no connection reached {pod.name} before it was hit"
        )


async def _lose(stack: AsyncExitStack, node: str) -> float:
    """A node stands still, with all that is on it."""
    began = time.monotonic()
    await asyncio.to_thread(stack.enter_context, paused_node(node))
    return began


async def _over(
    rig: Rig, trial: Trial, service: str, pod: Pod, fault: float, operators: frozenset[str]
) -> tuple[float, str]:
    """The moment before which a connection to the relay counts, and why: it got none any more, it came back, or time is up."""
    silence = SILENCE[trial.load]
    while time.monotonic() < fault + BOUND:
        await asyncio.sleep(0.1)
        back = judge.recovered(rig.record.packets, pod.address, fault) if trial.fault in BEGUN_ANEW else math.inf
        if back < math.inf:
            return back, "came back"
        out = rig.seen.out_at(service, pod.address, fault)
        times = judge.steered(rig.record.packets, pod.address, operators)
        if out and time.monotonic() - max([out, *times[-1:]]) > silence:
            return time.monotonic(), "silent"
    return fault + BOUND, "bound"


def _outcome(
    rig: Rig, service: str, pod: Pod, fault: float, over: tuple[float, str], operators: frozenset[str]
) -> Outcome:
    end, ended = over
    times = judge.steered(rig.record.packets, pod.address, operators)
    failures = judge.failed(rig.record.attempts, "MT" if service == OURS else "P", fault)
    out = rig.seen.out_at(service, pod.address, fault)
    told = rig.seen.told_at(fault, pod.name) if service == OURS else None
    steered = [each for each in times if fault < each < end]
    return Outcome(
        last_syn=BOUND if ended == "bound" else judge.last_before(times, fault, end),
        steered=len(steered),
        last_failure=max((each - fault for each in failures), default=0.0),
        failures=len(failures),
        ended=ended,
        slice_out=out - fault if out else None,
        event=told[0] - fault if told else None,
        reason=told[1] if told else "",
        held=judge.held(rig.record, pod.address, steered[-1]) if steered else None,
    )
