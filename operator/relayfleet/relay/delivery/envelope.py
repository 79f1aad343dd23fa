"""One transaction as commands: what MAIL and RCPT say to a peer that offers this and lacks that. Pure.

What a peer lacks is decided before anything is sent: a mail that is too large for it, that needs 8BITMIME or SMTPUTF8, or whose
address cannot be written safely is a permanent failure (RFC 1870, 6152, 6531). Nothing is converted or downgraded, but for domains:
the A-label form of an internationalised domain means the same and needs no extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from relayfleet.relay.delivery.wire import Peer, safe_address, safe_body
from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.mx import domain_of
from relayfleet.relay.spool.record import Recipient


@dataclass(frozen=True, slots=True)
class Envelope:
    """What goes to one destination. `body` is dot-stuffed, with CRLF line ends, without the final dot; `prefix` are fields that go before it
    (kept apart, since to join them would copy every large mail)."""

    sender: str
    recipients: tuple[Recipient, ...]
    body: bytes = field(repr=False)
    body_8bit: bool = False
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    prefix: bytes = field(default=b"", repr=False)

    @property
    def size(self) -> int:
        """Bytes of the mail on the wire."""
        return len(self.prefix) + len(self.body)


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why this envelope can never go to this peer: enhanced status and text."""

    status: str
    text: str


def unfit(envelope: Envelope, peer: Peer) -> Unfit | None:
    """The reason not even to try; None when the envelope fits."""
    if peer.size and envelope.size > peer.size:
        return Unfit("5.3.4", f"the mail has {envelope.size} bytes, the receiving server takes {peer.size}")
    if envelope.body_8bit and not peer.eightbitmime:
        return Unfit("5.6.3", "the mail has 8-bit text and the receiving server does not take that (no 8BITMIME)")
    if envelope.smtputf8 and not peer.smtputf8 and not _ascii(envelope):
        return Unfit("5.6.7", "the mail has non-ASCII addresses or headers and the receiving server lacks SMTPUTF8")
    if not all(safe_address(each) for each in (envelope.sender, *(to.address for to in envelope.recipients))):
        return Unfit("5.1.3", "an address holds characters that SMTP cannot carry")
    if not safe_body(envelope.body):
        return Unfit("5.6.0", "the mail's lines do not all end with CRLF, or a line is a lone dot")
    return None


def mail_command(envelope: Envelope, peer: Peer) -> bytes:
    """MAIL FROM with the parameters that the peer knows."""
    words = [f"MAIL FROM:<{_written(envelope.sender, peer)}>"]
    if peer.size_offered:
        words.append(f"SIZE={envelope.size}")
    if peer.eightbitmime and envelope.body_8bit:
        words.append("BODY=8BITMIME")
    if peer.smtputf8 and envelope.smtputf8:
        words.append("SMTPUTF8")
    if peer.dsn and envelope.ret:
        words.append(f"RET={envelope.ret}")
    if peer.dsn and envelope.envid:
        words.append(f"ENVID={envelope.envid}")
    return f"{' '.join(words)}\r\n".encode()


def rcpt_commands(recipients: Sequence[Recipient], peer: Peer) -> list[bytes]:
    """RCPT TO for each recipient."""
    if not peer.dsn:
        return [f"RCPT TO:<{_written(each.address, peer)}>\r\n".encode() for each in recipients]
    return [_rcpt_with_dsn(each, peer) for each in recipients]


def _rcpt_with_dsn(recipient: Recipient, peer: Peer) -> bytes:
    notify = f" NOTIFY={recipient.notify}" if recipient.notify else ""
    orcpt = f" ORCPT={recipient.orcpt}" if recipient.orcpt else ""
    return f"RCPT TO:<{_written(recipient.address, peer)}>{notify}{orcpt}\r\n".encode()


def _written(address: str, peer: Peer) -> str:
    if address.isascii() or peer.smtputf8:
        return address
    local, _, _ = address.rpartition("@")
    return f"{local}@{domain_of(address)}"


def _ascii(envelope: Envelope) -> bool:
    """True when the envelope needs SMTPUTF8 in name only: ASCII local parts, domains with an A-label, ASCII headers."""
    addresses = [
        address for address in (envelope.sender, *(to.address for to in envelope.recipients)) if not address.isascii()
    ]
    try:
        written = [domain_of(address) for address in addresses]
    except DnsPermanent:
        return False
    locals_ = [address.rpartition("@")[0] for address in addresses]
    head = envelope.body[: envelope.body.find(b"\r\n\r\n") + 2]
    return all(text.isascii() for text in (*written, *locals_)) and head.isascii()
