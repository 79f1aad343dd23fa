"""The client of the fault bench, a process of its own: offers mail at a steady rate to all relays in turn and keeps the list of every answer.

`python -m tests.bench._faults_client --target HOST:PORT … --rate 100 --domain '[192.0.2.1]' --ledger FILE` until SIGTERM; then it sees to
what it has begun, and prints one JSON object.

Each *try* has an id, and a recipient, of its own: whether the relays or the client's own retry made a second copy is then never a matter
of opinion. A try that gets no answer within a second is left, and the mail goes to the next relay, as behind a Service.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from pathlib import Path

import aiosmtplib
import uvloop
from aiosmtplib.errors import SMTPException, SMTPResponseException

from tests.ledger.entries import Entry, Ledger, Outcome
from tests.ledger.mail import Mail, compose

TIMEOUT = 1.0
"""Seconds for a connection or an answer."""
REUSE = 20
"""Mails in one session."""
WORKERS = 60
WAITING_MAX = 500
"""Mails that wait for a worker: beyond that none are made, so that an outage ends in no flood."""
PAUSE = 0.05
"""Seconds before the next relay is tried."""
LAST_SECONDS = 30.0
TICK, STALL = 0.02, 0.15


class Client:
    """`stalls`: when this process itself stood still, and for how long; such a pause is not the relays'."""

    def __init__(self, given: argparse.Namespace, ledger: Ledger) -> None:
        self._given = given
        self._ledger = ledger
        self._targets = itertools.cycle(given.target)
        self._due: asyncio.Queue[int] = asyncio.Queue(WAITING_MAX)
        self.outcomes: Counter[Outcome] = Counter()
        self.stalls: list[tuple[float, float]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and a little longer for what has begun."""
        workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        others = [asyncio.create_task(self._make()), asyncio.create_task(self._watch())]
        await stop.wait()
        others[0].cancel()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._due.join()
        except TimeoutError:
            self.outcomes["given-up"] += 1
        for each in (*workers, *others):
            each.cancel()
        await asyncio.gather(*workers, *others, return_exceptions=True)

    async def _make(self) -> None:
        began = time.monotonic()
        for number in itertools.count():
            late = time.monotonic() - began - number / self._given.rate
            if late < 0:
                await asyncio.sleep(-late)
            elif late > 1:
                began += late  # what could not be offered is not made up for
            await self._due.put(number)

    async def _watch(self) -> None:
        while True:
            before = time.time()
            await asyncio.sleep(TICK)
            if (lag := time.time() - before - TICK) > STALL:
                self.stalls.append((before, lag))

    async def _work(self) -> None:
        session: Session | None = None
        while True:
            number = await self._due.get()
            for tries in itertools.count(1):
                if session is None or session.left <= 0:
                    await _leave(session)
                    session = Session(next(self._targets))
                entry = await session.send(self._mail(number, tries))
                self._note(entry)
                if session.broken:
                    session = None
                if entry.outcome in ("accepted", "refused"):
                    break
                await asyncio.sleep(PAUSE)
            self._due.task_done()

    def _mail(self, number: int, tries: int) -> Mail:
        name, domain = f"{self._given.run}-{number}.{tries}", self._given.domain
        return compose(name, f"from-{name}@{domain}", [f"{name}@{domain}"], self._given.size)

    def _note(self, entry: Entry) -> None:
        self._ledger.append(entry)
        self.outcomes[entry.outcome] += 1


class Session:
    """One connection to one relay; made when its first mail is sent."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = target
        self._smtp = aiosmtplib.SMTP(
            hostname=host, port=int(port), timeout=TIMEOUT, start_tls=False, local_hostname="client.example.test"
        )
        self.left, self.broken = REUSE, False

    async def send(self, mail: Mail) -> Entry:
        """What came of one try. After anything but an answer the session is broken."""
        began, stage = time.monotonic(), "connect"
        self.left -= 1
        try:
            if not self._smtp.is_connected:
                await self._smtp.connect()
            stage = "mail"
            await self._smtp.mail(mail.sender)
            stage = "rcpt"
            await self._smtp.rcpt(mail.recipients[0])
            stage = "dot"
            code, text = await self._smtp.data(mail.message)
        except (SMTPException, OSError) as error:
            self.broken = True
            self._smtp.close()
            return self._failed(mail, stage, error, began)
        headers, body = mail.digests
        return Entry(
            *(mail.test_id, 1, time.time(), "accepted", "dot", tuple(mail.recipients), self._target),
            *(round(time.monotonic() - began, 6), code, text),
            headers_sha256=headers,
            body_sha256=body,
        )

    async def quit(self) -> None:
        """Take leave."""
        try:
            await self._smtp.quit()
        except (SMTPException, OSError):
            self._smtp.close()

    def _failed(self, mail: Mail, stage: str, error: Exception, began: float) -> Entry:
        code = error.code if isinstance(error, SMTPResponseException) else 0
        if code:
            outcome: Outcome = "refused" if code >= 500 else "deferred"
        else:
            outcome = "unanswered" if stage == "dot" else "failed"
        place = (tuple(mail.recipients), self._target, round(time.monotonic() - began, 6))
        return Entry(mail.test_id, 1, time.time(), outcome, stage, *place, code, str(error) or type(error).__name__)


async def _leave(session: Session | None) -> None:
    if session is not None:
        await session.quit()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--size", type=int, default=2048)
    given = parser.parse_args()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with Ledger(given.ledger) as ledger:
        client = Client(given, ledger)
        await client.run(stop)
    print(json.dumps({"outcomes": client.outcomes, "stalls": client.stalls}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
