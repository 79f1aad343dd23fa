"""A bulk client on top of aiosmtplib, which this project did not write. It believes only what it is told: 250 is accepted.

A mail that is refused for now, or whose connection is lost, is tried again with the same id, at another target when there is one. What
became of every try is in the ledger.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import ssl
import time
from collections import Counter
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib.errors import SMTPException, SMTPResponseException

from tests.ledger.entries import Entry, Ledger, Outcome
from tests.ledger.mail import Mail, compose

_QUEUED = re.compile(r"(?:queued|stored|accepted) as <?([\w.-]+)", re.IGNORECASE)
OUTSTANDING_MAX = 10_000
"""Mails that are made and not accepted yet; a relay that takes nothing stops the making of more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send where. `targets` are host:port, used in turn; `recipients` may hold {n}, the number of the mail.

    `rate`: mails a second, 0 as fast as possible. `reuse`: mails in one session. `tls`: none, starttls or implicit; certificates are
    not checked unless `ca` is given. Times in seconds, sizes in bytes.
    """

    targets: tuple[str, ...]
    recipients: tuple[str, ...]
    count: int = 100
    rate: float = 0.0
    concurrency: int = 10
    per_mail: int = 1
    size: int = 2048
    sender: str = "sender@example.com"
    reuse: int = 100
    tls: str = "none"
    ca: str | None = None
    username: str | None = None
    password: str | None = None
    timeout: float = 30.0
    retry_after: float = 0.2
    give_up: float = 120.0


class Broken(Exception):  # noqa: N818 - what became of the session
    """The session cannot be used any more."""


async def submit(plan: Plan, ledger: Ledger, enough: asyncio.Event | None = None) -> Counter[Outcome]:
    """Send all, or what is made until `enough` is set, until each mail is accepted, refused or given up; how many tries came to what."""
    return await _Submission(plan, ledger, enough or asyncio.Event()).run()


class _Submission:
    def __init__(self, plan: Plan, ledger: Ledger, enough: asyncio.Event) -> None:
        self._plan = plan
        self._ledger = ledger
        self._enough = enough
        self._queue: asyncio.Queue[Mail | None] = asyncio.Queue()
        self._outstanding = 0
        self._changed = asyncio.Event()
        self._targets = itertools.cycle(plan.targets)
        self.outcomes: Counter[Outcome] = Counter()

    async def run(self) -> Counter[Outcome]:
        """Workers are told to end, not only cancelled: a client library may swallow a cancellation, or turn it into a lost session."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.concurrency):
                group.create_task(self._work())
            try:
                await self._make()
                await self._until_outstanding(0)
            finally:
                for _ in range(self._plan.concurrency):
                    self._queue.put_nowait(None)
        return self.outcomes

    async def _make(self) -> None:
        plan, began, run = self._plan, time.monotonic(), secrets.token_hex(4)
        names = itertools.cycle(plan.recipients)
        for number in range(plan.count):
            if plan.rate:
                await asyncio.sleep(began + number / plan.rate - time.monotonic())
            await self._until_outstanding(OUTSTANDING_MAX)
            if self._enough.is_set():
                return
            recipients = [next(names).replace("{n}", str(number)) for _ in range(plan.per_mail)]
            self._outstanding += 1
            self._queue.put_nowait(compose(f"{run}-{number}", plan.sender, recipients, plan.size))

    async def _until_outstanding(self, most: int) -> None:
        while self._outstanding > most:
            self._changed.clear()
            await self._changed.wait()

    def _done(self) -> None:
        self._outstanding -= 1
        self._changed.set()

    async def _work(self) -> None:
        """One session after the other, until there is no mail to come."""
        mail = await self._queue.get()
        while mail is not None:
            session = _Session(self._plan, next(self._targets), self)
            try:
                await session.open(mail)
                mail = await self._series(session, mail)
                await session.close()
            except Broken:
                session.abandon()
                mail = await self._queue.get()
            except asyncio.CancelledError:
                session.abandon()
                raise

    async def _series(self, session: _Session, mail: Mail) -> Mail | None:
        """As many mails as one session takes; the first of the next one. Raises Broken; the mail it is about goes back to the queue by itself."""
        for _ in range(self._plan.reuse):
            await session.send(mail)
            following = await self._queue.get()
            if following is None:
                return None
            mail = following
        return mail

    def note(self, mail: Mail, *entries: Entry) -> None:
        """Write down what a try came to, and see to what is left of the mail."""
        self._ledger.append(*entries)
        self.outcomes.update(each.outcome for each in entries)
        settled = {name for each in entries if each.outcome in ("accepted", "refused") for name in each.recipients}
        mail.recipients = [each for each in mail.recipients if each not in settled]
        if not mail.recipients:
            self._done()
        elif time.monotonic() - mail.born > self._plan.give_up:
            last = entries[-1]
            given_up = Entry(
                mail.test_id, mail.tries, time.time(), "given-up", last.stage, tuple(mail.recipients), last.target, 0.0
            )
            self._ledger.append(given_up)
            self.outcomes["given-up"] += 1
            self._done()
        else:
            wait = self._plan.retry_after * min(2**mail.tries, 50)
            asyncio.get_running_loop().call_later(wait, self._queue.put_nowait, mail)


