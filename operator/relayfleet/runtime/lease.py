"""Which replica of the operator acts: the holder of one Lease.

The rules that make it safe with clocks that differ between machines:
- A candidate never compares its own clock with the time in the lease. It measures, by its own monotonic clock, how long the lease
  has not changed; only a lease that stood still for its whole duration is taken.
- The holder counts from *before* it asked to renew. `check()` refuses writes from a moment before another one could take the lease.
- Every take-over raises `leaseTransitions`, and with it the epoch that orders carry: relays refuse an older one. The age of the Lease is in the
  epoch too, so that one which somebody deleted and which was made anew is no step back.

A holder renews by what it wrote last, one request a second, and asks again only when somebody else has written meanwhile. It runs in a loop of its own
(`runtime.aside`), so that a second of other work costs no lease; so it also has to be told that the other work goes on (`beat`): a leader whose loop
is stuck may not keep the others out.

kopf's peering is no election (equal priorities freeze each other, nothing compares and swaps), and the election of the client library
compares wall clocks and tells no epoch; hence our own.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable

from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeConflict, KubeError, NotLeader

log = logging.getLogger(__name__)

DURATION = 3
"""Seconds that a lease is good for. A dead leader's work is taken over after this, plus one poll, plus the start of the watches."""
RENEW = 1.0
POLL = 0.5
_TRANSITION_BITS = 20
MARGIN = 0.5
"""Seconds before the end of the lease from which the holder no longer writes."""
STUCK = 6.0
"""Seconds without a beat after which the lease is not renewed: longer than busy cores hold a loop up, and sooner than the kubelet restarts the container."""
STOOD_STILL = 3.0
"""Seconds between two looks that say that the whole process stood still, and not its work alone: what it has missed is not counted."""


class Lease:
    """One candidate for one Lease. `clock` is monotonic, in seconds."""

    def __init__(
        self, kube: Kube, namespace: str, name: str, identity: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._valid_until = float("-inf")
        self._seen: tuple[str, float] | None = None  # resourceVersion, and when it was first seen
        self._taken = False
        self._written: Object | None = None
        self._beat = clock()
        self.epoch = 0

    @property
    def held(self) -> bool:
        """True while no other candidate can hold the lease."""
        return self._clock() < self._valid_until

    def check(self) -> None:
        """The fence: raises NotLeader unless the lease is surely ours."""
        if not self.held:
            raise NotLeader(
                f"{self._identity} does not surely hold lease {self._namespace}/{self._name}: nothing is written"
            )

    def beat(self) -> None:
        """The work goes on. May be called from another thread."""
        self._beat = self._clock()

    async def acquire(self) -> None:
        """Return when the lease is ours."""
        while not await self._attempt():  # noqa: ASYNC110 - the API server is what is polled
            await asyncio.sleep(POLL)
        self.beat()
        log.info("%s leads, epoch %d", self._identity, self.epoch)

    async def keep(self) -> None:
        """Renew, while beats come, until another candidate has it, or has had it meanwhile: who was greeted under its epoch obeys ours no more. Then return."""
        looked, last, since, epoch = self._clock(), self._beat, self._clock(), self.epoch
        while True:
            await asyncio.sleep(RENEW if self.held else POLL)
            before, looked = looked, self._clock()
            if self._beat != last or looked - before > STOOD_STILL:
                last, since = self._beat, looked
            elif looked - since > STUCK:
                log.error("the operator's work has stood still for %.0f s: %s renews no more", STUCK, self._identity)
                return
            if (not await self._attempt() and self._taken) or self.epoch != epoch:
                log.error("%s has lost lease %s/%s", self._identity, self._namespace, self._name)
                return

    async def release(self) -> None:
        """Let a standby take over at once. Best effort: after a failure it has to wait for the lease to end."""
        if not self.held:
            return
        self._valid_until, self._written = float("-inf"), None
        try:
            lease = await self._kube.get("Lease", self._namespace, self._name)
            if lease and lease["spec"].get("holderIdentity") == self._identity:
                await self._kube.replace(lease | {"spec": lease["spec"] | {"holderIdentity": ""}})
        except KubeError as error:
            log.warning("lease was not released: %s", error)

    async def _attempt(self) -> bool:
        try:
            return await self._renew() or await self._ask()
        except KubeConflict:
            return False
        except KubeError as error:
            log.warning("lease %s/%s: %s", self._namespace, self._name, error)
            return False

    async def _renew(self) -> bool:
        """By what was written last, without asking."""
        asked, (last, self._written) = self._clock(), (self._written, None)
        if last is None:
            return False
        try:
            written = await self._kube.replace(self._stated(last, int(last["spec"]["leaseTransitions"])))
        except KubeConflict:
            return False  # somebody has written: it may be another holder, or only a label
        return self._hold(written, asked)

    async def _ask(self) -> bool:
        asked = self._clock()
        lease = await self._kube.get("Lease", self._namespace, self._name)
        wanted = self._next(lease, self._clock())  # what was read may be as new as its answer
        if wanted is None:
            return False
        return self._hold(await (self._kube.replace(wanted) if lease else self._kube.create(wanted)), asked)

    def _hold(self, written: Object, asked: float) -> bool:
        self._taken = False
        self._written = written
        self._valid_until = asked + DURATION - MARGIN
        self.epoch = _epoch(written)
        return True

    def _next(self, lease: Object | None, now: float) -> Object | None:
        """The lease as we would write it, or None while it is somebody else's."""
        if lease is None:
            return self._stated(
                {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": self._metadata()}, 1
            )
        spec = lease.get("spec") or {}
        transitions = int(spec.get("leaseTransitions") or 0)
        if spec.get("holderIdentity") == self._identity and self._valid_until != float("-inf"):
            return self._stated(lease, transitions)
        self._taken = bool(spec.get("holderIdentity"))
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        stood_still = now - self._seen[1] >= int(spec.get("leaseDurationSeconds") or DURATION)
        if not spec.get("holderIdentity") or stood_still:
            return self._stated(lease, transitions + 1)
        return None

    def _metadata(self) -> Object:
        return {"namespace": self._namespace, "name": self._name}

    def _stated(self, lease: Object, transitions: int) -> Object:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = lease.get("spec") or {}
        acquired = old.get("acquireTime") if transitions == old.get("leaseTransitions") else None
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION,
            "acquireTime": acquired or now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        return lease | {"spec": spec}


def _epoch(lease: Object) -> int:
    """Seconds of the Lease's creation by the API server's clock, then the take-overs since."""
    created = lease["metadata"].get("creationTimestamp")
    seconds = int(datetime.datetime.fromisoformat(created).timestamp()) if created else 0
    return (seconds << _TRANSITION_BITS) + int(lease["spec"].get("leaseTransitions", 0))
