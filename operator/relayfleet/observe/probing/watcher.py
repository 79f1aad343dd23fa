"""Watches one target: a session that stays and is asked every interval, and fresh sockets when something is wrong.

Good answers are reported as they come. A silence is stated when a probe has been open for `SUSPECT_AFTER`, and anew every `BURST_GAP`
while it lasts; it starts a burst of fresh sockets, since a new connection that is answered tells more than an old one that is not.

A relay may answer its old sessions and greet no new one. So a new connection that is overdue is stated whatever the session says, and tried
again at once.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import deque

from relayfleet.observe.probing.conversation import CLOSING, Conversation, Outcome, Plan
from relayfleet.observe.probing.ledger import Ledger
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.observe.probing.surroundings import BURST_GAP, SUSPECT_AFTER, Surroundings
from relayfleet.observe.probing.transactions import Transactions
from relayfleet.observe.probing.trouble import Trouble
from relayfleet.observe.probing.wire import Loss
from relayfleet.protocol.probing import Kind, Probe, Target

BURST_FOR = 4.0
"""A silence is probed closely for so many seconds, thereafter once an interval."""
MOST_FRESH = 4
"""Fresh sockets of one target that wait for an answer at the same time."""
_MOST_LEAVING = 4
_EARLY = 0.001
"""A timer may fire a little early."""
_PROBES: tuple[Probe, ...] = ("Dialogue", "Connect")


class Watcher:
    """Probes from its creation until `close`. Fits `conversation.Desk`."""

    def __init__(self, target: Target, around: Surroundings) -> None:
        self.target = target
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._ledger = Ledger()
        self._trouble = Trouble(target.interval)
        self._session: Conversation | None = None
        self._others: list[Conversation] = []
        self._leaving: deque[Conversation] = deque()
        self._patience = max(2.0, 4 * target.timeout)
        self._silent_since: float | None = None
        self._last_fresh = float("-inf")
        self._looking: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        share = zlib.crc32(target.key.encode()) / 2**32
        self._slow_beat = max(20 * target.interval, 5.0)
        self._mails = (
            Transactions(target, around, (share + around.phase) % 1.0, self._ledger.answer) if target.discard else None
        )
        now = time.monotonic()
        self._next_beat = now + share * target.interval
        self._next_whole = now + share * self._slow_beat
        self._beating = self._loop.call_later(self._next_beat - now, self._beat)

    def closer(self) -> None:
        """What a leader wants to know at once."""
        self.burst()
        self._whole()
        if self._mails is not None:
            self._mails.hurry()

    def burst(self) -> None:
        """One probe on a fresh socket at once, if one of the few places is free or can be made free."""
        now = time.monotonic()
        fresh = [each for each in self._others if each.plan is Plan.FRESH]
        if len(fresh) >= MOST_FRESH:
            if now - fresh[0].began <= self.target.timeout:
                return
            self._give_up(fresh[0])
        self._last_fresh = now
        self._open(Plan.FRESH)

    def close(self) -> None:
        """Close all sockets and stop."""
        for timer in (self._beating, self._looking, self._retry):
            if timer is not None:
                timer.cancel()
        for each in (*self._waiting(), *self._leaving):
            each.close()
        if self._mails is not None:
            self._mails.close()
        self._session = None
        self._others.clear()
        self._leaving.clear()

    # The beat.

    def _beat(self) -> None:
        now = time.monotonic()
        while self._next_beat <= now + _EARLY:
            self._next_beat += self.target.interval
        self._beating = self._loop.call_later(self._next_beat - now, self._beat)
        session = self._session
        if session is None:
            if self._retry is None:
                self._connect()
        elif session.idle:
            session.ask()
        elif self._silent_since is None and session.waits(now) > SUSPECT_AFTER:
            self.burst()  # the session still waits though others were answered
        if self._mails is not None:
            self._mails.beat(now)
        if now >= self._next_whole:
            self._next_whole = now + self._slow_beat
            self._whole()
        else:
            self._look_at_new(now)

    def _connect(self) -> None:
        self._retry = None
        self._session = self._new(Plan.STAYING)

    def _whole(self) -> None:
        """One whole conversation, unless one has just begun or too many wait."""
        began = [each.began for each in self._others if each.plan is Plan.WHOLE]
        if len(began) < MOST_FRESH and time.monotonic() - max(began, default=float("-inf")) > self.target.timeout / 2:
            self._open(Plan.WHOLE)

    def _look_at_new(self, now: float) -> None:
        """State which new connections are overdue, and try another."""
        new = [each.sent for each in self._others if each.plan is Plan.WHOLE and each.sent is not None]
        late = sorted(sent for sent in new if now - sent > self.target.timeout)
        if late and not self._around.pulse.just_back(now):
            self._report("Silent", "Connect", now, sent=tuple(late))
            self._whole()

    def _open(self, plan: Plan) -> None:
        self._others.append(self._new(plan))

    def _new(self, plan: Plan) -> Conversation:
        conversation = Conversation(self.target, plan, self, self._around)
        self.moved(conversation)
        return conversation

    # What conversations tell.

    def moved(self, conversation: Conversation) -> None:
        if self._looking is None:
            self._looking = self._loop.call_later(SUSPECT_AFTER, self._look)

    def replied(self, conversation: Conversation, outcome: Outcome) -> None:
        latency = outcome.at - outcome.sent
        self._ledger.answer(outcome.sent)
        self._around.took(latency)
        if conversation is self._session and conversation.idle:
            self._trouble.over()
        failed = outcome.code >= 400 and outcome.code != CLOSING
        self._report(
            "Erred" if failed else "Answered", conversation.probe, outcome.at, latency, outcome.code if failed else 0
        )

    def ended(self, conversation: Conversation, loss: Loss | None, sent: float | None) -> None:
        was_session = self._forget(conversation)
        if conversation.leaving and loss is None:
            self._let_go(conversation)
        if loss is not None:
            self._tell_loss(conversation, loss, sent)
        if was_session and loss in (Loss.REFUSED, Loss.RESET):
            self._connect_again(loss)

    def _tell_loss(self, conversation: Conversation, loss: Loss, sent: float | None) -> None:
        now = time.monotonic()
        match loss:
            case Loss.REFUSED:
                self._report("Refused", conversation.probe, now)
            case Loss.RESET:
                self._report("Reset", conversation.probe, now)
            case Loss.TURNED_AWAY:
                # A relay that is full has no way to say so before the handshake.
                latency = 0.0 if sent is None else now - sent
                self._report("Erred", conversation.probe, now, latency, CLOSING)
            case Loss.UNREACHABLE if sent is not None:
                self._ledger.give_up(conversation.probe, sent)
                self.moved(conversation)
            case _:
                pass  # this machine's own trouble says nothing about the target

    def _connect_again(self, loss: Loss) -> None:
        if self._retry is None:
            delay = self._trouble.wait(time.monotonic(), at_once=loss is Loss.RESET)
            self._retry = self._loop.call_later(delay, self._connect)

    def _forget(self, conversation: Conversation) -> bool:
        if conversation is self._session:
            self._session = None
            return True
        if conversation in self._others:
            self._others.remove(conversation)
        if conversation in self._leaving:
            self._leaving.remove(conversation)
        return False

    def _let_go(self, conversation: Conversation) -> None:
        """Sockets whose peer does not close after QUIT are few."""
        if conversation.closed:
            return
        self._leaving.append(conversation)
        if len(self._leaving) > _MOST_LEAVING:
            self._leaving.popleft().close()

    # Silences.

    def _look(self) -> None:
        self._looking = None
        now = time.monotonic()
        if self._around.pulse.just_back(now):
            wait: float | None = BURST_GAP
        else:
            self._take_what_came(now)
            self._give_up_old(now)
            oldest = self._state(now)
            wait = self._follow(now, oldest)
        if wait is not None:
            self._look_in(wait)

    def _look_in(self, seconds: float) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self._loop.call_later(seconds, self._look)

    def _take_what_came(self, now: float) -> None:
        for each in self._waiting():
            if each.waits(now) >= SUSPECT_AFTER - _EARLY:
                each.look()

    def _give_up_old(self, now: float) -> None:
        for each in self._waiting():
            if each.waits(now) > self._patience:
                was_session = each is self._session
                self._give_up(each)
                if was_session:
                    self._connect()

    def _state(self, now: float) -> float | None:
        """Say which probes are open if any is suspicious; returns when the oldest open one was sent."""
        oldest = []
        for probe in _PROBES:
            sent = [each.sent for each in self._waiting() if each.probe == probe and each.sent is not None]
            if open_ := self._ledger.open(probe, sent):
                oldest.append(open_[0])
                if now - open_[0] >= SUSPECT_AFTER - _EARLY:
                    self._report("Silent", probe, now, sent=open_)
        return min(oldest, default=None)

    def _follow(self, now: float, oldest: float | None) -> float | None:
        """Probe more closely while the silence lasts; returns when to look again."""
        length = 0.0 if oldest is None else now - oldest
        if length < SUSPECT_AFTER - _EARLY:
            self._silent_since = None
            return None if oldest is None else SUSPECT_AFTER - length
        if length >= SUSPECT_AFTER - _EARLY + self._around.pace:
            if self._silent_since is None:
                self._silent_since = now
            close = now - self._silent_since < BURST_FOR
            if now - self._last_fresh >= (BURST_GAP if close else self.target.interval) - 5 * _EARLY:
                self.burst()
        return BURST_GAP

    def _give_up(self, conversation: Conversation) -> None:
        if conversation.sent is not None:
            self._ledger.give_up(conversation.probe, conversation.sent)
        conversation.close()
        self._forget(conversation)

    def _waiting(self) -> tuple[Conversation, ...]:
        return (*self._others, self._session) if self._session is not None else tuple(self._others)

    def _report(
        self,
        kind: Kind,
        probe: Probe,
        at: float,
        latency: float = 0.0,
        code: int = 0,
        sent: tuple[float, ...] = (),
    ) -> None:
        self._around.report(Sighting(self.target.key, kind, probe, at, latency, code, sent))
