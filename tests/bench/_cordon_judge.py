"""What one trial showed, from what was seen on the wire and by the clients. Pure; times are CLOCK_MONOTONIC."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Packet:
    """`S`: SYN to a relay; `A`, `R`: SYN-ACK, RST from it."""

    kind: str
    at: float
    client: str
    port: int
    relay: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """`M`: mail; `T`, `P`: connect only, to ours and to the peer's Service. `port`: the client's own."""

    kind: str
    start: float
    end: float
    port: int
    result: str


@dataclass(slots=True)
class Record:
    """All lines since the trial began. `unseen`: packets of which the sniffers know only that there were some."""

    packets: list[Packet] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    unseen: int = 0

    def begin(self) -> None:
        """Another trial."""
        self.packets.clear()
        self.attempts.clear()
        self.unseen = 0

    def packet(self, line: str) -> None:
        """A line of the sniffer."""
        if line.startswith("L"):
            self.unseen += int(line.split()[2])
            return
        kind, at, client, port, relay, _ = line.split()
        self.packets.append(Packet(kind, float(at), client, int(port), relay))

    def attempt(self, line: str) -> None:
        """A line of the clients."""
        kind, start, end, port, result = line.split(maxsplit=4)
        self.attempts.append(Attempt(kind, float(start), float(end), int(port), result))


def steered(packets: Iterable[Packet], relay: str, operators: frozenset[str]) -> list[float]:
    """When each new connection of a client was handed to the relay; a SYN that is sent again counts once."""
    first: dict[tuple[str, int], float] = {}
    for each in sorted(packets, key=lambda packet: packet.at):
        if each.kind == "S" and each.relay == relay and each.client not in operators:
            first.setdefault((each.client, each.port), each.at)
    return sorted(first.values())


def held(record: Record, relay: str, at: float) -> float | None:
    """Seconds from the moment in which the client began to the one in which its SYN was seen, of the connection that was handed to the relay
    then; None: no client says that it was his. A packet that was lost, or kept, on the way to the relay is sent again after a second."""
    ports = {each.port for each in record.packets if (each.kind, each.relay, each.at) == ("S", relay, at)}
    begun = [each.start for each in record.attempts if each.port in ports and each.start < at]
    return at - max(begun) if begun else None


def recovered(packets: Iterable[Packet], relay: str, fault: float) -> float:
    """When a killed relay answered again after it had refused; infinite: it did not."""
    later = sorted((each.at, each.kind) for each in packets if each.relay == relay and each.at > fault)
    refused = next((at for at, kind in later if kind == "R"), math.inf)
    return next((at for at, kind in later if kind == "A" and at > refused), math.inf)


def last_before(times: Sequence[float], fault: float, end: float) -> float:
    """Seconds from the fault to the last of these times before the end; 0: there was none."""
    return max((each - fault for each in times if fault < each < end), default=0.0)


def failed(attempts: Iterable[Attempt], kinds: str, fault: float) -> list[float]:
    """Starts of the attempts that failed after the fault; one that was under way then counts as begun with it."""
    return sorted(
        max(each.start, fault) for each in attempts if each.kind in kinds and each.result != "ok" and each.end > fault
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank."""
    ranked = sorted(values)
    return ranked[max(math.ceil(share * len(ranked)) - 1, 0)]
