"""One SMTP session as a receiving server sees it (RFC 5321), with the extensions that relays use.

No policy: what is not scripted and has correct syntax is accepted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.sink.actions import Action, Stage
from tests.sink.body import Body
from tests.sink.conversation import Conversation
from tests.sink.records import Envelope, parameters
from tests.sink.rules import Facts

LINE_MAX = 4096
RECIPIENTS_MAX = 1000

_PATH = re.compile(rb"(?i)(?:MAIL FROM|RCPT TO):[ ]?<((?:\"(?:[^\"\\]|\\.)*\"@)?[^<>]*)>(?: +(.*))?")


class Host(Protocol):
    """What a session needs of its server."""

    name: str
    message_bytes: int

    def find(self, stage: Stage, facts: Facts, recipients: Sequence[str]) -> Action | None:
        """What the script says."""

    def new_body(self) -> Body:
        """A reader for the next message."""

    @property
    def offers_tls(self) -> bool: ...

    async def secure(self, transport: asyncio.Transport, session: asyncio.Protocol) -> asyncio.Transport:
        """The transport with TLS on it."""

    def store(self, facts: Facts, envelope: Envelope, body: Body, answered: bool) -> int:
        """Keep the record of a message; its number."""

    def opened(self, session: Session) -> int:
        """The number of the new session; raises ConnectionRefusedError when there are too many."""

    def closed(self, session: Session) -> None: ...


class Session(Conversation):
    """`envelope` is the transaction under way, `body` the message under way."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.find)
        self._host = host
        self._body: Body | None = None
        self._envelope: Envelope | None = None
        self._upgrading = False
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        try:
            self.facts.session = self._host.opened(self)
        except ConnectionRefusedError as error:
            self.say(f"421 4.3.2 {error}\r\n".encode())
            self.leave()
        else:
            self.answer("connect", (), lambda: f"220 {self._host.name} ESMTP test sink\r\n".encode())
        self.work()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._host.closed(self)

    def take(self) -> bool:
        return self._take_message(self._body) if self._body else self._take_command()

    def _take_message(self, body: Body) -> bool:
        data = bytes(self.input)
        self.input.clear()
        rest = body.feed(data)
        if rest is None:
            return False
        self.input += rest
        self._dot(body)
        return True

    def _take_command(self) -> bool:
        end = self.input.find(b"\n")
        if end > LINE_MAX or (end < 0 and len(self.input) > LINE_MAX):
            self.say(b"500 5.5.2 line too long\r\n")
            self.leave()
            return False
        if end < 0:
            return False
        line = bytes(self.input[:end]).removesuffix(b"\r")
        del self.input[: end + 1]
        _COMMANDS.get(line[:4].upper(), Session._unknown)(self, line)
        return True

    # Greeting

    def _ehlo(self, line: bytes) -> None:
        self._envelope = None
        self.facts.helo = _text(line[4:].strip())
        extended = line[:1] in b"Ee"
        self.answer("ehlo", (), lambda: self._greeting(extended))

    def _greeting(self, extended: bool) -> bytes:
        words = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", f"SIZE {self._host.message_bytes}"]
        if self._host.offers_tls and not self.facts.tls:
            words.append("STARTTLS")
        lines = [self._host.name, *words] if extended else [self._host.name]
        return "".join(f"250{'-' if each is not lines[-1] else ' '}{each}\r\n" for each in lines).encode()

    def _starttls(self, line: bytes) -> None:
        if self.facts.tls or not self._host.offers_tls:
            self.say(b"503 5.5.1 no TLS here\r\n")
        else:
            self.answer("starttls", (), self._begin_tls)

    def _begin_tls(self) -> bytes:
        self._upgrading = True
        self.hold(True)
        return b"220 2.0.0 begin TLS\r\n"

    def flushed(self) -> None:
        if self._upgrading and not self.transport.is_closing():
            self._upgrading = False
            self.input.clear()  # what was sent before the handshake is not trusted
            self._handshake = asyncio.create_task(self._upgrade())

    async def _upgrade(self) -> None:
        try:
            self.transport = await self._host.secure(self.transport, self)
        except (OSError, ConnectionError):
            self.transport.abort()
            return
        self.facts.tls = self.transport.get_extra_info("ssl_object").version()
        self.facts.helo, self._envelope = "", None
        self.hold(False)
        self.work()

    # Transaction

    def _mail(self, line: bytes) -> None:
        path = _PATH.fullmatch(line)
        if not path or self._envelope:
            self.say(b"503 5.5.1 nested MAIL\r\n" if self._envelope else b"501 5.5.4 MAIL FROM:<address> is needed\r\n")
            return
        envelope = Envelope(_text(path[1]), parameters(_text(path[2] or b"")))
        size = envelope.params.get("SIZE", "")
        if size.isdigit() and int(size[:18]) > self._host.message_bytes:
            self.say(b"552 5.3.4 too large\r\n")
            return
        self.facts.sender = envelope.sender
        self.answer("mail", (), lambda: self._begin(envelope))

    def _begin(self, envelope: Envelope) -> bytes:
        self._envelope = envelope
        return b"250 2.1.0 ok\r\n"

    def _rcpt(self, line: bytes) -> None:
        path, envelope = _PATH.fullmatch(line), self._envelope
        if envelope is None:
            self.say(b"503 5.5.1 MAIL first\r\n")
        elif not path or not path[1]:
            self.say(b"501 5.5.4 RCPT TO:<address> is needed\r\n")
        elif len(envelope.addresses) >= RECIPIENTS_MAX:
            self.say(b"452 4.5.3 too many recipients\r\n")
        else:
            address, params = _text(path[1]), parameters(_text(path[2] or b""))
            self.answer("rcpt", (address,), lambda: envelope.add(address, params))

    def _data(self, line: bytes) -> None:
        if self._envelope is None or not self._envelope.addresses:
            self.say(b"503 5.5.1 no valid recipients\r\n")
        else:
            self.answer("data", self._envelope.addresses, self._begin_message)

    def _begin_message(self) -> bytes:
        self._body = self._host.new_body()
        return b"354 go on\r\n"

    def _dot(self, body: Body) -> None:
        envelope = self._envelope
        assert envelope is not None
        self._body = self._envelope = None
        if body.too_large:
            self.say(b"552 5.3.4 too large\r\n")
        else:
            self.answer("dot", envelope.addresses, lambda: self._store(envelope, body))

    def _store(self, envelope: Envelope, body: Body) -> bytes:
        number = self._host.store(self.facts, envelope, body, answered=_tells(self.deed))
        return b"250 2.0.0 stored as %d\r\n" % number

    # The rest

    def _rset(self, line: bytes) -> None:
        self.answer("rset", (), self._forget)

    def _forget(self) -> bytes:
        self._envelope = None
        return b"250 2.0.0 ok\r\n"

    def _noop(self, line: bytes) -> None:
        self.answer("noop", (), lambda: b"250 2.0.0 ok\r\n")

    def _vrfy(self, line: bytes) -> None:
        self.say(b"252 2.1.5 send it and see\r\n")

    def _quit(self, line: bytes) -> None:
        self.answer("quit", (), self._bye)

    def _bye(self) -> bytes:
        self.leave()
        return b"221 2.0.0 bye\r\n"

    def _unknown(self, line: bytes) -> None:
        self.say(b"500 5.5.1 no such command\r\n")


def _tells(deed: Action | None) -> bool:
    """Whether the client learns that its message is stored."""
    return deed is None or (deed.do in ("accept", "reply") and deed.code < 400)


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


_COMMANDS: dict[bytes, Callable[[Session, bytes], None]] = {
    b"EHLO": Session._ehlo,
    b"HELO": Session._ehlo,
    b"STAR": Session._starttls,
    b"MAIL": Session._mail,
    b"RCPT": Session._rcpt,
    b"DATA": Session._data,
    b"RSET": Session._rset,
    b"NOOP": Session._noop,
    b"VRFY": Session._vrfy,
    b"QUIT": Session._quit,
}
