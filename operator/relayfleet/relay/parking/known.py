"""What a relay knows of destinations that nobody reaches. Pure; times are monotonic seconds.

    mail reaches nobody there                                        it is suspected, and tried by itself each minute
    `TRIALS` trials in a row, one from each source, reach nobody,
      and others were reached within the minute before each         it is dead: its mail is parked
    another relay says that it is dead                               it is dead, for as long as somebody repeats it
    a trial of one that is dead reaches nobody                       it is dead for longer, which is said to the others
    a trial shows nothing (DNS, or a fault of ours)                  nothing: it is not dead any more when the last word has lapsed, and its mail is tried
    anybody answers, here or as another relay says                   it is up: its mail is released
    mail reaches nobody there again                                  it is suspected, and nothing more is released

*Unknown is not bad.* When nothing else is reached either, the fault may be ours, and no trial counts. Nobody is found dead soon after somebody has reached it: where
relays do not agree, mail goes by its retries. Who has reached a destination himself a moment ago says so when another one says that it is dead.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from relayfleet.relay.spool.interface import Hosts

EVERY, SPREAD = 60.0, 10.0
"""Seconds between two trials of a destination, and by which they may come later: who is first tries it for all relays of the pool."""
TRIALS = 3
GOOD = 180.0
"""Seconds for which it is dead after a trial that reached nobody, or a word that says so."""
WANTED = 1800.0
"""Seconds for which a relay that had mail for it goes on with trials: longer than mail is parked before it is looked at."""
UP = 1500.0
"""Seconds for which parked mail is released; by then all of it has been looked at."""
HOLDS = 600.0
"""Seconds in which none is found dead after it was up."""
FRESH = (TRIALS - 1) * EVERY
"""Seconds for which a relay that has reached a destination believes nobody who says that it is dead: what it saw before the trials that found that contradicts
none of them."""
MOST, MOST_REACHED = 500, 20_000
"""Destinations that are remembered."""
NEVER = -math.inf


class Answer(Enum):
    """What a trial came to: somebody answers; nobody does, at any address; or it is not known."""

    UP = "up"
    SILENT = "silent"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class _State:
    """`wanted_at`: when a mail of ours wanted to go there; `silent`: trials in a row that count; `trials`: all that began, for turns; `why`: the last failure."""

    wanted_at: float = NEVER
    next_trial: float = NEVER
    suspected: bool = False
    silent: int = 0
    trials: int = 0
    dead_until: float = NEVER
    up_at: float = NEVER
    why: str = ""

    def is_dead(self, now: float) -> bool:
        return now < self.dead_until

    def is_tried(self, now: float) -> bool:
        """By us: mail of ours waits for that."""
        return (self.suspected or self.is_dead(now)) and now - self.wanted_at < WANTED

    def is_of_use(self, now: float) -> bool:
        return self.is_dead(now) or self.is_tried(now) or now - self.up_at < max(UP, HOLDS)

    def rise(self, now: float) -> None:
        self.dead_until, self.up_at, self.silent = NEVER, now, 0


class Known:
    """Of one relay."""

    def __init__(self) -> None:
        self._states: dict[Hosts, _State] = {}
        self._reached: OrderedDict[Hosts, float] = OrderedDict()
        self._dead_until = NEVER

    def any_dead(self, now: float) -> bool:
        """Whether somebody may be dead; never wrongly not. Asked for each mail, so it looks at nobody."""
        return now < self._dead_until

    def is_dead(self, destination: Hosts, now: float) -> bool:
        """Whether its mail is parked."""
        state = self._states.get(destination)
        return state is not None and state.is_dead(now)

    def why(self, destination: Hosts) -> str:
        """The last that was seen of it, in words."""
        state = self._states.get(destination)
        return state.why if state else ""

    def dead(self, now: float) -> int:
        """How many destinations are."""
        return sum(each.is_dead(now) for each in self._states.values())

    def up(self, now: float) -> dict[Hosts, float]:
        """Destinations whose mail is released, and since when."""
        return {each: state.up_at for each, state in self._states.items() if self.is_up(each, now)}

    def is_up(self, destination: Hosts, now: float) -> bool:
        """Whether its mail is released now."""
        state = self._states.get(destination)
        return state is not None and now - state.up_at < UP and not state.suspected and not state.is_dead(now)

    def missed(self, destination: Hosts, why: str, now: float) -> None:
        """A mail reached nobody there."""
        if (state := self._state(destination, now)) is None:
            return
        state.wanted_at, state.why = now, why
        if not state.suspected and not state.is_dead(now):
            state.suspected, state.silent, state.next_trial = True, 0, now + EVERY

    def parked(self, destination: Hosts, now: float) -> None:
        """A mail of ours was parked for it."""
        if state := self._states.get(destination):
            state.wanted_at = now

    def reached(self, destination: Hosts, now: float) -> bool:
        """Somebody there answered; whether it was dead, which others must hear."""
        self._reached[destination] = now
        self._reached.move_to_end(destination)
        if len(self._reached) > MOST_REACHED:
            self._reached.popitem(last=False)
        state = self._states.get(destination)
        if state is None:
            return False
        was_dead, state.suspected, state.silent = state.is_dead(now), False, 0
        if was_dead:
            state.rise(now)
        return was_dead

    def due(self, now: float, chance: float, running: Collection[Hosts] = ()) -> list[tuple[Hosts, int]]:
        """Destinations to be tried now, each with the number of the trial; `chance` in [0, 1). `running`: those whose last trial has not ended, which wait for that."""
        self._states = {each: state for each, state in self._states.items() if state.is_of_use(now) or each in running}
        found = []
        for destination, state in self._states.items():
            if state.is_tried(now) and now >= state.next_trial and destination not in running:
                state.next_trial = now + EVERY + SPREAD * chance
                state.trials += 1
                found.append((destination, state.trials))
        return found

    def put_off(self, destination: Hosts, now: float, chance: float) -> None:
        """Another relay tries it, which shows nothing yet. What is only suspected each tries for itself."""
        if (state := self._states.get(destination)) and state.is_dead(now):
            state.next_trial = now + EVERY + SPREAD * chance

    def silent(self, destination: Hosts, why: str, began: float, now: float, sources: int) -> bool:
        """A trial that began then reached nobody; whether it is dead since this moment. `sources`: how many there are, which take turns. If it was dead when the trial
        began and nobody was reached since, it is dead for longer, also when the trial took so long that the last word has lapsed."""
        state = self._states.get(destination)
        if state is None:
            return False
        state.why = why
        if state.is_dead(began) and self._reached.get(destination, NEVER) < began:
            self._dies(state, now)
            return False
        if not state.suspected or not self._others_were_reached(destination, began - EVERY):
            return False
        state.silent += 1
        if state.silent < max(TRIALS, sources) or now - state.up_at < HOLDS:
            return False
        self._dies(state, now)
        return True

    def heard(self, destination: Hosts, why: str, now: float, *, dead: bool, chance: float) -> bool:
        """Another relay says so, or said so then; whether we know better, and should say that it is up."""
        if dead and now - self._reached.get(destination, NEVER) < FRESH:
            return True
        if (state := self._state(destination, now)) is None:
            return False
        if not dead:
            state.rise(now)
            return False
        if not state.is_dead(now):
            state.next_trial = now + EVERY + SPREAD * chance
        state.why = why
        self._dies(state, now)
        return False

    def _dies(self, state: _State, now: float) -> None:
        state.suspected, state.silent, state.dead_until = False, 0, max(state.dead_until, now + GOOD)
        self._dead_until = max(self._dead_until, state.dead_until)

    def _state(self, destination: Hosts, now: float) -> _State | None:
        """None: there are too many. Its mail goes by its retries."""
        if (state := self._states.get(destination)) is None and len(self._states) < MOST:
            state = self._states[destination] = _State()
        return state

    def _others_were_reached(self, destination: Hosts, since: float) -> bool:
        """The newest stand at the end."""
        for each, at in reversed(self._reached.items()):
            if at < since:
                return False
            if each != destination:
                return True
        return False
