"""What the relay wants of its queue, whichever broker stands behind it. The server puts, the delivery takes and settles.

Errors by meaning (the server answers by the class alone):

    SpoolError                 the record is not known to be stored: never a 250
    ├── SpoolFull              the pool's quota is reached                            → 452 4.3.1
    ├── SpoolTooLarge          larger than the broker takes                           → 552 5.3.4
    └── SpoolUnavailable       no connection, no majority, or no confirm in time      → 451 4.3.0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from relayfleet.relay.spool.places import FRONT
from relayfleet.relay.spool.record import Record

BYTES_A_SECOND = 16 * 1024**2
"""What a healthy broker stores at least: large records have more time."""


class SpoolError(Exception):
    """The record is not known to be stored."""


class SpoolFull(SpoolError):  # noqa: N818 - a state, not a mistake
    """The pool's quota is reached; retries, reports and acknowledgements go on."""


class SpoolTooLarge(SpoolError):  # noqa: N818
    """The record is larger than the broker takes."""


class SpoolUnavailable(SpoolError):  # noqa: N818
    """No connection, no majority, or no confirm before the deadline. The record may be stored all the same."""


@dataclass(frozen=True, slots=True)
class Successor:
    """A record that goes on from another: at once, or not before `delay` seconds. `quarantine`: kept for a human, never retried."""

    record: Record
    delay: float = 0.0
    quarantine: bool = False


class Held(Protocol):
    """A record that this relay holds. It goes back to the others by itself when the relay dies."""

    @property
    def record(self) -> Record: ...

    @property
    def place(self) -> int:
        """Where it was taken from (`places`)."""
        ...

    @property
    def redelivered(self) -> bool:
        """True when another relay, or an earlier life of this one, may have tried it."""
        ...

    @property
    def deliveries(self) -> int:
        """How often the queue has handed the record out, this time included. A record that kills relays has a high one."""
        ...

    @property
    def is_ours(self) -> bool:
        """False when the connection was lost and the queue has handed the record to others."""
        ...

    async def settle(self, successors: Sequence[Successor] = (), stored: Callable[[], None] = lambda: None) -> None:
        """Store the successors (confirmed by a majority), then let go of the record. SpoolError: nothing was let go. `stored` is called in between,
        also when the record turns out to be with others then: they need not store the successors once more.

        A successor has another key than the record (ValueError otherwise): it would be taken for a copy of it.
        """
        ...

    async def move(self, lane: int) -> None:
        """Store the record as it is in a provider lane, or among parked mail (`places.PARK`), under its own name, then let go of it here. SpoolError: it is still here, unless it is not ours
        any more, and may be there as well, as after any late confirm."""
        ...

    def release(self) -> None:
        """Hand the record back to be taken by any relay, this one included."""
        ...


class Spool(Protocol):
    """A replicated queue for one pool."""

    async def put(self, record: Record) -> None:
        """Return when a majority of the queue's members has the record on disk. Raises SpoolError otherwise."""
        ...

    @property
    def uses_lanes(self) -> bool:
        """Whether records may be moved to provider lanes now."""
        ...

    @property
    def parks(self) -> bool:
        """Whether records may be parked now."""
        ...

    async def take(self, place: int = FRONT) -> Held:
        """The next record of a place; waits until there is one. Cancellation loses none."""
        ...

    async def stop_taking(self) -> None:
        """Take no new records; those not yet handed out by `take` go back. Held ones can still be settled."""
        ...

    async def resume_taking(self) -> None:
        """Take new records again after `stop_taking`."""
        ...

    async def close(self) -> None:
        """Hand everything back and close the connections."""
        ...


CLAIM_SECONDS = 5.0
"""How long a claim entitles its holder to write the final dot, counted from before it was asked for, by the monotonic clock.
A relay that was frozen longer finds its claim too old and sends nothing more."""


class ClaimRefusedError(Exception):
    """The record is no longer this relay's to send: its connection to the queue was lost, or another copy is claimed or done."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one final dot. `asked_at`: monotonic seconds, taken before the claim left for the journal. `number`: which of
    this relay's claims it is. `left_at`: when it left: later by as long as other statements of this relay were before it; 0 if nobody knows."""

    asked_at: float
    number: int = 0
    left_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the journal tells of a record's recipients (addresses): done, since answered with 2xx or purged; claimed without an answer (uncertain),
    and of these whose claim is another relay's (elsewhere); or settled: this very copy, or a twin of it, has gone on in a successor or is given up."""

    delivered: frozenset[str] = frozenset()
    uncertain: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()


NOTHING_SEEN = Seen()

EventName = Literal["deferred", "bounced", "held", "quarantined"]


@dataclass(frozen=True, slots=True)
class Event:
    """What became of some of a record's recipients (addresses), for people and programs: no relay goes by it. `detail` has JSON values only."""

    name: EventName
    recipients: tuple[str, ...]
    detail: Mapping[str, Any]


Hosts = tuple[str, ...]
"""A destination: its MX hosts, sorted."""


@dataclass(frozen=True, slots=True)
class Word:
    """On a destination: nobody there is reached (`dead`), or somebody is. `why`: the last answer, for people. `tries`: a relay is about to find out, and nothing else is
    said. `age`: seconds since it was said."""

    destination: Hosts
    dead: bool
    why: str = ""
    tries: bool = False
    age: float = 0.0


class Journal(Protocol):
    """Who wrote a final dot, and what came of it: confirmed by a majority, kept longer than any answer can take.

    The delivery asks `seen` for every record that it takes, `claim`s each transaction right before its final dot, and states
    the `outcome` before the record is settled. An `uncertain` transaction states none: its claim stays open. A claim without a dot is
    withdrawn. Recipients that a rule purges are stated too (`purge`), and those who go on or are given up (`settled`). What else became of an attempt is told (`tell`) before the record is settled.
    """

    async def seen(self, record: Record) -> Seen:
        """What earlier holders of this copy, or of its twins, said. Raises SpoolError when the journal cannot be read."""
        ...

    async def claim(self, held: Held, recipients: Sequence[str], source: str, host: str) -> Claim:
        """Return when the claim is confirmed. Raises ClaimRefusedError when `held` is not ours any more, SpoolError when unconfirmed;
        then it is withdrawn as far as it came."""
        ...

    def withdraw(self, held: Held, recipients: Sequence[str], claim: Claim) -> None:
        """Say that no dot was written under the claim and none will be; stated in the background until confirmed, in order."""
        ...

    async def outcome(
        self, held: Held, recipients: Sequence[str], delivered: bool, answer: str, source: str = "", host: str = ""
    ) -> None:
        """State what became of claimed recipients, which closes their claim. Raises SpoolError when unconfirmed."""
        ...

    async def purge(self, held: Held, recipients: Sequence[str], rule: str) -> None:
        """State that a rule ended these recipients without a word: nobody sends them a copy any more, unless he has claimed it already.
        Raises ClaimRefusedError when `held` is not ours any more, SpoolError when unconfirmed."""
        ...

    def settled(self, held: Held, recipients: Sequence[str]) -> None:
        """Say that these recipients go on in successors, or are given up, and all that becomes of them *is stored*: nobody handles them under this
        copy's key any more. Stated in the background until confirmed."""
        ...

    async def tell(self, held: Held, events: Sequence[Event]) -> None:
        """State events. Raises SpoolError when unconfirmed."""
        ...

    def say(self, word: Word) -> None:
        """Say what became of a destination to the pool's other relays, in the background. It may not be heard."""
        ...

    def listen(self, heard: Callable[[Word], None]) -> None:
        """`heard` gets each word of other relays, those of the last hour too, in one order for all."""
        ...
