"""What the leading operator and a relay say to each other: JSON objects, one a line, over mutually authenticated TLS 1.3.

The leader connects to `PORT` of the relay's pod. It says `Hello` first, and then `Order` whenever the relay should behave differently. The
relay sends a `Window` every `PERIOD` seconds in which something happened, and every `BEAT` seconds if nothing did. It obeys the leader of
the highest epoch that it has met, and closes the connection of any other: an operator that lost its lease, and does not know it yet, orders
nothing. A relay without any leader for a minute serves, as does one that starts anew.

Times are ages in seconds at the moment of sending, so clocks of machines need not agree.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

PORT = 9642
PERIOD = 0.2
BEAT = 1.0
MOST_BYTES = 256 * 1024
"""Longest line. A relay names at most `MOST_ROWS` providers in a window, those with the most failures first."""
MOST_ROWS = 64
MOST_DEPENDENCIES = 16
MOST_RESOLVERS = 8
MOST_USAGES = 32
MOST_TEXT = 256
MOST_COUNT = 10**9
MOST_UNPUBLISHED = 2048
"""Characters: a sentence with the longest name and the record of an RSA key of 4096 bits in it."""

SERVER_NAME = "relay.relayfleet"
"""The host name in the certificate of every relay: pods have no names that last, so the CA and this name say who it is."""


class TelemetryError(ValueError):
    """A line that is none of these messages; the text says what is wrong with it."""


class Stand(StrEnum):
    """How a relay should stand to new work. Leave: 421 at a client's next command, no new records, those in hand are finished or handed
    back; it can be called back to Serve."""

    SERVE = "Serve"
    LEAVE = "Leave"


@dataclass(frozen=True, slots=True)
class Hello:
    """The leader's first word: who it is and the epoch of its lease."""

    identity: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Order:
    """What to do, and why: in the words of the verdict, for the relay's log."""

    stand: Stand
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts to deliver of one window, by the name of the SendingIP ("" without one) and the provider. `replied`: the remote said anything
    at all, a refusal too."""

    source: str
    provider: str
    replied: int = 0
    connect_failed: int = 0
    timed_out: int = 0
    reset: int = 0


@dataclass(frozen=True, slots=True)
class Confirms:
    """Publishes of one window to one broker (host:port): confirmed in time, or late (no confirm by the deadline, or no connection)."""

    broker: str
    confirmed: int = 0
    late: int = 0


@dataclass(frozen=True, slots=True)
class Lookups:
    """Questions of one window to a resolver (host:port) or a dependency (its name)."""

    kind: Literal["Resolver", "Dependency"]
    name: str
    answered: int = 0
    failed: int = 0


class DependencyState(StrEnum):
    """What a relay sees of a dependency. OnBackup: the first does not answer, the backup does. Unknown: not asked yet."""

    ANSWERS = "Answers"
    ON_BACKUP = "OnBackup"
    DOWN = "Down"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Dependency:
    """A relay's verdict on a dependency by its name, or on a resolver by its host:port, for how many `seconds` it has been so, and why it is not just that it answers."""

    name: str
    state: DependencyState
    seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Recipients that were accepted from a credential on one day. `own`: by this relay since it counts. Of a relay also what it was told last: `pool` by all
    relays, `counted` of them by itself. A relay that comes to a new leader so brings the pool's count along."""

    credential: str
    own: int
    pool: int = 0
    counted: int = 0


