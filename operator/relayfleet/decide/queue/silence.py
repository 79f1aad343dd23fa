"""Which brokers do not answer, as far as that is proven. Pure.

A broker is *named* when nothing was confirmed for long enough, by everybody who looks and can see:

- *Long enough.* A broker that is busy or collects garbage stands still for a moment, and nobody has to know. `SILENT` seconds are three to
  ten times the longest pause of a healthy one, and on brokers that are slow at all times, `SLOWNESS` times what a confirm or a connection
  usually takes there.
  By then the prober has left its connection and had no answer on a fresh one either. A refusal or a broken connection is no matter of
  patience: `HARD` seconds, in which it was seen on at least three connections.
- *Everybody.* Two probers on two nodes; each has to have seen it for itself, for `AGREED` seconds. One alone needs `ALONE` times as long.
- *Can see.* A prober to which no broker at all has said anything since the trouble began is in the dark: its silence is its own. Only when relays
  are told nothing either does it count.
- *Live traffic overrules.* A broker through which a relay got a confirm since then is not named: what fails is our way to it.

It takes more to be forgiven than one answer: `BACK` confirms in a row, seen by all who look.
"""

from __future__ import annotations

from collections.abc import Mapping

from relayfleet.decide.queue.looks import NEVER, Broker, Fault, Kind, Look, Trouble

SILENT, HARD, AGREED = 1.5, 0.75, 0.5
SLOWNESS, SLOWEST = 15.0, 6.0
"""The usual latency times this, but no more than so many seconds."""
ALONE = 2.0
HARD_WORDS = 3
BACK = 3
STALE = 3.0
"""A prober that says nothing of a broker for so many seconds does not look at it."""
SKEW = 0.3
"""A relay counts in windows of 0.2 s, so its confirms are known to this much."""
LATELY = 15.0
"""A relay's confirm says so long that a broker works. Probe mails bring one each ten seconds."""

_HARD = frozenset({Kind.REFUSED, Kind.UNREACHABLE, Kind.RESET, Kind.ERRED})


def faults(brokers: Mapping[str, Broker], now: float) -> dict[str, Fault]:
    """The brokers that are named now, of one queue."""
    found = {name: _fault(name, brokers, now) for name in brokers}
    return {name: fault for name, fault in found.items() if fault}


def publishing(brokers: Mapping[str, Broker], now: float) -> bool:
    """Whether a relay was told lately that a majority has its record, since the last trouble began: whatever probers miss, mail is taken."""
    confirmed = max((each.traffic.confirmed for each in brokers.values()), default=NEVER)
    began = [look.trouble.since for each in brokers.values() for look in _fresh(each, now).values() if look.trouble]
    return confirmed > max([now - LATELY, *(each + SKEW for each in began)])


def in_the_dark(brokers: Mapping[str, Broker], now: float) -> bool:
    """Whether all who look get no word from any broker: probers that see nothing prove nothing."""
    looks = [look for each in brokers.values() for look in _fresh(each, now).values()]
    return bool(looks) and all(_dark(look, now) for look in looks)


def _dark(look: Look, now: float) -> bool:
    if look.trouble is None or now - look.trouble.since < SILENT * ALONE:
        return False
    return look.said <= look.trouble.since


def _fault(name: str, brokers: Mapping[str, Broker], now: float) -> Fault | None:
    broker = brokers[name]
    looks = _fresh(broker, now)
    if not looks:
        return None
    if broker.fault is not None:
        return None if _back(broker, broker.fault, looks) else broker.fault
    if not all(look.trouble and now - look.trouble.since >= AGREED for look in looks.values()):
        return None
    if _overruled(broker, looks, now):
        return None
    seeing = {vantage: look for vantage, look in looks.items() if _sees(vantage, look, brokers)}
    return _proven(seeing, len(looks), now)


def _proven(seeing: Mapping[str, Look], of: int, now: float) -> Fault | None:
    troubles = [look.trouble for look in seeing.values() if look.trouble]
    if not troubles:
        return None
    times = 1.0 if len(troubles) > 1 else ALONE
    if max(now - each.since for each in troubles) < times * _long_enough(seeing, troubles):
        return None
    first = min(troubles, key=lambda each: each.since)
    return Fault(first.since, first.kind, first.why, len(troubles), of, now)


def _long_enough(seeing: Mapping[str, Look], troubles: list[Trouble]) -> float:
    if all(each.kind in _HARD and each.words >= HARD_WORDS for each in troubles):
        return HARD
    usual = max(max(look.usual, look.connecting) for look in seeing.values())
    return max(SILENT, min(SLOWNESS * usual, SLOWEST))


def _sees(vantage: str, look: Look, brokers: Mapping[str, Broker]) -> bool:
    """Whether any broker said something to this prober since the trouble began, or relays share its experience."""
    since = look.trouble.since if look.trouble else NEVER
    said = max(each.looks[vantage].said for each in brokers.values() if vantage in each.looks)
    confirmed = max(each.traffic.confirmed for each in brokers.values())
    late = max(each.traffic.late for each in brokers.values())
    return said > since or (late > since + SKEW and confirmed <= since + SKEW)


def _overruled(broker: Broker, looks: Mapping[str, Look], now: float) -> bool:
    since = min(look.trouble.since for look in looks.values() if look.trouble)
    return broker.traffic.confirmed > max(since + SKEW, now - LATELY)


def _back(broker: Broker, fault: Fault, looks: Mapping[str, Look]) -> bool:
    well = all(look.trouble is None and look.run >= BACK for look in looks.values())
    return well or broker.traffic.confirmed > fault.named + SKEW


def _fresh(broker: Broker, now: float) -> dict[str, Look]:
    return {vantage: look for vantage, look in broker.looks.items() if now - look.heard <= STALE}
