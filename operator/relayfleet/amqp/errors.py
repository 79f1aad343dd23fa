"""What can go wrong, by meaning.

AmqpError
├── ConnectError            no connection came about; the text says what to look at
│   ├── Unreachable         nobody answers there: name, network, refused, silent
│   ├── Untrusted           TLS: the peer's certificate is not of our CA or not of that name
│   └── AccessRefused       the broker refuses user, password or virtual host
├── ConnectionLost          it was open and is gone; what was under way may or may not have been done
├── ChannelLost             the broker closed the channel for an error of ours: `code` and `text` are its words
│   ├── NotFound            404: no such queue or exchange
│   ├── Locked              405: another connection has the queue for itself
│   └── PreconditionFailed  406: other arguments, a message too large, an unknown delivery tag
├── NotStored               the broker says that it did not store a message
│   ├── Nacked              it could not
│   └── Returned            no queue has that name
├── DeadlineExceeded        no answer in time; what was asked may or may not have been done
└── MalformedFrame          the peer does not speak AMQP 0-9-1
"""

from __future__ import annotations


class AmqpError(Exception):
    """The root: anything that this client raises."""


class ConnectError(AmqpError):
    """No connection came about."""


class Unreachable(ConnectError):  # noqa: N818 - states, not mistakes, here and below
    """Nobody answers at that address."""


class Untrusted(ConnectError):  # noqa: N818
    """The peer's certificate is not accepted."""


class AccessRefused(ConnectError):  # noqa: N818
    """User, password or virtual host refused."""


class ConnectionLost(AmqpError):  # noqa: N818
    """The connection is gone."""


class ChannelLost(AmqpError):  # noqa: N818
    """The broker closed the channel. `code` as in AMQP 0-9-1, `text` as the broker words it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class NotFound(ChannelLost):
    """No such queue or exchange."""


class Locked(ChannelLost):
    """Another connection has the queue for itself."""


class PreconditionFailed(ChannelLost):
    """Something that exists differs from what was asked for, or a limit was passed."""


class NotStored(AmqpError):  # noqa: N818
    """The broker says that it did not store the message."""


class Nacked(NotStored):
    """The queue could not take it."""


class Returned(NotStored):
    """The message has no queue to go to."""


class DeadlineExceeded(AmqpError):  # noqa: N818
    """No answer in time."""


class MalformedFrame(AmqpError):  # noqa: N818
    """Bytes that are not AMQP 0-9-1."""


def channel_lost(code: int, text: str) -> ChannelLost:
    """The error for a code in channel.close."""
    return {404: NotFound, 405: Locked, 406: PreconditionFailed}.get(code, ChannelLost)(code, text)
