"""Why a domain has no way to it. The class says whether waiting can help.

    DnsError
    ├── DnsTemporary    no usable answer (timeout, SERVFAIL): says nothing about the domain   → try again
    └── DnsPermanent    a usable answer that says no (NXDOMAIN, null MX, a loop to ourselves) → bounce

`status` is the enhanced code for the bounce report (RFC 3463, RFC 7505).
"""

from __future__ import annotations


class DnsError(Exception):
    """No route; `status` is the enhanced status code."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class DnsTemporary(DnsError):  # noqa: N818 - a state, not a mistake
    """The resolvers gave no usable answer."""

    def __init__(self, text: str, status: str = "4.4.3") -> None:
        super().__init__(status, text)


class DnsPermanent(DnsError):  # noqa: N818
    """The domain takes no mail from us, and will not tomorrow."""
