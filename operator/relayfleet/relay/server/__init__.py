"""The SMTP server of the relay: takes mail from clients and hands it to the queue.

Bytes go up through `listener` → `connection` (PROXY header, TLS) → `session` (lines, message, deadlines) → `dialogue` (what to answer);
a complete message goes through `transaction` (the record) and `storing` (the queue's confirm), and only then is `250` said.
Written on bare `asyncio.Protocol`s: a server on streams spends several times the processor on each mail.
"""

from relayfleet.relay.server.counters import Counters
from relayfleet.relay.server.listener import ListenError
from relayfleet.relay.server.server import SmtpServer

__all__ = ["Counters", "ListenError", "SmtpServer"]
