"""Takes the recipients of one domain to one of its mail exchangers and says what came of each.

A fault of the network or of our own address moves the mail to another source at once; an answer of a peer never does, that is for its
verdict to say. A session that turns out to be stale (closed by the peer while it lay idle) costs nothing but a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from relayfleet.protocol.relay_config import Source
from relayfleet.relay.delivery.concurrency import signal
from relayfleet.relay.delivery.envelope import Envelope, unfit
from relayfleet.relay.delivery.errors import ConnectError, LocalError, PeerTimeoutError, SessionError, SmtpError
from relayfleet.relay.delivery.journal import Witness
from relayfleet.relay.delivery.judging import answered, unanswered, unfitting
from relayfleet.relay.delivery.outcome import Outcome, Place
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.delivery.sessions import Destination, SessionPool
from relayfleet.relay.delivery.sources import SourceChooser
from relayfleet.relay.delivery.telling import count_attempt
from relayfleet.relay.delivery.transaction import ClaimExpiredError, Transaction
from relayfleet.relay.replies.classify import Classifier
from relayfleet.relay.replies.verdict import Action
from relayfleet.relay.routing.errors import DnsError
from relayfleet.relay.routing.router import Route
from relayfleet.relay.signing.letter import Letter
from relayfleet.relay.spool.interface import Held, SpoolError
from relayfleet.relay.spool.record import Recipient, Record

ATTEMPT_SECONDS = 840.0
"""The whole way up to the final dot: no record stays unacknowledged longer than 15 minutes, except past its dot."""
BUSY_SECONDS = 300.0
MOST_ROUNDS = 20
MOST_SOURCES = 2
MOST_SESSIONS = 4
AT_ONCE = frozenset({Action.SPLIT, Action.RECONNECT})
"""Verdicts after which the rest goes on in this very attempt."""


class Courier:
    """Delivers; keeps no state of its own but what its parts keep. `begins` hears of a record before anything is said of it to a peer."""

    def __init__(
        self,
        pool: SessionPool,
        sources: SourceChooser,
        classifier: Classifier,
        witness: Witness,
        begins: Callable[[Held], None],
    ) -> None:
        self.pool = pool
        self.sources = sources
        self.classifier = classifier
        self.witness = witness
        self.begins = begins

    async def deliver(self, letter: Letter, domain: str, recipients: Sequence[Recipient]) -> list[Outcome]:
        """One outcome for each recipient. Raises ClaimRefusedError when the record is no longer ours."""
        try:
            route = await self.pool.router.route(domain)
        except DnsError as error:
            return [unanswered(each, error, Place(), self.classifier, past_dot=False) for each in recipients]
        done: list[Outcome] = []
        waiting, rounds, deadline = list(recipients), 0, asyncio.get_running_loop().time() + ATTEMPT_SECONDS
        while waiting:
            rounds += 1
            outcomes = await self._round(letter, route, waiting, deadline)
            again = [each for each in outcomes if self._goes_on(each, outcomes, rounds)]
            done += [each for each in outcomes if each not in again]
            waiting = [*waiting[len(outcomes) :], *(each.recipient for each in again)]
        return done

    def _goes_on(self, outcome: Outcome, outcomes: Sequence[Outcome], rounds: int) -> bool:
        """Too many recipients: the rest, as long as some get through. Too many mails for one session: once more over a new one."""
        if outcome.verdict is None or outcome.verdict.action not in AT_ONCE or rounds >= MOST_ROUNDS:
            return False
        progress = any(each.verdict is None or each.verdict.action not in AT_ONCE for each in outcomes)
        return progress or (outcome.verdict.action is Action.RECONNECT and rounds < MOST_SESSIONS)

    async def _round(self, letter: Letter, route: Route, waiting: list[Recipient], deadline: float) -> list[Outcome]:
        """One transaction for as many of `waiting` as the peer takes, from the first on; falls back to another source when the network
        fails."""
        failure: SmtpError | DnsError = LocalError("local", "none of the pool's sources can send from this relay")
        source, tried = None, set()
        for _ in range(MOST_SOURCES):
            source = self.sources.choose(letter.held.record, route.key)
            if source is None or source.name in tried:
                break
            tried.add(source.name)
            try:
                return await self._from(letter, source, route, waiting, deadline)
            except (LocalError, ConnectError) as error:
                failure = error
                if isinstance(error, LocalError):
                    self.sources.failed(source)
            except (SmtpError, DnsError) as error:
                failure = error
                break
        place = Place(source.name if source else "", route.hosts[0])
        return [unanswered(each, failure, place, self.classifier, past_dot=False) for each in waiting]

    async def _from(
        self, letter: Letter, source: Source, route: Route, waiting: list[Recipient], deadline: float
    ) -> list[Outcome]:
        """Raises SmtpError or DnsError when no session can be had."""
        busy_until = min(deadline, asyncio.get_running_loop().time() + BUSY_SECONDS)
        for attempt in range(MOST_SESSIONS):
            destination = self.pool.destination(source, route)
            session = await destination.acquire(busy_until)
            fresh = session.mails == 0
            outcomes = await self._over(letter, destination, session, waiting, deadline)
            if outcomes is not None and (fresh or attempt == MOST_SESSIONS - 1 or not _stale(outcomes)):
                return outcomes
        raise SessionError("mail", "the peer closes every session")

    async def _over(
        self, letter: Letter, destination: Destination, session: Session, waiting: list[Recipient], deadline: float
    ) -> list[Outcome] | None:
        """One transaction; None: the session was dead before it began."""
        held, place = letter.held, Place(destination.source.name, session.host, session.address, session.tls)
        try:
            some = waiting[: session.peer.most_recipients or len(waiting)]
            envelope = _envelope(held.record, some, await letter.prefix())
            if reason := unfit(envelope, session.peer):
                return [unfitting(each, reason, place) for each in envelope.recipients]
            run = Transaction(session, envelope, self.witness.claims(held, place, session.stated), deadline)
            fresh = session.mails == 0
            began = asyncio.get_running_loop().time()
            self.begins(held)
            failure = await self._run(run, destination)
            session.stated = stated = asyncio.Event()
        except BaseException:
            session.abort()
            raise
        finally:
            # Before the outcome is stated: meanwhile the session carries the next mail, as far as its dot.
            destination.give_back(session)
        try:
            if isinstance(failure, SessionError) and not fresh and not run.answered:
                return None
            self._count(run, place, failure)
            outcomes = self._outcomes(run, place, session.peer.dsn, failure)
            if fresh or not _stale(outcomes):
                destination.hear(signal(outcomes, failure), began)
            await self.witness.outcome(held, run, failure, place)
            return outcomes
        finally:
            stated.set()

    async def _run(self, run: Transaction, destination: Destination) -> Exception | None:
        """What ended it before its time; its session is of no use then."""
        try:
            await run.run()
        except (SessionError, ClaimExpiredError, SpoolError) as error:
            run.session.abort()
            if isinstance(error, PeerTimeoutError):
                destination.timed_out(run.session, error)
            return error
        return None

    def _count(self, run: Transaction, place: Place, failure: Exception | None) -> None:
        """A peer that answered for every recipient has replied, however it closed; an attempt that we gave up ourselves says nothing of it."""
        complete = len(run.answers) == len(run.envelope.recipients)
        if complete or run.answered or isinstance(failure, SessionError):
            broken = failure if isinstance(failure, SmtpError) and not complete else None
            count_attempt(self.pool.tally, place.source, place.host, broken)

    def _outcomes(self, run: Transaction, place: Place, dsn: bool, failure: Exception | None) -> list[Outcome]:
        missing = failure or SessionError("end", "no answer")
        return [
            answered(recipient, *run.answers[index], place, self.classifier, dsn)
            if index in run.answers
            else unanswered(recipient, missing, place, self.classifier, run.past_dot)
            for index, recipient in enumerate(run.envelope.recipients)
        ]


def _stale(outcomes: Sequence[Outcome]) -> bool:
    """421 to the first command of a reused session: the peer had enough of the session, not of the mail."""
    return all(each.code == 421 and each.phase == "mail" for each in outcomes)


def _envelope(record: Record, recipients: Sequence[Recipient], prefix: bytes) -> Envelope:
    return Envelope(
        record.sender,
        tuple(recipients),
        record.message,
        record.body_8bit,
        record.smtputf8,
        record.ret,
        record.envid,
        prefix,
    )
