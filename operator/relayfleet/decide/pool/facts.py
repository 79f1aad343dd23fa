"""What a pool's status is made of: facts that the controller gathered, without a judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.relays import IN_TRAFFIC, Place


@dataclass(frozen=True, slots=True)
class Waiting:
    """A container that does not run. `reason` and `message` are the kubelet's; `last` tells how it ended the last time."""

    reason: str
    message: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """A relay pod that is not being deleted. `listed`: it gets new connections. `serves`: its containers are ready. `age`: seconds since it was created, or since its
    readiness last changed. `unschedulable`, `waiting`, `mount_failure`: what holds it up. `signing`: why mail waits there for its DKIM key, or is signed by an old one.
    `unpublished`: which DKIM key is not in DNS by its resolvers. `sealing`: why sealed mail waits there. `suppression`: what is wrong with the
    suppression list there; `withholds`: it sends nothing for that."""

    name: str
    listed: bool = False
    serves: bool = False
    age: float = 0.0
    place: Place = IN_TRAFFIC
    unschedulable: str = ""
    waiting: Waiting | None = None
    mount_failure: str = ""
    signing: str = ""
    unpublished: str = ""
    sealing: str = ""
    suppression: str = ""
    withholds: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """The pool's QueueCluster. `coming`: it is being made or changed and will be ready by itself."""

    name: str
    found: bool = True
    ready: bool = True
    coming: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """SendingIPs that the pool's selector matches: `used` here, `elsewhere` of another region, `unclaimed` not (yet) ours to use."""

    used: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    unclaimed: tuple[str, ...] = ()


ANSWERS, ON_BACKUP, DOWN, UNKNOWN = "Answers", "OnBackup", "Down", "Unknown"
"""What a relay sees of a dependency."""


@dataclass(frozen=True, slots=True)
class Word:
    """What one relay says: the state, since when (RFC 3339, whole seconds, UTC), and why it is not just that it answers."""

    state: str
    since: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A dependency or a resolver with the words of the relays that tell of it. `defers`: a relay that sees it down puts new mail off."""

    name: str
    defers: bool = False
    words: Mapping[str, Word] = field(default_factory=dict)

    def seen(self, state: str) -> list[Word]:
        """The words with this state, by name of relay."""
        return [word for _, word in sorted(self.words.items()) if word.state == state]


@dataclass(frozen=True, slots=True)
class Resolvers:
    """Of the pool's relays, with what they say. `named`: the pool says which, at least two; else each relay has those of its resolv.conf."""

    seen: tuple[Declared, ...] = ()
    named: bool = False


@dataclass(frozen=True, slots=True)
class Fencing:
    """Cutting relays off from the brokers. `managed`: the brokers are ours. `shared`: relays that log in as a user that they share, since an older
    operator made them. `why_not`: why the brokers do not do what is asked. `cut`: relays that are cut off now."""

    managed: bool = True
    shared: tuple[str, ...] = ()
    why_not: str = ""
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sweep:
    """Queues of an earlier pool of this name are being removed, and until that ends no relay of this one gets a user at the brokers. `broker`: the pod of one that
    was asked to remove `removed` and did not answer, "" for none; `stream`: that is the journal."""

    broker: str = ""
    removed: str = ""
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """Everything at once.

    `outdated`: number of pods made of an older template. `settled`: the Deployment has acted on its spec. `refused`: why the API server did
    not take a child or its pods. `rules`: what is ordered for accepted mail, as name (Action). `odd_cordons`: pods whose cordon annotation is no known word (they are taken as Soft).
    """

    region: str
    wanted: int
    queue: Queue
    sources: Sources
    pods: tuple[Pod, ...] = ()
    paused: bool = False
    outdated: int = 0
    settled: bool = True
    refused: str = ""
    rules: tuple[str, ...] = ()
    odd_cordons: tuple[str, ...] = ()
    dependencies: tuple[Declared, ...] = ()
    resolvers: Resolvers = Resolvers()
    fencing: Fencing = Fencing()
    sweep: Sweep | None = None

    @property
    def listed(self) -> int:
        """Relays that get new connections."""
        return sum(pod.listed for pod in self.pods)

    @property
    def takers(self) -> tuple[str, ...]:
        """The relays that get new connections."""
        cordoned = (pod for pod in self.pods if pod.serves and pod.place.level is not Level.ACTIVE)
        return tuple(pod.name for pod in ((pod for pod in self.pods if pod.listed) if self.listed else cordoned))

    @property
    def last_resort(self) -> int:
        """Cordoned relays that get new connections all the same, since no relay is listed (see `listing`)."""
        return 0 if self.listed else sum(pod.serves and pod.place.level is not Level.ACTIVE for pod in self.pods)