@dataclass(frozen=True, slots=True)
class Usages:
    """What a relay says of its credentials with limits, at most `MOST_USAGES` that have changed. `day`: by UTC, in days since 1970; `run`: another one for each
    life of the relay, in which its counts begin at nothing."""

    day: int
    run: str
    rows: tuple[Usage, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """What the leader says to a relay that told it Usages: recipients of that day by all relays of the pool (`pool`), and by this one (`own`) as the leader
    knows."""

    day: int
    rows: tuple[Usage, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """What live traffic showed since the last one. `accepted` with 250, `deferred` with 4xx (quota and policy left out), probes left out
    of both; `unfit`: why the relay cannot serve, by its own judgement, or ""; `strain`: the share of its tightest limit in use, 0 to 1;
    `stand`: by the last order; `age`: seconds since the middle of the window; `signing`: why mail waits for its DKIM key, and what to do, or "";
    `dependencies` and `resolvers`: all that the relay asks, as it sees them now, which is no word about the relay; `opens`: it can open sealed
    records; `sealing`: why sealed mail waits, and what to do, or ""; `unpublished`: which DKIM key is not in DNS, and what to publish, or "";
    `suppression`: what is wrong with the suppression list, and what to do, or "", and `withholds`: no mail leaves for it; `usage`: what credentials with
    limits have submitted, when there is something new; `lanes`: it takes mail from provider lanes, where there are some; `parks`: it parks mail where it is told to."""

    accepted: int = 0
    deferred: int = 0
    attempts: tuple[Attempts, ...] = ()
    confirms: tuple[Confirms, ...] = ()
    lookups: tuple[Lookups, ...] = ()
    unfit: str = ""
    strain: float = 0.0
    stand: Stand = Stand.SERVE
    age: float = 0.0
    signing: str = ""
    dependencies: tuple[Dependency, ...] = ()
    opens: bool = False
    sealing: str = ""
    resolvers: tuple[Dependency, ...] = ()
    unpublished: str = ""
    suppression: str = ""
    withholds: bool = False
    usage: Usages | None = None
    lanes: bool = False
    parks: bool = False


Word = Hello | Order | PoolUsage
"""An older relay hangs up on a PoolUsage: only who tells Usages is told one."""


def encode(message: Word | Window) -> bytes:
    """One line, with its end."""
    return json.dumps({type(message).__name__.lower(): asdict(message)}, separators=(",", ":")).encode() + b"\n"


def decode_word(line: bytes) -> Word:
    """What a leader said. Raises TelemetryError."""
    match _object(line):
        case {"hello": {"identity": str(identity), "epoch": int(epoch)}} if type(epoch) is int and epoch >= 0:
            return Hello(_text(identity), epoch)
        case {"order": {"stand": ("Serve" | "Leave") as stand, **rest}} if isinstance(rest.get("reason", ""), str):
            return Order(Stand(stand), _text(rest.get("reason", "")))
        case {"poolusage": dict(told)}:
            try:
                return PoolUsage(_count(told["day"]), _usage_rows(told))
            except (KeyError, TypeError, ValueError) as error:
                raise TelemetryError(f"no word of a leader ({error}): {line[:200]!r}") from error
    raise TelemetryError(f"no word of a leader: {line[:200]!r}")


def decode_window(line: bytes) -> Window:
    """What a relay said. Raises TelemetryError."""
    match _object(line):
        case {"window": dict(window)}:
            try:
                return _window(window)
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise TelemetryError(f"no window of a relay ({error}): {line[:200]!r}") from error
    raise TelemetryError(f"no word of a relay: {line[:200]!r}")


def _object(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TelemetryError(f"not JSON: {line[:200]!r}") from error


def _window(window: dict[str, Any]) -> Window:
    """A field that is missing has its default, and one that is not known is passed over: operator and relay may be of two versions."""
    strain, age = (_finite(window.get(name, 0)) for name in ("strain", "age"))
    accepted, deferred = _counts(window, "accepted", "deferred")
    return Window(
        accepted,
        deferred,
        tuple(
            Attempts(_text(row["source"]), _text(row["provider"]), *_counts(row, *_ATTEMPTS))
            for row in _rows(window.get("attempts", []))
        ),
        tuple(
            Confirms(_text(row["broker"]), *_counts(row, "confirmed", "late"))
            for row in _rows(window.get("confirms", []))
        ),
        tuple(
            Lookups(_kind(row["kind"]), _text(row["name"]), *_counts(row, "answered", "failed"))
            for row in _rows(window.get("lookups", []))
        ),
        _text(window.get("unfit", "")),
        strain,
        Stand(window.get("stand", "Serve")),
        age,
        _text(window.get("signing", "")),
        tuple(_dependency(row) for row in _rows(window.get("dependencies", []), MOST_DEPENDENCIES)),
        window.get("opens") is True,
        _text(window.get("sealing", "")),
        tuple(_dependency(row) for row in _rows(window.get("resolvers", []), MOST_RESOLVERS)),
        _text(window.get("unpublished", ""), MOST_UNPUBLISHED),
        suppression=_text(window.get("suppression", "")),
        withholds=window.get("withholds") is True,
        usage=_usages(window.get("usage")),
        lanes=window.get("lanes") is True,
        parks=window.get("parks") is True,
    )


def _usages(told: Any) -> Usages | None:
    return None if told is None else Usages(_count(told["day"]), _text(told["run"]), _usage_rows(told))


def _usage_rows(told: dict[str, Any]) -> tuple[Usage, ...]:
    return tuple(
        Usage(_text(row["credential"]), *_counts(row, "own", "pool", "counted"))
        for row in _rows(told.get("rows", []), MOST_USAGES)
    )


def _dependency(row: dict[str, Any]) -> Dependency:
    state, seconds = DependencyState(row["state"]), _finite(row.get("seconds", 0))
    return Dependency(_text(row["name"]), state, seconds, _text(row.get("why", "")))


_ATTEMPTS = ("replied", "connect_failed", "timed_out", "reset")


def _rows(rows: Any, most: int = MOST_ROWS) -> list[dict[str, Any]]:
    if not isinstance(rows, list) or len(rows) > most:
        raise ValueError(f"rows are a list of at most {most}")
    return rows


def _counts(row: dict[str, Any], *names: str) -> tuple[int, ...]:
    return tuple(_count(row.get(name, 0)) for name in names)


def _kind(value: Any) -> Literal["Resolver", "Dependency"]:
    if value not in ("Resolver", "Dependency"):
        raise ValueError(f"{value!r} is no kind of lookup")
    return "Resolver" if value == "Resolver" else "Dependency"


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST_COUNT:
        raise ValueError(f"{value!r} is no count")
    return value


def _text(value: Any, most: int = MOST_TEXT) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value[:most]


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is no amount")
    return float(value)
