"""One SMTP session as bytes in order: commands out, replies in, each wait with its own deadline.

A bare `asyncio.Protocol`, because the stream classes cost several times the CPU of the whole mail. The session knows nothing of
transactions; it knows how many replies are due, and that a reply which nobody is waiting for puts it out of step for good (but for
421, which may come at any time and only says that the peer is leaving).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast

from relayfleet.relay.delivery.errors import LostError, PeerTimeoutError, Phase, ProtocolError, SessionError, TlsError
from relayfleet.relay.delivery.wire import Peer, ReplyError, ReplyParser
from relayfleet.relay.replies.reply import Reply

# RFC 5321 section 4.5.3.2: the least that a client must wait, in seconds.
BANNER_SECONDS = 300.0
EHLO_SECONDS = 300.0
MAIL_SECONDS = 300.0
RCPT_SECONDS = 300.0
DATA_SECONDS = 120.0
BLOCK_SECONDS = 180.0
END_SECONDS = 600.0
RESET_SECONDS = 300.0
STARTTLS_SECONDS = 120.0
HANDSHAKE_SECONDS = 30.0
QUIT_SECONDS = 5.0

CHUNK_BYTES = 256 * 1024
_POLL_SECONDS = 0.005


class Session(asyncio.Protocol):
    """An open connection. `host` is the name from MX, `address` where it really goes; `mails` counts transactions begun. `stated` is set when
    the journal knows what came of the last one: the next dot waits for that, so that a relay which dies leaves one mail a session uncertain."""

    def __init__(self, host: str, address: str) -> None:
        self.host, self.address = host, address
        self.peer = Peer()
        self.tls = False
        self.mails = 0
        self.needs_reset = False
        self.stated = asyncio.Event()
        self.stated.set()
        self._loop = asyncio.get_running_loop()
        self.opened_at = self.used_at = self._loop.time()
        self.unasked: Reply | None = None
        self.leaving = False
        self._failure: SessionError | None = None
        self._due = 0
        self._inbox: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._parser = ReplyParser()
        self._paused = False
        self._raw: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def usable(self) -> bool:
        """True while a new transaction may begin."""
        return (
            self._failure is None and self.unasked is None and not self.leaving and self._due == 0 and not self._inbox
        )

    def write(self, data: bytes | memoryview, replies: int = 0) -> None:
        """Send; `replies` says how many replies that will bring."""
        if self._failure is None and self._transport is not None:
            self._due += replies
            self._transport.write(data)

    async def reply(self, phase: Phase, seconds: float) -> Reply:
        """The next reply. Raises SessionError when the session breaks before it comes."""
        while not self._inbox:
            if self._failure is not None:
                raise type(self._failure)(phase, self._failure.text)
            await self._wait(phase, seconds)
        return self._inbox.popleft()

    async def send_body(self, body: bytes, deadline: float) -> None:
        """Send a large body and return when the kernel has taken it. Raises SessionError, also when the peer answers before the end."""
        view, loop = memoryview(body), self._loop
        for start in range(0, len(view), CHUNK_BYTES):
            self.write(view[start : start + CHUNK_BYTES])
            while self._unsent():
                left = min(BLOCK_SECONDS, deadline - loop.time())
                await (self._wait("body", left) if self._paused else asyncio.sleep(_POLL_SECONDS))
                self.ensure_open()
        self.ensure_open()

    def ensure_open(self) -> None:
        """Raise SessionError when the session broke, or the peer spoke, while nobody waited for a reply."""
        if self._failure is not None:
            raise type(self._failure)("body", self._failure.text)
        if self.unasked is not None:
            raise ProtocolError(
                "body", f"the peer answered before the end of the mail: {self.unasked.code} {self.unasked.text}"
            )

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Encrypt. Raises TlsError; the session is of no use then. What came in plain after the peer's 220 makes it fail, too."""
        if not self._parser.idle or not self.usable:
            raise TlsError("starttls", "the peer sent plain text after its answer to STARTTLS")
        loop, raw = self._loop, cast("asyncio.Transport", self._transport)
        name = None if self.host.startswith("[") else self.host
        try:
            secured = await loop.start_tls(
                raw, self, context, server_hostname=name or "", ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (TimeoutError, OSError, ssl.SSLError, ValueError) as error:
            raise TlsError("starttls", str(error) or type(error).__name__) from error
        if secured is None:
            raise TlsError("starttls", "the connection was lost during the handshake")
        self._transport, self.tls = secured, True

    def quit(self) -> None:
        """Take leave: QUIT, then wait for the peer's goodbye a few seconds at most."""
        if self.usable and self._transport is not None and not self._transport.is_closing():
            self.write(b"QUIT\r\n", 1)
            self._loop.call_later(QUIT_SECONDS, self.abort)
            self._failure = LostError("reset", "we said QUIT")
        else:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once; what is not sent yet is thrown away."""
        self._fail(LostError("connect", "we closed the connection"))
        if self._transport is not None:
            self._transport.abort()
        if self._raw is not None and self._raw is not self._transport:
            self._raw.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = self._transport = cast("asyncio.Transport", transport)
        # "Paused" then means: the kernel has not taken everything. The final dot waits for that.
        self._transport.set_write_buffer_limits(high=0)
        self._due = 1

    def data_received(self, data: bytes) -> None:
        try:
            replies = self._parser.feed(data)
        except ReplyError as error:
            self._fail(ProtocolError("connect", str(error)))
            self.abort()
            return
        for reply in replies:
            self._take(reply)
        if replies:
            self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(LostError("connect", f"connection lost: {exc}" if exc else "the peer closed the connection"))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _take(self, reply: Reply) -> None:
        self.leaving = self.leaving or reply.code == 421
        if self._failure is not None and self._due:
            self.abort()  # the goodbye
        elif self._due:
            self._due -= 1
            self._inbox.append(reply)
        elif self.unasked is None:
            self.unasked = reply

    def _unsent(self) -> bool:
        if self._failure is not None or self.unasked is not None or self._raw is None or self._transport is None:
            return False
        return self._paused or self._raw.get_write_buffer_size() > 0

    async def _wait(self, phase: Phase, seconds: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(max(seconds, 0.0), self._late, phase, seconds)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _late(self, phase: Phase, seconds: float) -> None:
        self._fail(PeerTimeoutError(phase, f"no answer within {max(seconds, 0):.0f} seconds"))
        self.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: SessionError) -> None:
        if self._failure is None:
            self._failure = failure
        self._wake()
