"""Everything that the server says to a client, in one table, ready for the wire.

A reply is a code (RFC 5321), an enhanced code (RFC 3463, registry of RFC 5248) and a text that says what is wrong and, where the
client's side can do something, what. `421` means that the connection ends after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `key` names it in counters ("452 4.3.1"), with `cause` where the codes alone do not tell apart what must not be
    mixed; `wire` is what is sent."""

    code: int
    enhanced: str
    text: str
    cause: str = ""
    key: str = field(init=False)
    wire: bytes = field(init=False)

    def __post_init__(self) -> None:
        codes = f"{self.code} {self.enhanced}".rstrip()
        object.__setattr__(self, "key", f"{codes} {self.cause}".rstrip())
        object.__setattr__(self, "wire", f"{codes} {self.text}\r\n".encode())


class Refused(Exception):  # noqa: N818 - an answer, not a mistake of ours
    """A command cannot be done; the client is told `reply`."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.key)
        self.reply = reply


# Positive
STARTTLS_READY = Reply(220, "2.0.0", "Ready to start TLS")
BYE = Reply(221, "2.0.0", "Bye")
AUTHENTICATED = Reply(235, "2.7.0", "Authentication successful")
NOOP_OK = Reply(250, "2.0.0", "Ok")
SENDER_OK = Reply(250, "2.1.0", "Sender ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")
VRFY_UNSURE = Reply(252, "2.0.0", "Cannot verify, but will take mail and try to deliver it")
HELP = Reply(214, "2.0.0", "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY HELP QUIT")
START_DATA = Reply(354, "", "End data with <CR><LF>.<CR><LF>")

# The connection ends
LEAVING = Reply(421, "4.3.2", "This relay closes the session, connect again")
TOO_MANY_SESSIONS = Reply(421, "4.3.2", "Too many sessions at this relay, try again later")
TOO_MANY_FROM_ADDRESS = Reply(421, "4.7.0", "Too many sessions from your address, close some first")
COMMAND_TIMEOUT = Reply(421, "4.4.2", "No command in time, closing")
DATA_TIMEOUT = Reply(421, "4.4.2", "Message came too slowly, closing")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing")
TOO_MANY_FAILURES = Reply(421, "4.7.0", "Too many failed authentications, closing")
INTERNAL_ERROR = Reply(421, "4.3.0", "Internal error, closing")
NOT_SMTP = Reply(421, "4.7.0", "This is an SMTP server, closing")

# Try again later
STORE_UNAVAILABLE = Reply(451, "4.3.0", "Could not store the message, try again later")
BUSY = Reply(451, "4.3.2", "The queue is busy with other mail, try again later", "busy")
"""Of a Bulk pool. No fault of the relay: see `INCAPABLE`."""
GONE = Reply(451, "4.3.2", "You left while your mail waited, try again", "gone")
"""Nearly always read by nobody; counted apart from what was put off."""
STORE_FULL = Reply(452, "4.3.1", "Queue is full, try again later")
MEMORY_FULL = Reply(452, "4.3.1", "Too many messages at once, try again later")
TOO_MANY_PROBES = Reply(452, "4.7.0", "Too many probes, try again later")
"""452 as for a full queue: to a prober it is an answer, and no failure."""
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients, send the rest in another transaction")
TOO_FAST = Reply(451, "4.7.1", "Your credential sends to too many recipients a minute, try again later", "rate")
DAY_IS_CLAIMED = Reply(
    451, "4.7.1", "Other mail of your credential may use up its recipients of today, try again later", "cap"
)
"""Nothing is refused for good on account of mail that may yet fail."""
TLS_UNAVAILABLE = Reply(454, "4.7.0", "TLS is not available for now")
AUTH_UNAVAILABLE = Reply(454, "4.7.0", "Authentication is not available for now, try again later")

INCAPABLE = frozenset({STORE_UNAVAILABLE.key, TLS_UNAVAILABLE.key, AUTH_UNAVAILABLE.key})
"""Keys of the replies that say: this relay cannot do its work. Quotas, limits and policy are no fault of it."""

# The client is wrong
LINE_TOO_LONG = Reply(500, "5.5.2", "Line too long, closing")
BARE_IN_COMMAND = Reply(500, "5.5.2", "Lines must end with <CR><LF> and hold no other <CR> or <LF>, closing")
BARE_IN_MESSAGE = Reply(550, "5.5.2", "Message holds a bare <CR>, a bare <LF> or a NUL, closing")
NOT_TEXT = Reply(500, "5.5.2", "Commands must be printable UTF-8")
UNKNOWN_COMMAND = Reply(500, "5.5.1", "Unknown command")
SYNTAX = Reply(501, "5.5.4", "Syntax error in parameters")
NO_ARGUMENT = Reply(501, "5.5.4", "This command takes no parameter")
HELLO_NAME = Reply(501, "5.5.4", "Say your host name or address literal")
BAD_BASE64 = Reply(501, "5.5.2", "Not base64")
AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
BAD_SENDER = Reply(501, "5.1.7", "Bad sender address, expected MAIL FROM:<local@domain>")
BAD_RECIPIENT = Reply(501, "5.1.3", "Bad recipient address, expected RCPT TO:<local@domain>")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
HELLO_FIRST = Reply(503, "5.5.1", "Say EHLO first")
EHLO_FIRST = Reply(503, "5.5.1", "Say EHLO, not HELO, to use this")
NESTED_MAIL = Reply(503, "5.5.1", "A transaction is open, finish it or send RSET")
MAIL_FIRST = Reply(503, "5.5.1", "Say MAIL first")
NO_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
ALREADY_TLS = Reply(503, "5.5.1", "TLS is already active")
ALREADY_AUTHENTICATED = Reply(503, "5.5.1", "Already authenticated")
IMPROPER_PIPELINING = Reply(503, "5.5.0", "Wait for the answer to this command before you send more, closing")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "Unknown mechanism, use PLAIN or LOGIN")
AUTH_REQUIRED = Reply(530, "5.7.0", "Authentication required")
BAD_CREDENTIALS = Reply(535, "5.7.8", "Name or password is wrong")
TLS_REQUIRED = Reply(538, "5.7.11", "Encryption required, use STARTTLS first")
NOT_YOUR_SENDER = Reply(550, "5.7.1", "Your credential may not send as this domain", "sender")
DAY_IS_SPENT = Reply(
    550, "5.7.1", "More recipients than your credential may still send to today, until 24:00 UTC", "cap"
)
SEVERAL_AUTHORS = Reply(550, "5.6.0", "Message has several From fields, send it with one (RFC 5322)")
PROBES_ONLY = Reply(550, "5.7.1", "A probe is for its own address only")
TOO_LARGE = Reply(552, "5.3.4", "Message too large")
NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "Address is not ASCII, use SMTPUTF8")
TOO_MANY_HOPS = Reply(554, "5.4.6", "Too many Received headers, the mail loops")
BAD_PROXY_HEADER = Reply(421, "4.3.5", "Expected a PROXY protocol header, closing")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "Unknown parameter")


def queued(record_id: str) -> bytes:
    """The answer that hands the responsibility over."""
    return f"250 2.0.0 Ok: queued as {record_id}\r\n".encode()


def waits_for(dependency: str) -> Reply:
    """New mail is put off for a dependency that does not answer. Counted apart from what this relay cannot do: it is no fault of it."""
    return Reply(451, "4.3.0", f"Dependency {dependency} does not answer, try again later", "dependency")


def banner(hostname: str) -> bytes:
    """The first line of a session."""
    return f"220 {hostname} ESMTP relayfleet\r\n".encode()


def hello(hostname: str, extensions: Iterable[str] = ()) -> bytes:
    """The answer to HELO (no extensions) or EHLO."""
    *before, last = [hostname, *extensions]
    return "".join([*(f"250-{each}\r\n" for each in before), f"250 {last}\r\n"]).encode()


def challenge(text: str) -> bytes:
    """A step of AUTH; `text` is base64."""
    return f"334 {text}\r\n".encode()
