"""What a client says and what it is told: the state machine of SMTP (RFC 5321) without any I/O.

    start ── EHLO/HELO ──► greeted ── MAIL ──► transaction ── RCPT… ── DATA ──► message ──► greeted

`hear` takes one line and returns the answer, and what has to happen next; the session does it. Nothing here waits, reads or writes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from relayfleet.protocol.relay_config import TlsMode
from relayfleet.relay.server import commands, replies, sasl, trace
from relayfleet.relay.server.access import Address
from relayfleet.relay.server.addresses import is_host
from relayfleet.relay.server.allowances import Claim
from relayfleet.relay.server.limits import PROBE_BYTES
from relayfleet.relay.server.replies import Refused, Reply
from relayfleet.relay.server.services import Services
from relayfleet.relay.server.transaction import Transaction


class Next(enum.Enum):
    """What follows an answer."""

    LINE = enum.auto()
    MESSAGE = enum.auto()
    TLS = enum.auto()
    VERIFY = enum.auto()
    """No answer yet: `credentials` are to be verified first."""
    CLOSE = enum.auto()


Answer = tuple[Reply | bytes, Next]
"""The reply, as one of the table or ready for the wire (empty: none), and what follows."""


class Dialogue:
    """The state of one client. `credential` is who it proved to be, empty for nobody."""

    def __init__(self, services: Services, client: Address | None, tls: TlsMode) -> None:
        self._services = services
        self._client = client
        self._tls = tls
        self.secure = tls == "Implicit"
        self.credential = ""
        self.credentials: sasl.Credentials | None = None
        self.reset()

    def reset(self) -> None:
        """As if the client had just connected: nothing learned before TLS counts (RFC 3207)."""
        self.hello = ""
        self.extended = False
        self.transaction: Transaction | None = None
        self._exchange: sasl.Exchange | None = None

    @property
    def authenticating(self) -> bool:
        """Whether the next line answers a challenge."""
        return self._exchange is not None

    @property
    def probing(self) -> bool:
        """Whether the open transaction is a probe."""
        return self.transaction is not None and self.transaction.probe

    @property
    def claim(self) -> Claim:
        """What is set aside for the open transaction."""
        return Claim() if self.transaction is None else self.transaction.claim

    def most_bytes(self) -> int:
        """How large the message of the open transaction may be."""
        return self._most_bytes(self.probing)

    def hop(self, transaction: Transaction) -> trace.Hop:
        """What the Received header says of this client and this transaction."""
        word = trace.protocol(
            extended=self.extended,
            secure=self.secure,
            authenticated=bool(self.credential),
            smtputf8=transaction.mail.smtputf8,
        )
        return trace.Hop(self.hello, self._client, self._services.hostname, word)

    def hear(self, line: bytes) -> Answer:
        """Take one line, without its CRLF."""
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return replies.NOT_TEXT, Next.LINE
        if not text.isprintable():
            return replies.NOT_TEXT, Next.LINE
        try:
            return self._challenged(text) if self._exchange is not None else self._command(text)
        except Refused as refused:
            self._exchange = None
            return refused.reply, Next.LINE

    def _command(self, text: str) -> Answer:
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        command = _COMMANDS.get(verb)
        if command is not None:
            return command(self, argument)
        if verb in _BARE_COMMANDS:
            # RFC 5321 lets a server refuse parameters here; a stray space at the end is harmless.
            return (replies.NO_ARGUMENT, Next.LINE) if argument.strip() else _BARE_COMMANDS[verb](self)
        if verb in _NOT_SMTP:
            # A web browser or library that was led here; its "body" must never be read as commands.
            return replies.NOT_SMTP, Next.CLOSE
        return (replies.NOT_IMPLEMENTED if verb in _UNSUPPORTED else replies.UNKNOWN_COMMAND), Next.LINE

    def _helo(self, argument: str) -> Answer:
        self._greet(argument, extended=False)
        return replies.hello(self._services.hostname), Next.LINE

    def _ehlo(self, argument: str) -> Answer:
        self._greet(argument, extended=True)
        return replies.hello(self._services.hostname, self._extensions()), Next.LINE

    def _greet(self, argument: str, *, extended: bool) -> None:
        name = argument.strip()
        if not is_host(name):
            raise Refused(replies.HELLO_NAME)
        self.hello, self.extended, self.transaction = name, extended, None

    def _extensions(self) -> list[str]:
        offered = ["PIPELINING", f"SIZE {self._services.config.limits.message_bytes}"]
        if self._tls == "StartTLS" and not self.secure and self._services.certificates.context() is not None:
            offered.append("STARTTLS")
        if self.secure and not self.credential and self._services.authenticator.available:
            offered.append(f"AUTH {' '.join(sasl.MECHANISMS)}")
        return [*offered, "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]

    def _starttls(self) -> Answer:
        if self.secure:
            raise Refused(replies.ALREADY_TLS)
        if self._tls != "StartTLS":
            raise Refused(replies.NOT_IMPLEMENTED)
        if not self.extended:
            raise Refused(replies.HELLO_FIRST)
        if self._services.certificates.context() is None:
            raise Refused(replies.TLS_UNAVAILABLE)
        return replies.STARTTLS_READY, Next.TLS

    def _auth(self, argument: str) -> Answer:
        if not self.secure:
            raise Refused(replies.TLS_REQUIRED)
        if not self.extended:
            raise Refused(replies.HELLO_FIRST)
        if self.credential:
            raise Refused(replies.ALREADY_AUTHENTICATED)
        if self.transaction is not None:
            raise Refused(replies.NESTED_MAIL)
        if not self._services.authenticator.available:
            raise Refused(replies.AUTH_UNAVAILABLE)
        mechanism, initial = commands.parse_auth(argument)
        self._exchange = sasl.Exchange(mechanism)
        return self._proceed(self._exchange.begin(initial))

    def _challenged(self, text: str) -> Answer:
        assert self._exchange is not None  # noqa: S101 - for the type checker
        return self._proceed(self._exchange.step(text))

    def _proceed(self, outcome: str | sasl.Credentials) -> Answer:
        if isinstance(outcome, str):
            return replies.challenge(outcome), Next.LINE
        self._exchange = None
        self.credentials = outcome
        return b"", Next.VERIFY

    def _mail(self, argument: str) -> Answer:
        if not self.hello:
            raise Refused(replies.HELLO_FIRST)
        if self.transaction is not None:
            raise Refused(replies.NESTED_MAIL)
        transaction = self._begin(argument)
        size = transaction.mail.size
        if size > self._most_bytes(transaction.probe):
            raise Refused(replies.TOO_LARGE)
        if not self._services.budget.has_room(size):
            raise Refused(replies.MEMORY_FULL)
        self.transaction = transaction
        return replies.SENDER_OK, Next.LINE

    def _begin(self, argument: str) -> Transaction:
        """Of somebody who may send: a prober by its address, anybody else by credentials or network."""
        may_relay = bool(self.credential) or self._services.access.may_relay(self._client)
        try:
            mail = commands.parse_mail(argument, self.extended)
        except Refused:
            if may_relay:
                raise
            raise Refused(replies.AUTH_REQUIRED) from None
        probe = self._services.discard.is_address(mail.sender)
        if not (may_relay or probe):
            raise Refused(replies.AUTH_REQUIRED)
        if not (probe or self._services.senders.owns(self.credential, mail.sender)):
            raise Refused(replies.NOT_YOUR_SENDER)
        if not probe:
            self._services.allowances.look(self.credential)
        if probe and not self._services.probe_pace.allows():
            raise Refused(replies.TOO_MANY_PROBES)
        # Not of probes: a relay is not judged by what it depends on.
        if not probe and (dependency := self._services.defers_for()):
            raise Refused(replies.waits_for(dependency))
        return Transaction(mail, probe=probe)

    def _most_bytes(self, probe: bool) -> int:
        limit = self._services.config.limits.message_bytes
        return min(limit, PROBE_BYTES) if probe else limit

    def _rcpt(self, argument: str) -> Answer:
        if self.transaction is None:
            raise Refused(replies.MAIL_FIRST)
        if len(self.transaction.recipients) >= self._services.config.limits.recipients:
            raise Refused(replies.TOO_MANY_RECIPIENTS)
        recipient = commands.parse_rcpt(argument, self.extended, self.transaction.mail.smtputf8)
        if self.transaction.probe and not self._services.discard.is_address(recipient.address):
            raise Refused(replies.PROBES_ONLY)
        self.transaction.recipients.append(recipient)
        return replies.RECIPIENT_OK, Next.LINE

    def _data(self) -> Answer:
        if self.transaction is None:
            raise Refused(replies.MAIL_FIRST)
        if not self.transaction.recipients:
            raise Refused(replies.NO_RECIPIENTS)
        if not self.transaction.probe:
            self._set_aside(self.transaction)
        return replies.START_DATA, Next.MESSAGE

    def _set_aside(self, transaction: Transaction) -> None:
        """What the transaction takes of its credential's limits. Where it cannot be had the transaction is over, so that a client that does not say RSET
        can begin the next one."""
        try:
            transaction.claim = self._services.allowances.claim(self.credential, len(transaction.recipients))
        except Refused:
            self.transaction = None
            raise

    def _rset(self) -> Answer:
        self.transaction = None
        return replies.NOOP_OK, Next.LINE

    def _quit(self) -> Answer:
        return replies.BYE, Next.CLOSE

    def _noop(self, argument: str) -> Answer:
        return replies.NOOP_OK, Next.LINE

    def _vrfy(self, argument: str) -> Answer:
        return (replies.VRFY_UNSURE if argument else replies.SYNTAX), Next.LINE

    def _help(self, argument: str) -> Answer:
        return replies.HELP, Next.LINE


_COMMANDS: dict[str, Callable[[Dialogue, str], Answer]] = {
    "HELO": Dialogue._helo,
    "EHLO": Dialogue._ehlo,
    "AUTH": Dialogue._auth,
    "MAIL": Dialogue._mail,
    "RCPT": Dialogue._rcpt,
    "NOOP": Dialogue._noop,
    "VRFY": Dialogue._vrfy,
    "HELP": Dialogue._help,
}
_BARE_COMMANDS: dict[str, Callable[[Dialogue], Answer]] = {
    "STARTTLS": Dialogue._starttls,
    "DATA": Dialogue._data,
    "RSET": Dialogue._rset,
    "QUIT": Dialogue._quit,
}
_UNSUPPORTED = {"BDAT", "EXPN", "ETRN", "TURN", "SEND", "SOML", "SAML"}
_NOT_SMTP = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI"}
