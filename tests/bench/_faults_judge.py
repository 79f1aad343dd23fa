"""What came of each mail, and how long things took. Pure: the client's list, the sink's records, the faults go in; the relays' counters do not.

Every try of the client has an id of its own, which is the local part of its only recipient.

lost        answered with 250, and at the end neither at the sink, nor reported as undeliverable, nor in a queue
duplicate   more copies of one try at the sink than one. The journal explains it when a relay said that the outcome of an earlier
            attempt was uncertain (RFC 5321 leaves no other way); any other is a finding
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

from tests.bench._faults_scene import Struck

ATTEMPTS = ("rcpt", "refused")
BEGUN_SECONDS = 5.0
"""A relay that began with a record longer ago has it in hand no more: the sink answers within 2 s, the journal too."""
AFTERMATH_SECONDS = 10.0
"""A pause that begins so long after the end of a fault, or after the next one began, is not this fault's."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the sink saw or did. `stage`: rcpt (an attempt begins), refused (it ends at once, by a 451), dot (past the final dot) or stored.
    Unix seconds."""

    id: str
    stage: str
    at: float
    helo: str


@dataclass(frozen=True, slots=True)
class Fates:
    """Ids by what came of them; `duplicates` without an explanation, `repeated` with one, `unclaimed` came without a 250."""

    lost: tuple[str, ...]
    duplicates: tuple[str, ...]
    repeated: tuple[str, ...]
    unclaimed: tuple[str, ...]


def fates(
    accepted: AbstractSet[str],
    stored: Iterable[str],
    reported: AbstractSet[str],
    queued: AbstractSet[str],
    uncertain: AbstractSet[str],
) -> Fates:
    """`stored` has an id as often as it came."""
    copies = Counter(stored)
    several = sorted(each for each, count in copies.items() if count > 1)
    return Fates(
        lost=tuple(sorted(accepted - copies.keys() - reported - queued)),
        duplicates=tuple(each for each in several if each not in uncertain),
        repeated=tuple(each for each in several if each in uncertain),
        unclaimed=tuple(sorted(copies.keys() - accepted)),
    )


@dataclass(frozen=True, slots=True)
class Takeover:
    """Records that a struck relay had begun with and not claimed. Seconds from the fault to the next attempt by another relay.

    `resumed`: the relay itself went on, or put the record off, before any other. `never`: no attempt since (still in a queue).
    """

    seconds: Mapping[str, float]
    resumed: tuple[str, ...]
    never: tuple[str, ...]


def takeover(
    struck: Struck,
    steps: Mapping[str, Sequence[Step]],
    uncertain: AbstractSet[str],
    deferred: Mapping[str, Sequence[tuple[float, str]]],
) -> Takeover:
    """`steps` of each id in order of time. What is past its dot is left out: it must wait ten minutes. `deferred`: when, by whom."""
    seconds, resumed, never = {}, list[str](), list[str]()
    killed = "frozen" not in struck.kind
    for name, its in steps.items():
        if name in uncertain or not _in_hand(struck, its):
            continue
        after = [each for each in its if each.at > struck.began and each.stage in ATTEMPTS]
        own = [each.at for each in its if each.at > struck.began and each.helo in struck.relays]
        own += [at for at, helo in deferred.get(name, ()) if at > struck.began and helo in struck.relays]
        others = [each for each in after if each.helo not in struck.relays or (killed and each.at > struck.ended)]
        if not others or (own and not killed and min(own) < others[0].at):
            (resumed if own else never).append(name)
        else:
            seconds[name] = others[0].at - struck.began
    return Takeover(seconds, tuple(resumed), tuple(never))


def _in_hand(struck: Struck, steps: Sequence[Step]) -> bool:
    """The last thing before the fault was an attempt that the struck relay had just begun."""
    before = [each for each in steps if each.at <= struck.began]
    last = before[-1] if before else None
    return (
        last is not None
        and last.stage == "rcpt"
        and last.helo in struck.relays
        and struck.began - last.at <= BEGUN_SECONDS
    )


def pauses(times: Sequence[float], faults: Sequence[Struck]) -> list[float]:
    """For each fault the longest time without any 250 that it can be blamed for. `times` of all 250s, and `faults`, in order."""
    found = []
    for struck, following in zip(faults, [*faults[1:], None], strict=True):
        end = struck.ended + AFTERMATH_SECONDS
        if following is not None:
            end = min(end, max(following.began, struck.ended))
        first = max(bisect_right(times, struck.began) - 1, 0)
        last = bisect_left(times, end)
        around = times[first : last + 1]
        found.append(max((later - earlier for earlier, later in pairwise(around)), default=0.0))
    return found


def spans_at(moments: Sequence[float], spans: Iterable[tuple[float, float]]) -> list[int]:
    """How many spans (from, to) hold each moment. `moments` in order."""
    changes = [0] * (len(moments) + 1)
    for begin, end in spans:
        changes[bisect_left(moments, begin)] += 1
        changes[bisect_left(moments, end)] -= 1
    total, found = 0, []
    for change in changes[:-1]:
        total += change
        found.append(total)
    return found


def by_id(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """The steps of each id, in order of time."""
    found: dict[str, list[Step]] = defaultdict(list)
    for each in steps:
        found[each.id].append(each)
    for its in found.values():
        its.sort(key=lambda step: step.at)
    return dict(found)
