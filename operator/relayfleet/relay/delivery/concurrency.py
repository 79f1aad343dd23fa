"""How many sessions a destination gets: few at first, more while all goes well, fewer when it says or shows that it is too much. Pure.

    a mail delivered while all allowed sessions are open    one more session; after a cut that holds, one more a round: + 1/N for each of N
    "too many connections", throttled, blocked, 421         half as many, but once for all mails that were under way, and held
    one more session cannot be had beside open ones         as many as are open, and held
    the session broke, or no answer in time                 one fewer: one may break for any reason, of a peer that is gone they all do

*Held* for a minute, so that a peer with a limit is asked for one session too many once a minute and not once a round. What a peer says of a
recipient, a mail or a sender is no word about load, and greylisting is none: it says the same to one session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from relayfleet.relay.delivery.errors import LostError, PeerTimeoutError
from relayfleet.relay.delivery.judging import GREYLISTED
from relayfleet.relay.delivery.outcome import Fate, Outcome
from relayfleet.relay.replies.verdict import Action, Scope

INITIAL = 5.0
LEAST = 1.0
HOLD_SECONDS = 60.0
NEVER = float("-inf")
_OUR_ADDRESS = frozenset({Action.CAP, Action.CORDON})


class Signal(Enum):
    """What an attempt says about the load: it went well, the peer says that it is too much, the session broke, or nothing."""

    WELL = auto()
    STRAIN = auto()
    BROKEN = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Sessions that a destination may have, with the fraction earned so far. `cut_at`: loop time of the last cut that holds."""

    sessions: float = INITIAL
    cut_at: float = NEVER

    def limit(self, most: int) -> int:
        """Whole sessions, at least one; `most` is the user's bound."""
        return max(1, min(int(self.sessions), most))

    def is_held(self, now: float) -> bool:
        """True for a while after a cut: nothing is added, and the destination is remembered."""
        return now < self.cut_at + HOLD_SECONDS

    def raised(self, open_sessions: int, most: int, now: float) -> Concurrency:
        """After a delivery. What is not used is not raised: a trickle of mail is no proof that the peer stands twenty sessions."""
        if self.is_held(now) or open_sessions < self.limit(most) or self.sessions >= most:
            return self
        step = 1.0 if self.cut_at == NEVER else 1 / self.sessions
        return Concurrency(min(self.sessions + step, float(most)), self.cut_at)

    def halved(self, began: float, most: int, now: float) -> Concurrency:
        """After strain in an attempt that began at `began`. Those that began before the last cut saw what that one was made for."""
        if began <= self.cut_at:
            return self
        return Concurrency(max(min(self.sessions, float(most)) / 2, LEAST), now)

    def lessened(self, most: int) -> Concurrency:
        """After a session that broke."""
        return Concurrency(max(min(self.sessions, float(most)) - 1, LEAST), self.cut_at)

    def capped(self, open_sessions: int, now: float) -> Concurrency:
        """When no session could be had beside those."""
        return Concurrency(max(min(self.sessions, float(open_sessions)), LEAST), now)


def signal(outcomes: Sequence[Outcome], failure: Exception | None) -> Signal:
    """What the outcomes of one transaction say; `failure` is what broke it off."""
    if any(map(_strains, outcomes)):
        return Signal.STRAIN
    if isinstance(failure, (LostError, PeerTimeoutError)) and any(not each.code for each in outcomes):
        return Signal.BROKEN
    return Signal.WELL if any(each.fate is Fate.DELIVERED for each in outcomes) else Signal.NOTHING


def _strains(outcome: Outcome) -> bool:
    verdict = outcome.verdict
    if verdict is None or verdict.reason == GREYLISTED:
        return False
    if verdict.action in _OUR_ADDRESS:
        return True
    if verdict.scope is Scope.SESSION:
        return verdict.action is Action.RETRY
    # To RCPT and to the mail itself many say "try later" who mean this one only.
    every_mail = outcome.code == 421 or (outcome.code // 100 == 4 and outcome.phase == "mail")
    return verdict.scope is Scope.DESTINATION and every_mail
