"""What can go wrong with the management API.

BrokerError
├── BrokerUnreachable   no broker answers, or not with a certificate of ours
├── BrokerRefused       the password is not the brokers'
└── BrokerFailed        a broker answered and did not do it
    └── BrokerErred     since something broke inside of it
"""

from __future__ import annotations


class BrokerError(Exception):
    """The brokers did not do what was asked; the text says what was asked and why not."""


class BrokerUnreachable(BrokerError):  # noqa: N818
    """No broker answers."""


class BrokerRefused(BrokerError):  # noqa: N818
    """The password is not the brokers'."""


class BrokerFailed(BrokerError):  # noqa: N818
    """A broker answered, but did not do it."""


class BrokerErred(BrokerFailed):
    """A broker answered with an error of its own; `status` is that of HTTP, 500 and more."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
