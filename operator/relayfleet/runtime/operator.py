"""The composition root of the operator: wait for the lease, then watch and work until it is lost.

A replica that loses its lease begins its program anew, in the same process. What it had in memory may be stale, and a fresh start as standby is the
state that is tested every day; but a process that ended would be a crash to the kubelet, which waits for up to five minutes between
restarts, and after a few bad minutes of an API server no replica would be left to take over.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import kopf
import uvloop

from relayfleet.controllers.handlers import Wiring
from relayfleet.kube.client import Kube, connect
from relayfleet.kube.errors import KubeError
from relayfleet.protocol.probing import Hello
from relayfleet.runtime import proberprocess
from relayfleet.runtime.aside import Aside
from relayfleet.runtime.control import Identity, identity
from relayfleet.runtime.leader import RECONCILE, Leader
from relayfleet.runtime.lease import Lease
from relayfleet.runtime.liveness import Liveness
from relayfleet.runtime.relaylinks import RelayLinks
from relayfleet.runtime.settings import Settings
from relayfleet.runtime.vantages import Ears, Vantages

log = logging.getLogger(__name__)

IDENTIFIED = 5.0
"""Seconds that a leader waits for its certificates before it begins: relays that it makes should have theirs from the start."""

TICK = 0.1
"""Seconds between two looks for what time alone changes: dwell times that end, ramps."""


class Ended(enum.Enum):
    """Why the operator runs no more."""

    ASKED = enum.auto()
    LEASE_LOST = enum.auto()
    FAILED = enum.auto()


SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings) -> int:
    """Run the operator until a signal or a failure; returns the exit status. After the loss of the lease it does not return."""
    ended = uvloop.run(_run(settings))
    if ended is Ended.LEASE_LOST:
        log.warning("%s begins anew, as a standby", settings.identity)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # one that comes now waits for the new program
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - our own command line
    return 0 if ended is Ended.ASKED else 1


def _obey(stop: asyncio.Event) -> None:
    """Have the signals that ask to end set `stop`."""
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


async def _run(settings: Settings) -> Ended:
    stop = asyncio.Event()
    _obey(stop)
    aside = Aside("lease")
    elector, unfenced = await aside.run(connect()), await connect()
    lease = Lease(elector, settings.namespace, settings.lease, settings.identity)
    kube = await connect(lease.check)
    liveness = Liveness(lambda: lease.held)
    files = tempfile.TemporaryDirectory(prefix="relayfleet-")
    known = asyncio.create_task(identity(unfenced, settings, Path(files.name)))
    tasks = {
        "stop": asyncio.create_task(stop.wait()),
        "status server": asyncio.create_task(liveness.serve(settings.status_port)),
        "prober": asyncio.create_task(proberprocess.keep(known)),
        "lead": asyncio.create_task(_lead(settings, lease, aside, kube, liveness, known, stop)),
    }
    try:
        done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        ended = {name: task.exception() for name, task in tasks.items() if task in done}
        lost = ended.get("lead", True) is None
        for name, error in ended.items():
            if name != "stop" and not (name == "lead" and lost):
                log.error("%s has ended%s", name, f": {error!r}" if error else "")
        how = Ended.LEASE_LOST if lost and len(ended) == 1 else Ended.FAILED
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        await aside.run(lease.release())
        await aside.run(elector.close())
        aside.stop()
        await kube.close()
        await unfenced.close()
        known.cancel()
        files.cleanup()
    return Ended.ASKED if stop.is_set() else how


async def _lead(
    settings: Settings,
    lease: Lease,
    aside: Aside,
    kube: Kube,
    liveness: Liveness,
    known: asyncio.Task[Identity],
    stop: asyncio.Event,
) -> None:
    """Acquire the lease, work, return when it is lost. Raises what made the work end otherwise."""
    log.info("%s waits for lease %s/%s", settings.identity, settings.namespace, settings.lease)
    await aside.run(lease.acquire())

    leader = Leader(settings, lease, kube)
    for each in leader.metrics():
        liveness.registry.register(each)
    held = asyncio.create_task(aside.run(lease.keep()))
    tasks = [
        held,
        *(asyncio.create_task(each.run()) for each in leader.queues()),
        asyncio.create_task(_watch(settings, kube, leader.wiring(liveness), known, stop)),
        asyncio.create_task(_observe(settings, lease, kube, leader, known)),
        asyncio.create_task(_command(leader.links, known)),
        asyncio.create_task(_tick(lease, leader)),
    ]
    await _until_one_ends(tasks)
    if held.cancelled():
        raise RuntimeError("work that has no end has ended, while the lease was held")


async def _until_one_ends(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Raises what it ended with; then none runs any more."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def _observe(settings: Settings, lease: Lease, kube: Kube, leader: Leader, known: asyncio.Task[Identity]) -> None:
    """Evidence from the probers of all replicas. Until there is an identity, nothing is known of any relay, and nothing is concluded."""
    identity_ = await asyncio.shield(known)
    hello = Hello(settings.identity, lease.epoch)
    vantages = Vantages(kube, settings.namespace, hello, identity_.client(), Ears(leader.hear, leader.present))
    leader.probe_by(vantages)
    await vantages.run()


async def _command(links: RelayLinks, known: asyncio.Task[Identity]) -> None:
    """Orders to relays, and their telemetry. Without an identity there are none; relays stand as they were last told to."""
    await links.run((await asyncio.shield(known)).client())


async def _tick(lease: Lease, leader: Leader) -> None:
    while True:
        await asyncio.sleep(TICK)
        lease.beat()
        leader.tick()


async def _watch(
    settings: Settings, kube: Kube, wiring: Wiring, known: asyncio.Task[Identity], stop: asyncio.Event
) -> None:
    await asyncio.wait({known}, timeout=IDENTIFIED)
    for kind in RECONCILE:
        await _served(kube, kind, settings.namespaces)
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="pod")(kopf.login_with_service_account)
    kopf.on.login(registry=registry, id="file")(kopf.login_with_kubeconfig)
    wiring.register(registry)
    configured = kopf.OperatorSettings()
    wiring.configure(configured)
    ours = asyncio.all_tasks()
    watches = await kopf.spawn_tasks(
        registry=registry,
        settings=configured,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
    )
    _obey(stop)  # kopf has taken the signals for itself, and would hold the lease for seconds without a watch
    await kopf.run_tasks(watches, ignored=ours)


async def _served(kube: Kube, kind: str, namespaces: tuple[str, ...]) -> None:
    """Wait until the API server knows a kind: kopf looks only once, at its start."""
    while True:
        try:
            await kube.list(kind, namespaces[0] if namespaces else None)
        except KubeError as error:
            log.warning(
                "cannot list %s; is its CustomResourceDefinition installed (chart value crds.install)? %s", kind, error
            )
            await asyncio.sleep(2.0)
        else:
            return
