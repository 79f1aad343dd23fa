"""What provider lanes do for mail in virtual time, beside the same relay without (docs/decisions/0025).

One relay, 200 hands, 128 for each lane, 20 sessions a destination; seven quick peers of providers of their own with 2 mails a second each, answers in 50 ms, for
600 s; a move is a write, 2,000 a second at most. The record's figures are these tests' own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from functools import cache
from random import Random
from typing import Any

import pytest

from relayfleet.relay.spool.places import FRONT, NAMED
from tests.fakes.clock import in_virtual_time
from tests.fakes.laned import HANDS, MOVES_A_SECOND, Peer, Relay, arrive, waits

SECONDS = 600.0
RATE = 2.0
QUEUED = 20_000
SLOW, SHARED = 7, NAMED


async def over(relay: Relay, *traffic: Coroutine[Any, Any, None], seconds: float = 0.0) -> float:
    """Run for so long, or until all traffic has come and is delivered; seconds that it took."""
    running = asyncio.create_task(relay.run())
    coming = [asyncio.create_task(each) for each in traffic]
    if seconds:
        await asyncio.sleep(seconds)
    else:
        await asyncio.gather(*coming)
        await relay.empty.wait()
    took = asyncio.get_running_loop().time()
    assert not running.done(), running.exception()
    for each in (*coming, running):
        each.cancel()
    await asyncio.gather(*coming, running, return_exceptions=True)
    return took


def p99(relay: Relay, peers: list[Peer]) -> float:
    """Of the seconds that mails of these peers waited; those that are not delivered wait for ever."""
    known = waits(relay, peers)
    known += [math.inf] * (sum(relay.accepted[each] for each in peers) - len(known))
    return known[int(len(known) * 0.99)]


def beside(relay: Relay, others: list[Peer], rate: float, queued: int = 0, place: int | None = None) -> list[Peer]:
    """Seven quick peers with steady mail, and the others with `queued` mails each, and `rate` more a second, for ten minutes."""
    quick = [Peer(f"mx.{number}.test", number) for number in range(7)]
    chance = Random(7)

    async def run() -> None:
        for each in others * queued:
            relay.put(each, place=place)
        coming = [arrive(relay, peer, RATE, SECONDS, chance) for peer in quick]
        coming += [arrive(relay, peer, rate, SECONDS, chance) for peer in others if rate]
        await over(relay, *coming, seconds=SECONDS)

    in_virtual_time(run())
    return quick


def silent(lane: int = SLOW) -> Peer:
    """Holds every session for ten minutes."""
    return Peer("mx.silent.test", lane, silent=lambda now: max(SECONDS - now, 0.0))


@cache
def alone() -> float:
    """The bound: the same relay without lanes and without any slow destination."""
    relay = Relay(lanes=False)
    return p99(relay, beside(relay, [], 0.0))


def test_without_lanes_one_that_holds_every_session_keeps_all_others_waiting() -> None:
    relay = Relay(lanes=False)
    quick = beside(relay, [silent()], 20.0, QUEUED)
    assert p99(relay, quick) > 60.0
    assert relay.fewest_free == 0


@pytest.mark.parametrize("rate", [0.0, 20.0])
def test_with_lanes_it_keeps_nobody_waiting(rate: float) -> None:
    relay = Relay(lanes=True)
    quick = beside(relay, [silent()], rate, QUEUED)
    print(f"p99 {p99(relay, quick):.3f} s, alone {alone():.3f} s; moved {relay.moved}, deferred {relay.deferred}")
    assert p99(relay, quick) <= 1.2 * alone()
    assert waits(relay, quick)[-1] < 2.0


def test_its_returning_retries_do_not_fill_the_front() -> None:
    """Those that waited for a session for five minutes are put off, and come back by the front again and again."""
    relay, back = Relay(lanes=True), 5000
    quick = beside(relay, [silent()], 0.0, back, place=FRONT)
    print(f"p99 {p99(relay, quick):.3f} s, alone {alone():.3f} s; moved {relay.moved}, deferred {relay.deferred}")
    assert relay.moved > back - HANDS
    late = [each for each in waits(relay, quick) if each > 1.2 * alone()]
    assert len(late) < 2 * 7 * RATE * back / MOVES_A_SECOND  # while they were moved, once


def test_ten_slow_ones_keep_nobody_waiting_and_get_what_they_take() -> None:
    relay, slow = Relay(lanes=True), [Peer(f"mx.slow-{each}.test", SLOW + each, rate=1.0) for each in range(8)]
    quick = beside(relay, slow, 2.0)
    got = len(waits(relay, slow))
    print(f"p99 {p99(relay, quick):.3f} s, alone {alone():.3f} s; they took {got} of {len(slow) * SECONDS:.0f}")
    assert p99(relay, quick) <= 1.2 * alone()
    assert got >= 0.95 * len(slow) * SECONDS


def test_whoever_shares_a_lane_with_a_silent_one_waits_and_nobody_else() -> None:
    """The price of shared lanes, which record 25 states."""
    relay, other = Relay(lanes=True), Peer("mx.other.test", SHARED)
    quick = beside(relay, [silent(SHARED), other], RATE, 2000)
    assert p99(relay, quick) <= 1.2 * alone()
    assert p99(relay, [other]) > 60.0


@pytest.mark.parametrize(("rate", "seconds", "sessions"), [(40.0, 0.05, 20), (math.inf, 0.2, 8), (math.inf, 0.5, 20)])
def test_a_slow_destination_gets_its_own_mail_as_soon_as_without(rate: float, seconds: float, sessions: int) -> None:
    async def took(lanes: bool) -> float:
        relay, peer = Relay(lanes=lanes, sessions=sessions), Peer("mx.slow.test", SLOW, seconds, rate)
        for _ in range(2000):
            relay.put(peer)
        return await over(relay)

    without, with_lanes = (in_virtual_time(took(lanes)) for lanes in (False, True))
    print(f"without {without:.1f} s, with lanes {with_lanes:.1f} s")
    assert with_lanes <= without * 1.05


def test_the_clock_jumps_and_a_wait_without_end_is_told() -> None:
    async def hour() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert in_virtual_time(hour()) == pytest.approx(3600)
    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        in_virtual_time(asyncio.Event().wait())
