"""One mail transaction: the envelope as it grows by MAIL and RCPT, and the record that it becomes with its message."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from relayfleet.relay.server import expiry, replies, trace
from relayfleet.relay.server.allowances import Claim
from relayfleet.relay.server.commands import Mail
from relayfleet.relay.server.replies import Refused
from relayfleet.relay.server.trace import Hop
from relayfleet.relay.spool.record import Recipient, Record, new_id


@dataclass(slots=True)
class Transaction:
    """Begun by MAIL, grows by RCPT, ends with the message. `probe`: from the discard address, and only for it. `wishes`:
    what the message said on its expiry, known once it is a record. `claim`: what is set aside for it once its message may come."""

    mail: Mail
    recipients: list[Recipient] = field(default_factory=list)
    probe: bool = False
    wishes: tuple[str, ...] = ()
    claim: Claim = field(default_factory=Claim)

    def record(self, message: bytes, hop: Hop, credential: str) -> Record:
        """The record to store. Raises Refused for a mail that loops, and for one of which nobody can say from whom it is.

        `body_8bit` and `smtputf8` say what the mail needs, not what the client declared: the next server may lack an
        extension that a mail, though declared so, can do without.
        """
        head = trace.inspect(message)
        if head.hops > trace.MAX_HOPS:
            raise Refused(replies.TOO_MANY_HOPS)
        if head.separated and head.authors > 1:
            raise Refused(replies.SEVERAL_AUTHORS)
        if head.separated and head.expires:
            message, self.wishes = expiry.cut(message)
            head = trace.inspect(message)
        identity, now = new_id(), time.time()
        only = self.recipients[0].address if len(self.recipients) == 1 else None
        lines = trace.prefix(hop, head, identity, only, now)
        return Record(
            id=identity,
            sender=self.mail.sender,
            recipients=tuple(self.recipients),
            message=lines + message,
            accepted_at=now,
            body_8bit=not message.isascii(),
            smtputf8=self.mail.smtputf8 and not (head.ascii and self._ascii_envelope()),
            credential=credential,
            client="" if hop.client is None else str(hop.client),
            ret=self.mail.ret,
            envid=self.mail.envid,
            expires_at=expiry.earliest(self.wishes, now),
        )

    def _ascii_envelope(self) -> bool:
        return self.mail.sender.isascii() and all(each.address.isascii() for each in self.recipients)
