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
    """One quorum queue: on which brokers it has members, which of them are up (none when that is not known), which leads.
    `messages` are those not acknowledged, None when they were not counted."""

    vhost: str
    name: str
    members: frozenset[str]
    online: frozenset[str]
    leader: str = ""
    messages: int | None = None


@dataclass(frozen=True, slots=True)
class Brokers:
    """What the management API said. `running`: brokers of the cluster that are up; `alarms`: broker and what it lacks. `uncounted`: their error
    when they list queues without a word of what is in them and which of their members are up."""

    version: str
    running: frozenset[str]
    known: frozenset[str]
    alarms: tuple[tuple[str, str], ...] = ()
    queues: tuple[Queue, ...] = ()
    uncounted: str = ""


@dataclass(frozen=True, slots=True)
class Silent:
    """A broker that does not answer the operator's probers: the name of its pod, a reason, `message` in words that stay the same while it lasts.
    `known`: it answered them before."""

    pod: str
    reason: str
    message: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probers see of a queue. `publishing`: relays told of a confirm lately. `dark`: they get no word from any broker."""

    silent: tuple[Silent, ...] = ()
    publishing: bool = False
    dark: bool = False


SETTLING = 15.0
"""Seconds after a broker became ready in which one that has never confirmed anything is no case for probers: it makes its queues first."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything at once. `wanted`: brokers that should be there; `stated`: what the spec says, less than `wanted` when shrinking is refused.
    `brokers` None: the management API did not answer, `unreachable` says why. `set_up`: the relays' user was once made. `served`: a majority once took mail. `refused`: why the
    API server does not take a child. `lost`: what to do about lost credentials, `keys_lost` about lost sealing keys. `sealing_key`: the one in use. `unbound`: volume claims that wait
    for a volume. `probed`: what the operator's probers see."""

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
    sealing_key: str | None = None
    paused: bool = False
    unbound: tuple[str, ...] = ()
    probed: Probed = Probed()

    @property
    def serving(self) -> tuple[Pod, ...]:
        """Brokers that take connections, and mail as far as is known. Probers that see less than a majority are wrong when relays publish."""
        ready = tuple(pod for pod in self.pods if pod.ready and not pod.leaving)
        named = {each.pod for each in self.silent}
        heard = tuple(pod for pod in ready if pod.name not in named)
        return ready if len(heard) < self.majority and self.probed.publishing else heard

    @property
    def silent(self) -> tuple[Silent, ...]:
        """Brokers that should answer and do not: none that leaves, and none that has just come."""
        due = {pod.name: pod for pod in self.pods if not pod.leaving}
        found = (each for each in self.probed.silent if each.pod in due)
        return tuple(each for each in found if each.known or (due[each.pod].ready and due[each.pod].age >= SETTLING))

    @property
    def majority(self) -> int:
        """How many brokers are one."""
        return self.wanted // 2 + 1

    @property
    def nodes(self) -> frozenset[str]:
        """The brokers' Erlang names."""
        return frozenset(pod.node for pod in self.pods)
