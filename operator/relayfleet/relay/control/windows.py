"""Windows: what live traffic showed since the last one that was told, and how the relay is. No I/O but for a look at the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from relayfleet.protocol.telemetry import BEAT, Dependency, Stand, Usages, Window
from relayfleet.protocol.usage import Unsaid, news_of_relay
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.control.vitals import Vitals

AWAY = 0.2
"""Late by so many seconds we may have missed what was there: half of the shortest deadline that others are held to (that of a confirm)."""
BACK = 0.2
"""Deadlines that ran out while we were away are noticed within so many seconds of our return."""


class Windows:
    """`intake` gives the totals of mails accepted and deferred since the start, `stand` how the relay stands by its last order, `signing` why mail
    waits for a key, or "", `dependencies` and `resolvers` what it sees of those, `sealing` whether it opens sealed records and why some wait, or "", `unpublished`
    which DKIM key is not in DNS, or "", `suppression` what is wrong with the suppression list, or "", and whether mail waits for it, `usages` what
    credentials with limits have submitted. `now` is in seconds, by any clock that goes on."""

    def __init__(
        self,
        tally: Tally,
        intake: Callable[[], tuple[int, int]],
        vitals: Vitals,
        stand: Callable[[], Stand],
        signing: Callable[[], str] = lambda: "",
        dependencies: Callable[[], tuple[Dependency, ...]] = tuple,
        sealing: Callable[[], tuple[bool, str]] = lambda: (False, ""),
        resolvers: Callable[[], tuple[Dependency, ...]] = tuple,
        unpublished: Callable[[], str] = lambda: "",
        suppression: Callable[[], tuple[str, bool]] = lambda: ("", False),
        usages: Callable[[], Usages | None] = lambda: None,
    ) -> None:
        self._tally = tally
        self._intake = intake
        self._vitals = vitals
        self._stand = stand
        self._signing = signing
        self._dependencies = dependencies
        self._sealing = sealing
        self._resolvers = resolvers
        self._unpublished = unpublished
        self._suppression = suppression
        self._usages = usages
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """For another leader: what was counted for nobody, or for the last one, is no news."""
        self._tally.take()
        self._unsaid = Unsaid(news_of_relay)
        self._since = now
        self._totals = self._intake()
        self._last = Window()

    def next(self, now: float, *, at_once: bool = False) -> Window | None:
        """The window that ends now; None when nothing happened and the last one is less than a BEAT ago. What a window tells is not told again."""
        self._vitals.look(now)
        length = now - self._since
        if self._vitals.lag(length + BACK) > AWAY:
            self._tally.forgive()
        window = self._gather(length)
        if not at_once and length < BEAT and not self._news(window):
            return None
        self._since, self._last = now, window
        if window.usage is not None:
            self._unsaid.say(window.usage.day, window.usage.rows)
        return window

    def _gather(self, length: float) -> Window:
        accepted, deferred = self._totals
        self._totals = self._intake()
        opens, sealing = self._sealing()
        suppression, withholds = self._suppression()
        return Window(
            self._totals[0] - accepted,
            self._totals[1] - deferred,
            *self._tally.take(),
            unfit=self._vitals.unfit,
            strain=round(self._vitals.strain, 3),
            stand=self._stand(),
            age=length / 2,
            signing=self._signing(),
            dependencies=self._dependencies(),
            opens=opens,
            sealing=sealing,
            resolvers=self._resolvers(),
            unpublished=self._unpublished(),
            suppression=suppression,
            withholds=withholds,
            usage=self._usage(),
            lanes=True,
            parks=True,
        )

    def _usage(self) -> Usages | None:
        if (usages := self._usages()) is None:
            return None
        rows = self._unsaid.pick(usages.day, usages.rows)
        return replace(usages, rows=rows) if rows else None

    def _news(self, window: Window) -> bool:
        counted = window.accepted or window.deferred or window.attempts or window.confirms or window.lookups
        return bool(counted) or window.usage is not None or _state(window) != _state(self._last)


def _state(window: Window) -> tuple[object, ...]:
    """What of it is news when it changes."""
    words = (
        window.unfit,
        window.stand,
        window.signing,
        window.unpublished,
        window.opens,
        window.sealing,
        window.suppression,
        window.withholds,
    )
    return (*words, *((each.name, each.state) for each in (*window.dependencies, *window.resolvers)))
