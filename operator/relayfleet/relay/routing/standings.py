"""Which resolver is asked first: those that answer, in the order in which they were named. Pure: times come in, in seconds.

    named ──a question it let us wait for, or did not answer although another one did──► passed over: asked last
    passed over ──BACK of its answers in a row, to trials or because nobody else was left──► as named
    silent to probes ──► asked last of all, until it answers them again

A resolver that is passed over would never be asked while another one answers. So it gets a trial now and then: a question of live
traffic that somebody else answers anyway, and that nobody waits for. Probes alone could not bring it back: a resolver
that is cut off from the world answers them from memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relayfleet.relay.routing.servers import Server

BACK = 3
TRIAL_EVERY = 2.0
"""Seconds between two trials of one resolver."""


@dataclass(slots=True)
class _Place:
    """`answers` in a row since it was passed over; `answered_at`: when it last answered a question of live traffic."""

    passed_over: bool = False
    silent: bool = False
    answers: int = 0
    next_trial: float = 0.0
    answered_at: float = float("-inf")


class Standings:
    """Of the resolvers of one relay, at least one."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._places: dict[Server, _Place] = {each: _Place() for each in servers}
        if not self._places:
            raise ValueError("no DNS resolver")

    @property
    def servers(self) -> tuple[Server, ...]:
        """As they were named."""
        return tuple(self._places)

    def replace(self, servers: Iterable[Server]) -> None:
        """Others are named. What is known of those that stay, stays."""
        self._places = {each: self._places.get(each) or _Place() for each in servers}

    def order(self) -> list[Server]:
        """Whom to ask, the first first. Of those that are passed over, first the one that has answered since."""
        return sorted(self._places, key=self._rank)

    def _rank(self, server: Server) -> tuple[bool, bool, int]:
        place = self._places[server]
        return place.silent, place.passed_over, -place.answers

    def trial(self, now: float) -> Server | None:
        """A resolver that the next question should go to as well. Asked first anyway, it needs no trial; silent to probes, it has those."""
        first = self.order()[0]
        for server, place in self._places.items():
            if place.passed_over and not place.silent and server != first and now >= place.next_trial:
                place.next_trial = now + TRIAL_EVERY
                return server
        return None

    def answered(self, server: Server, now: float) -> None:
        """It answered a question of live traffic."""
        if place := self._places.get(server):
            place.answered_at = now
            if place.passed_over:
                place.answers += 1
                place.passed_over = place.answers < BACK
                place.answers *= place.passed_over

    def failed(self, server: Server, now: float) -> None:
        """It did not, in its time, or while another one did."""
        if place := self._places.get(server):
            place.passed_over, place.answers, place.next_trial = True, 0, now + TRIAL_EVERY

    def probed(self, server: Server, silent: bool) -> None:
        """What probes say of it."""
        if place := self._places.get(server):
            place.silent = silent

    def answered_since(self, server: Server, then: float) -> bool:
        """Whether live traffic got an answer of it."""
        place = self._places.get(server)
        return place is not None and place.answered_at >= then
