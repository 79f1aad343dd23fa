"""Which sealing keys a queue has, and which of them seals. Knows keys by their names and times, never their secrets.

A record sealed by a key that is gone can be read by nobody, so here a key is made known long before it is used, and kept long after.

*Two steps.* A new key is only added; `SPREAD` later, when every relay has it mounted, it comes into use. The kubelet brings mounts up to date
within two minutes.

*Kept* for `KEEP` after another one took its place: as long as a record can be retried (120 days at most, see the API), lie in quarantine
(30 days), and a month more. Never are fewer than `LEAST` kept, and one goes only as another one comes into use, so that a clock that is wrong by
years takes the oldest at most.

*Never replaced.* What this leader has read once, or found in the copy, it restores. What nobody remembers, of a queue that had keys, is lost: that is said, and
none is made in its place, since relays that run still have the old ones, and a person may have a backup.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

SPREAD = 3600
KEEP = 180 * 24 * 3600
"""Seconds."""

LEAST = 8


class Step(Enum):
    """What to do about the Secret."""

    KEEP = "keep"
    WRITE = "write"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Key:
    """`made`, and `since` when it seals (None: not yet), in Unix seconds."""

    id: str
    made: int
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`keys` is what the Secret should hold; one that is in neither argument is to be made."""

    step: Step
    keys: tuple[Key, ...] = ()


def decide(
    found: Sequence[Key] | None,
    remembered: Sequence[Key] | None,
    *,
    begun: bool,
    now: int,
    every: float,
    fresh: str,
) -> Decision:
    """`found`: None when there is no Secret, empty when there is one with nothing in it, which is a person's word that the old keys are
    given up. `remembered`: what this leader read earlier, or found in the copy. `begun`: the queue is known to have had keys. `every`: seconds between two new keys. `fresh`: the name of a key that could be made."""
    if found is None and remembered is None and begun:
        return Decision(Step.LOST)
    keys = _both(found or (), remembered or ())
    if not keys:
        return Decision(Step.WRITE, (Key(fresh, now, now),))
    wanted = _without_the_oldest(_with_next(_in_use(keys, now), now, every, fresh), now)
    same = found is not None and set(found) == set(wanted)
    return Decision(Step.KEEP if same else Step.WRITE, wanted)


def _both(found: Sequence[Key], remembered: Sequence[Key]) -> tuple[Key, ...]:
    """All keys of either; of one that is in both it may be that only one of them knows that it is in use."""
    keys = {each.id: each for each in remembered}
    for each in found:
        known = keys.get(each.id)
        keys[each.id] = known if known is not None and known.since is not None else each
    return tuple(sorted(keys.values(), key=lambda each: (each.made, each.id)))


def _in_use(keys: tuple[Key, ...], now: int) -> tuple[Key, ...]:
    """A key that has been known for long comes into use; so does the oldest at once where none is."""
    waiting = next((each for each in keys if each.since is None), None)
    if waiting is None:
        return keys
    if any(each.since is not None for each in keys) and now - waiting.made < SPREAD:
        return keys
    return tuple(dataclasses.replace(each, since=now) if each is waiting else each for each in keys)


def _with_next(keys: tuple[Key, ...], now: int, every: float, fresh: str) -> tuple[Key, ...]:
    if any(each.since is None for each in keys) or now - max(each.made for each in keys) < every:
        return keys
    return (*keys, Key(fresh, now))


def _without_the_oldest(keys: tuple[Key, ...], now: int) -> tuple[Key, ...]:
    used = sorted((each for each in keys if each.since is not None), key=lambda each: (each.since or 0, each.id))
    if len(used) <= LEAST or used[-1].since != now or now - (used[1].since or 0) < KEEP:
        return keys
    return tuple(each for each in keys if each != used[0])


def lost(secret: str) -> str:
    """The message for a person who has to act."""
    return (
        f"Secret {secret} is gone or cannot be read, its copy as well, and mail may be sealed by the keys in it. None is made in its place: relays that run "
        f"go on with the keys that they have, new ones do not start. Restore it from a backup. If the mail that it sealed may be lost, delete it, create an empty "
        f"Secret of that name, and new keys are made"
    )
