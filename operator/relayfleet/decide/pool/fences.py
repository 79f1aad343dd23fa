"""What a pool's status says of fencing: whether a relay that does not answer can be cut off from the brokers, and who is."""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.decide.pool.facts import Fencing, Pool
from relayfleet.decide.statement import Statement

_OTHERWISE = "keeps its records until its connections to the brokers die, 4 to 11 s"


def statement(pool: Pool) -> Statement | None:
    """Fencing; None while there is no queue."""
    if not pool.queue.found:
        return None
    if why := _why_not(pool.fencing, pool.queue.name):
        return Statement("Fencing", "False", "Unavailable", why)
    cut = pool.fencing.cut
    now = f"; {_some(cut)} {'is' if len(cut) == 1 else 'are'} now" if cut else ""
    return Statement("Fencing", "True", "Available", f"a relay that does not answer is cut off from the brokers{now}")


def _why_not(fencing: Fencing, queue: str) -> str:
    if not fencing.managed:
        return (
            f"the brokers of QueueCluster {queue} are not the operator's to manage: a relay that freezes {_OTHERWISE}"
        )
    if fencing.why_not:
        return f"the brokers' management interface does not do what is asked, so a relay that freezes {_OTHERWISE}: {fencing.why_not}"
    if fencing.shared:
        return (
            f"{_some(fencing.shared)} share a broker user, since an older operator made them: one that freezes {_OTHERWISE}. "
            "Any change of spec.template, an annotation for instance, replaces them one by one"
        )
    return ""


def _some(relays: Sequence[str]) -> str:
    more = f" and {len(relays) - 5} more" if len(relays) > 5 else ""
    return f"relay{'s' if len(relays) > 1 else ''} {', '.join(sorted(relays)[:5])}{more}"
