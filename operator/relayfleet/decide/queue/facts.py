"""What a queue's status is made of: facts that the controller gathered, without a judgement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pod:
    """A broker's pod. `age`: seconds since it was created, or its readiness last changed. `current`: made of the current template. `placed`:
    it has a node. The texts are the scheduler's and the kubelet's: `unschedulable`, `waiting` (reason of a container that does not run) with `message`, `ended` (how it ended the last time)."""

    name: str
    node: str
    ready: bool = False
    current: bool = True
    leaving: bool = False
    placed: bool = True
    started: bool = False
    age: float = 0.0
    unschedulable: str = ""
    waiting: str = ""
    message: str = ""
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """One quorum queue: on which brokers it has members, which of them are up, which leads. `messages` are those not acknowledged."""

    vhost: str
    name: str
    members: frozenset[str]
    online: frozenset[str]
    leader: str = ""
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Brokers:
    """What the management API said. `running`: brokers of the cluster that are up; `alarms`: broker and what it lacks."""

    version: str
    running: frozenset[str]
    known: frozenset[str]
    alarms: tuple[tuple[str, str], ...] = ()
    queues: tuple[Queue, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything at once. `wanted`: brokers that should be there; `stated`: what the spec says, less than `wanted` when shrinking is refused.
    `brokers` None: the management API did not answer, `unreachable` says why. `set_up`: the relays' user was once made. `served`: a majority once took mail. `refused`: why the
    API server does not take a child. `lost`: what to do about lost credentials, `keys_lost` about lost sealing keys. `unbound`: volume claims that wait for a volume."""

    wanted: int
    stated: int
    pods: tuple[Pod, ...] = ()
    brokers: Brokers | None = None
    unreachable: str = ""
    set_up: bool = False
    served: bool = False
    refused: str = ""
    lost: str = ""
    keys_lost: str = ""
    paused: bool = False
    unbound: tuple[str, ...] = ()

    @property
    def serving(self) -> tuple[Pod, ...]:
        """Brokers that take connections."""
        return tuple(pod for pod in self.pods if pod.ready and not pod.leaving)

    @property
    def majority(self) -> int:
        """How many brokers are one."""
        return self.wanted // 2 + 1

    @property
    def nodes(self) -> frozenset[str]:
        """The brokers' Erlang names."""
        return frozenset(pod.node for pod in self.pods)
