"""Exponential backoff with jitter, cut at the end of the mail's life. Pure.

attempt 0 is followed by `first` seconds, each further one by `factor_percent` of the last wait, up to `longest`; then jitter of ±15 %
keeps mails that failed together from coming back together. The last wait is cut so that one attempt is made right before the mail's
life ends (RFC 5321 section 4.5.4.1 asks for four to five days; the default is five).
"""

from __future__ import annotations

import math
from dataclasses import replace

from relayfleet.protocol.relay_config import Retry

JITTER = 0.15
UNCERTAIN_SECONDS = 600.0
"""After a final dot without an answer the peer may still be working on the mail: no second copy before its time is over (RFC 5321
section 4.5.3.2.6, RFC 1047)."""
SHORTEST_SECONDS = 1.0
HOLD_SECONDS = (120.0, 240.0, 480.0, 960.0)
"""What a rule holds is looked at again after two minutes, later every sixteen: as long as it has been held, since the queue stores it anew each time."""
_MOST_GROWTH = 40.0
"""e^40 is longer than any life: a thousandth attempt overflows nothing."""


def next_delay(retry: Retry, attempt: int, random: float, age: float) -> float:
    """Seconds to wait after `attempt` (0: the first) failed at `age` seconds; `random` is in [0, 1)."""
    growth = min(attempt * math.log(retry.factor_percent / 100), _MOST_GROWTH)
    wait = min(retry.first * math.exp(growth), retry.longest)
    jittered = wait * (1 + JITTER * (2 * random - 1))
    return max(min(jittered, retry.lifetime - age), SHORTEST_SECONDS)


def hold_delay(holds: int) -> float:
    """Seconds until a record that was held so many times in a row is looked at again."""
    return HOLD_SECONDS[min(holds, len(HOLD_SECONDS) - 1)]


def expired(retry: Retry, age: float) -> bool:
    """True when a mail of `age` seconds that failed again is not tried any more."""
    return age >= retry.lifetime - SHORTEST_SECONDS


def shortened(retry: Retry, accepted_at: float, expires_at: float) -> Retry:
    """The pool's settings for a mail whose sender gives it up at `expires_at` (0: does not), which makes its life shorter and never longer."""
    if not expires_at:
        return retry
    return replace(retry, lifetime=min(retry.lifetime, max(expires_at - accepted_at, 0.0)))
