"""Whom a verdict is about: the relays of a pool that should serve, and the vantages that watch them."""

from __future__ import annotations

from dataclasses import dataclass

from relayfleet.decide.health.words import Manual


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay that should serve. A relay that starts, drains or is being deleted is not listed: it is no case for health."""

    name: str
    node: str
    manual: Manual = Manual.NONE


@dataclass(frozen=True, slots=True)
class Vantage:
    """One prober and the node it runs on."""

    name: str
    node: str


@dataclass(frozen=True, slots=True)
class Roster:
    """The pool as it is now. `paused`: evidence is taken in, but no level changes."""

    relays: tuple[Relay, ...]
    vantages: tuple[Vantage, ...]
    paused: bool = False
