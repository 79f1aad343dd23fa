"""The pulse tells one long pause from a loop that is always late."""

from __future__ import annotations

import asyncio
import time

from relayfleet.relay.control.pulse import BEAT, Pulse


async def test_one_pause_is_a_long_lag_and_a_small_mean() -> None:
    pulse = Pulse()
    try:
        await asyncio.sleep(10 * BEAT)
        time.sleep(0.5)  # noqa: ASYNC251 - the loop is to stand still
        await asyncio.sleep(2 * BEAT)
        assert pulse.lag(5.0) > 0.5 - 2 * BEAT, (
            "the loop's clock counts in whole milliseconds, and a beat was under way"
        )
        assert 0.0 < pulse.mean(5.0) < pulse.lag(5.0)
    finally:
        pulse.close()