class _Session:
    """One connection to one target."""

    def __init__(self, plan: Plan, target: str, submission: _Submission) -> None:
        self._plan = plan
        self._target = target
        self._submission = submission
        host, _, port = target.rpartition(":")
        self._smtp = aiosmtplib.SMTP(
            hostname=host.strip("[]"),
            port=int(port),
            timeout=plan.timeout,
            use_tls=plan.tls == "implicit",
            start_tls=plan.tls == "starttls",
            tls_context=_tls(plan) if plan.tls != "none" else None,
            local_hostname="client.example.test",
        )
        self._began = 0.0

    async def open(self, mail: Mail) -> None:
        """Connect, greet, authenticate. Raises Broken, with the failure noted for `mail`."""
        self._begin(mail)
        try:
            await self._smtp.connect()
            if self._plan.username is not None:
                await self._smtp.login(self._plan.username, self._plan.password or "")
        except (SMTPException, OSError) as error:
            self._note(mail, self._entry(mail, "connect", error, mail.recipients))
            raise Broken from error

    async def send(self, mail: Mail) -> None:
        """One transaction. Raises Broken when the session is over; what became of the mail is noted in any case."""
        self._begin(mail)
        stage, refused = "mail", list[Entry]()
        accepted: list[str] = []
        try:
            await self._smtp.mail(mail.sender, options=[f"SIZE={len(mail.message)}"])
            stage = "rcpt"
            for recipient in mail.recipients:
                try:
                    await self._smtp.rcpt(recipient)
                    accepted.append(recipient)
                except SMTPResponseException as error:
                    refused.append(self._entry(mail, "rcpt", error, [recipient]))
                    if error.code == 421:
                        raise
            stage = "dot"
            if accepted:
                code, text = await self._smtp.data(mail.message)
                self._note(mail, self._accepted(mail, code, text, accepted), *refused)
            else:
                self._note(mail, *refused)
                await self._smtp.rset()
        except (SMTPException, OSError) as error:
            await self._stopped(mail, stage, error, accepted, refused)

    async def _stopped(
        self, mail: Mail, stage: str, error: Exception, accepted: list[str], refused: list[Entry]
    ) -> None:
        if stage == "dot" and not accepted:
            raise Broken from error  # at RSET: the refusals are noted already
        about = accepted if stage == "dot" else [each for each in mail.recipients if each not in _names(refused)]
        self._note(mail, *refused, *([self._entry(mail, stage, error, about)] if about else []))
        if not isinstance(error, SMTPResponseException) or error.code == 421:
            raise Broken from error
        try:
            await self._smtp.rset()
        except (SMTPException, OSError) as again:
            raise Broken from again

    async def close(self) -> None:
        """Say good-bye, if anybody still listens."""
        try:
            await self._smtp.quit(timeout=2)
        except (SMTPException, OSError):
            self.abandon()

    def abandon(self) -> None:
        self._smtp.close()

    def _begin(self, mail: Mail) -> None:
        self._began = time.monotonic()
        mail.tries += 1

    def _note(self, mail: Mail, *entries: Entry) -> None:
        self._submission.note(mail, *entries)

    def _accepted(self, mail: Mail, code: int, text: str, recipients: list[str]) -> Entry:
        queued = _QUEUED.search(text)
        headers, body = mail.digests
        base = self._base(mail, "accepted", "dot", recipients)
        return Entry(
            *base, code=code, text=text, queued=queued[1] if queued else "", headers_sha256=headers, body_sha256=body
        )

    def _entry(self, mail: Mail, stage: str, error: Exception, recipients: list[str]) -> Entry:
        code = error.code if isinstance(error, SMTPResponseException) else 0
        if code:
            outcome: Outcome = "refused" if code >= 500 else "deferred"
        else:
            outcome = "unanswered" if stage == "dot" else "failed"
        return Entry(*self._base(mail, outcome, stage, recipients), code=code, text=str(error) or type(error).__name__)

    def _base(
        self, mail: Mail, outcome: Outcome, stage: str, recipients: list[str]
    ) -> tuple[str, int, float, Outcome, str, tuple[str, ...], str, float]:
        seconds = round(time.monotonic() - self._began, 6)
        return mail.test_id, mail.tries, time.time(), outcome, stage, tuple(recipients), self._target, seconds


def _names(entries: list[Entry]) -> set[str]:
    return {name for each in entries for name in each.recipients}


def _tls(plan: Plan) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=plan.ca)
    if plan.ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
