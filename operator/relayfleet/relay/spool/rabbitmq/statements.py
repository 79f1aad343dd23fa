"""What a relay writes to the journal: statements wait for those before them and leave together, one message at a time. Each message
costs three brokers more than what is in it, so outcomes, purges and events, which only an acknowledgement waits for, wait a moment for the next claim's
message.

Withdrawals, that a copy is settled, and words on destinations are waited for by nobody: they are owed, and stated again until a majority has them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from relayfleet.amqp.errors import AmqpError
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.relay.spool.interface import SpoolUnavailable
from relayfleet.relay.spool.rabbitmq.entries import Entry, encode

GATHER = 0.005
"""Seconds that outcomes, purges and events wait for company. A session's next claim comes sooner while there is mail."""
MOST_OWED = 20_000
"""Statements that are owed at most; beyond that the oldest claims stay open, and their mails wait ten minutes. What is settled takes no withdrawal's
place: only a copy of it, if there is one, would be tried once more."""
MOST_BYTES = 1024**2
"""Of one message, unless a statement alone has more. A broker refuses what is too large for it (16 MiB, if nobody set another limit) and closes the channel, for
all that is in it; and each reader has some hundred messages in its memory."""
MOST_WAITING = 5_000
"""Statements beyond which no event is taken: while a broker blocks us they only become more, and claims and outcomes matter."""
_AT_ONCE = 2_000
_PATIENT = ("outcome", "settled", "purge", "event", "destination")


class Statements:
    """Writes to one stream over whatever channel it is given; `lost` takes the channel away."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self.channel: PublishChannel | None = None
        self._why = "it is not connected yet"
        self._under_way = self._urgent = False
        self._soon: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[Entry, asyncio.Future[float]]] = []
        self._owed: deque[Entry] = deque(maxlen=MOST_OWED)

    def use(self, channel: PublishChannel) -> None:
        """Write over this channel from now on."""
        self.channel = channel
        self._send()

    def lost(self, why: str) -> None:
        """The channel is gone: whoever waits to be sent hears so."""
        self.channel, self._why = None, why
        waiting, self._waiting, self._urgent = self._waiting, [], False
        for _, stored in waiting:
            _pass_on(AmqpError(why), stored, 0.0)

    async def state(self, entry: Entry) -> float:
        """Return when a majority has the entry: when it left, which is later than now by as long as others were before it, by the monotonic clock. Raises SpoolUnavailable."""
        if self.channel is None:
            raise SpoolUnavailable(f"the journal cannot be written: {self._why}")
        if entry.kind == "event" and len(self._waiting) >= MOST_WAITING:
            raise SpoolUnavailable(f"the journal is behind: {len(self._waiting)} statements wait")
        stored: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, stored))
        self._urgent = self._urgent or entry.kind not in _PATIENT
        self._send_in_time()
        try:
            return await stored
        except AmqpError as error:
            raise SpoolUnavailable(f"the journal cannot be written: {error}") from error

    def owe(self, entry: Entry) -> None:
        """To be stated by `pay`."""
        if entry.kind in ("settled", "destination") and len(self._owed) == MOST_OWED:
            return
        self._owed.append(entry)

    async def pay(self, seconds: float) -> None:
        """State what is owed, in `seconds` or at the next call. Twice is no harm, but for ever: while a broker blocks us nothing leaves."""
        if len(self._waiting) >= MOST_WAITING:
            return
        due = [self._owed.popleft() for _ in range(min(len(self._owed), _AT_ONCE))]
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(self.state(each) for each in due))
        except (SpoolUnavailable, TimeoutError):
            self._owed.extendleft(reversed(due))
        except asyncio.CancelledError:
            self._owed.extendleft(reversed(due))
            raise

    def _send_in_time(self) -> None:
        if self._urgent:
            self._send()
        elif self._waiting and self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(GATHER, self._gathered)

    def _gathered(self) -> None:
        self._soon, self._urgent = None, bool(self._waiting)
        self._send()

    def _send(self) -> None:
        if not self._waiting or self._under_way or self.channel is None or not self.channel.is_open:
            return
        batch, body = self._batch()
        self._under_way, self._urgent = True, bool(self._waiting)
        publish = self.channel.publish(self._stream, body, "journal")
        left_at = time.monotonic()
        publish.stored.add_done_callback(lambda done: self._sent(batch, done, left_at))

    def _batch(self) -> tuple[list[tuple[Entry, asyncio.Future[float]]], bytes]:
        """The first of those that wait, as many as one message may have."""
        lines: list[bytes] = []
        size = 0
        for entry, _ in self._waiting:
            line = encode([entry])
            size += len(line) + 1
            if lines and size > MOST_BYTES:
                break
            lines.append(line)
        batch, self._waiting = self._waiting[: len(lines)], self._waiting[len(lines) :]
        return batch, b"\n".join(lines)

    def _sent(
        self, batch: list[tuple[Entry, asyncio.Future[float]]], done: asyncio.Future[None], left_at: float
    ) -> None:
        self._under_way = False
        for _, stored in batch:
            _pass_on(done.exception(), stored, left_at)
        self._send_in_time()


def _pass_on(error: BaseException | None, waiter: asyncio.Future[float], left_at: float) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(left_at)
    else:
        waiter.set_exception(error)
        waiter.exception()
