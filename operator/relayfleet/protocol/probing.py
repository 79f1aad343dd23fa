"""What the leading operator and a prober say to each other: JSON objects, one a line, over mutually authenticated TLS.

The leader connects. It says `Hello` first, then `Watch` whenever targets change (all of them, each time), and `Burst` when it wants a
closer look at once. The prober sends `Seen`: bad news at once, good news gathered for `GATHER` seconds.
Brokers are probed too (`protocol.brokerprobing`): `Watch` names them, `Seen` tells of them.
A prober serves the leader of the highest epoch it has met and closes the connection of any other. Without a leader it probes nothing.

Times are ages in seconds at the moment of sending, by the clock that `Seen` states, so clocks of machines need not agree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from relayfleet.protocol.brokerprobing import (
    BrokerError,
    BrokerSight,
    BrokerTarget,
    is_time,
    read_sight,
    read_target,
    sight_row,
)

PORT = 9641
GATHER = 0.05
DISCARD_DOMAIN = "discard.relayfleet.invalid"
"""Of the discard addresses of all pools; before it a secret word of the pool."""
MOST_BYTES = 4 * 1024 * 1024
"""Longest line: `Watch` with ten thousand targets has about half of it."""

Kind = Literal["Answered", "Silent", "Refused", "Reset", "Erred"]
Probe = Literal["Dialogue", "Connect", "Transaction", "Storage"]
"""Transaction: sender and recipient of a mail, taken back. Storage: a whole mail, up to the queue's confirm."""
_KINDS = ("Answered", "Silent", "Refused", "Reset", "Erred")
_PROBES = ("Dialogue", "Connect", "Transaction", "Storage")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)?")


T = TypeVar("T")


class ProtocolError(ValueError):
    """A line that is none of these messages; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The leader's first word: who it is and the epoch of its lease."""

    identity: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Target:
    """One relay to probe. `key` is the leader's name for it; `implicit_tls`: TLS from the first byte; `proxy_sources`: networks whose
    connections must begin with a PROXY header; `discard`: the pool's discard address, to which probe mails go ("": none are sent, as for a
    leader that does not know of it). Times in seconds."""

    key: str
    host: str
    port: int
    implicit_tls: bool = False
    interval: float = 0.25
    timeout: float = 0.5
    proxy_sources: tuple[str, ...] = ()
    discard: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Watch:
    """All that is to be probed from now on, relays and brokers; what is not named is no longer probed."""

    targets: tuple[Target, ...]
    brokers: tuple[BrokerTarget, ...] = ()


@dataclass(frozen=True, slots=True)
class Burst:
    """Probe these keys at once, each on a fresh socket."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """One observation. `age`: how long ago, at sending; `latency` of an answer; `code` of a reply that says failure; `open` of a silence:
    how long ago each unanswered probe was sent, the oldest first, 16 at most."""

    key: str
    kind: Kind
    probe: Probe
    age: float
    latency: float = 0.0
    code: int = 0
    open: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a prober saw since its last word. `now`: its own clock at sending, monotonic seconds; with it the leader puts what two words say
    of one moment at one moment, however late each arrived."""

    sights: tuple[Sight, ...]
    now: float = 0.0
    brokers: tuple[BrokerSight, ...] = ()


Order = Hello | Watch | Burst


def encode(message: Order | Seen) -> bytes:
    """One line, with its end."""
    if isinstance(message, Seen):
        sights = [[s.key, s.kind, s.probe, s.age, s.latency, s.code, list(s.open)] for s in message.sights]
        body: Any = {"seen": sights, "now": message.now, "brokers": list(map(sight_row, message.brokers))}
    elif isinstance(message, Watch):
        body = {"watch": list(map(asdict, message.targets)), "brokers": list(map(asdict, message.brokers))}
    elif isinstance(message, Burst):
        body = {"burst": list(message.keys)}
    else:
        body = {"hello": asdict(message)}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def decode_order(line: bytes) -> Order:
    """What a leader said. Raises ProtocolError."""
    match order := _object(line):
        case {"hello": {"identity": str(identity), "epoch": int(epoch)}}:
            return Hello(identity, epoch)
        case {"watch": [*targets]}:
            return Watch(tuple(map(_target, targets)), tuple(_brokers(order, read_target)))
        case {"burst": [*keys]} if all(isinstance(key, str) for key in keys):
            return Burst(tuple(keys))
    raise ProtocolError(f"no order of a leader: {line[:200]!r}")


def decode_seen(line: bytes) -> Seen:
    """What a prober said. Raises ProtocolError."""
    match word := _object(line):
        case {"seen": [*sights], "now": now} if is_time(now):
            return Seen(tuple(map(_sight, sights)), float(now), tuple(_brokers(word, read_sight)))
    raise ProtocolError(f"no word of a prober: {line[:200]!r}")


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:200]!r}") from error


def _brokers(message: dict[str, Any], read: Callable[[Any], T]) -> list[T]:
    """What a message says of brokers; nothing when it is of a side that does not know of them."""
    rows = message.get("brokers", [])
    if not isinstance(rows, list):
        raise ProtocolError("brokers are no list")
    try:
        return list(map(read, rows))
    except BrokerError as error:
        raise ProtocolError(str(error)) from error


def _target(each: Any) -> Target:
    match each:
        case {
            "key": str(key),
            "host": str(host),
            "port": int(port),
            "implicit_tls": bool(implicit_tls),
            "interval": float(interval) | int(interval),
            "timeout": float(timeout) | int(timeout),
            "proxy_sources": [*networks],
        } if (
            0 < port < 65536
            and 0.01 <= interval <= 3600
            and 0.01 <= timeout <= 3600
            and _texts(networks)
            and _is_address(discard := each.get("discard", ""))
        ):
            return Target(key, host, port, implicit_tls, interval, timeout, tuple(networks), discard)
    raise ProtocolError(f"no target: {str(each)[:200]}")


def _sight(each: Any) -> Sight:
    # Thousands a second come in: this is written for speed.
    if isinstance(each, list) and len(each) == 7:
        key, kind, probe, age, latency, code, open_ = each
        if (
            isinstance(key, str)
            and kind in _KINDS
            and probe in _PROBES
            and is_time(age)
            and is_time(latency)
            and isinstance(code, int)
            and isinstance(open_, list)
            and len(open_) <= 16
            and all(map(is_time, open_))
        ):
            return Sight(key, kind, probe, age, latency, code, tuple(open_))
    raise ProtocolError(f"no observation: {str(each)[:200]}")


def _is_address(value: Any) -> bool:
    """It is written into an SMTP session as it is, so it holds nothing but what an address of ours can hold."""
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None


def _texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
