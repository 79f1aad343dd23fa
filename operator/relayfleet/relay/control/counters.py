"""What the control server counts; plain numbers that only grow, for whoever turns them into metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ControlCounters:
    """Connections that did not end well. `garbage`: what came was no word of a leader; `refused`: its epoch was over; `deaf`: it did not read;
    `crowded`: it had said nothing when others came; `broken`: lost, no handshake, or no word in time."""

    garbage: int = 0
    refused: int = 0
    deaf: int = 0
    crowded: int = 0
    broken: int = 0
