"""An observation of a broker as it is kept inside the prober, and what an error says that was seen."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from relayfleet.amqp.errors import AccessRefused, AmqpError, ConnectionLost, DeadlineExceeded, Unreachable
from relayfleet.protocol.brokerprobing import BrokerSight, Kind, Step

_DIGITS = 6
_REFUSED = {errno.ECONNREFUSED}
_RESET = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.ETIMEDOUT}

WHY: dict[tuple[Kind, Step], str] = {
    ("Silent", "Connect"): "a new connection gets no answer",
    ("Silent", "Publish"): "it takes connections and confirms nothing",
    ("Refused", "Connect"): "connections are refused",
    ("Unreachable", "Connect"): "no way leads there",
    ("Reset", "Connect"): "new connections break",
    ("Reset", "Publish"): "connections break",
    ("Denied", "Connect"): "the prober may not log in yet",
}
"""In the same words for the same cause, without addresses."""


@dataclass(frozen=True, slots=True)
class BrokerSighting:
    """As `protocol.brokerprobing.BrokerSight`, but `at` and `since` (None: all is well) are `time.monotonic()` of this machine."""

    key: str
    kind: Kind
    step: Step
    at: float
    latency: float = 0.0
    since: float | None = None
    why: str = ""

    def told(self, now: float) -> BrokerSight:
        """What is said of it at `now`."""
        since = 0.0 if self.since is None else max(0.0, now - self.since)
        age, latency = max(0.0, now - self.at), round(self.latency, _DIGITS)
        return BrokerSight(
            self.key, self.kind, self.step, round(age, _DIGITS), latency, round(since, _DIGITS), self.why
        )


def kind_of(error: AmqpError) -> Kind | None:
    """What was seen; None for this machine's own trouble, which says nothing about a broker."""
    match error:
        case AccessRefused():
            return "Denied"
        case DeadlineExceeded():
            return "Silent"
        case ConnectionLost():
            return "Reset"
        case Unreachable():
            return _unreachable(error.__cause__)
        case _:
            return "Erred"


def _unreachable(cause: BaseException | None) -> Kind | None:
    match cause:
        case TimeoutError() if not cause.errno:
            return "Silent"
        case OSError(errno=int(code)):
            return _by_number(code)
        case OSError():  # uvloop's words for a connection that ends while it is made
            return "Reset"
        case ConnectionLost():
            return "Reset"
        case _:
            return "Erred"


def _by_number(code: int) -> Kind | None:
    if code in _REFUSED:
        return "Refused"
    if code in _RESET:
        return "Reset"
    return "Unreachable" if code in _UNREACHABLE else None
