"""The words of a verdict: three levels, and one reason each.

The same word is the condition's reason, the event's reason, the label of the metric and the word in the log, so a reason is
never spelt twice.
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Level(StrEnum):
    """How much traffic a relay may get. Soft: only when no relay is active. Hard: none, and its sessions end."""

    ACTIVE = "Active"
    SOFT = "SoftCordoned"
    HARD = "HardCordoned"

    @property
    def severity(self) -> int:
        """0, 1 or 2: a worse level has a higher number."""
        return _SEVERITY[self]


_SEVERITY = {Level.ACTIVE: 0, Level.SOFT: 1, Level.HARD: 2}


class Manual(Enum):
    """What a person ordered for one relay, by spec or annotation; it overrules all evidence."""

    NONE = "None"
    CORDON = "Cordon"
    UNCORDON = "Uncordon"


class Reason(StrEnum):
    """Why a relay, or something around it, is judged as it is."""

    # The relay is in traffic.
    HEALTHY = "Healthy"
    RAMPING_UP = "RampingUp"
    STRAINED = "Strained"
    KEPT_IN_TRAFFIC = "KeptInTraffic"
    ALL_BAD = "AllBad"
    # The relay itself is bad.
    SILENT = "Silent"
    REFUSING = "Refusing"
    RESETTING = "Resetting"
    EXITED = "Exited"
    UNFIT = "Unfit"
    NODE_LOST = "NodeLost"
    SLOW = "Slow"
    ERRING = "Erring"
    BROKER_UNREACHABLE = "BrokerUnreachable"
    EGRESS_FAILING = "EgressFailing"
    # A person said so.
    ORDERED = "Ordered"
    # Something else is bad, and no relay is blamed for it.
    VANTAGE_BLIND = "VantageBlind"
    PATH_DISPUTED = "PathDisputed"
    POOL_ERRING = "PoolErring"
    BROKER_DOWN = "BrokerDown"
    DESTINATION_DOWN = "DestinationDown"
    RESOLVER_DOWN = "ResolverDown"
    DEPENDENCY_DOWN = "DependencyDown"


CAPPED = frozenset({Reason.SLOW, Reason.ERRING, Reason.BROKER_UNREACHABLE, Reason.EGRESS_FAILING})
"""Soft cordons for these count against `max_cordoned`: such a relay still works a little, and overload makes all of them look so."""
