"""Waiting for a place: in turn, bounded, and nobody's place is lost."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.relay.scavenger.scavenger import MOST_WAITING, TURN_SECONDS, Scavenger
from relayfleet.relay.scavenger.window import IDLE, LEAST, LEAST_SHARE, MOST, PERIOD, REST, Way
from tests.fakes.clock import in_virtual_time


def bulk(wall: float = PERIOD / 2) -> Scavenger:
    """By the loop's clock, in the middle of a minute."""
    return Scavenger(bulk=True, clock=lambda: asyncio.get_running_loop().time(), wall=lambda: wall)


async def full(scavenger: Scavenger) -> None:
    while scavenger.in_flight < scavenger.window.places(PERIOD / 2):
        assert await scavenger.enter()


def later(scavenger: Scavenger, count: int) -> list[asyncio.Task[bool]]:
    return [asyncio.create_task(scavenger.enter()) for _ in range(count)]


async def test_in_a_transactional_pool_everything_passes_and_nothing_is_judged() -> None:
    scavenger = Scavenger()
    heard: list[float] = []
    scavenger.listen(heard.append)
    for _ in range(10 * MOST):
        assert await scavenger.enter()
    for _ in range(10):
        scavenger.failed(scavenger.now())
        scavenger.confirmed(Way.MAIL, scavenger.now() - 60.0)
    assert heard == [1.0]
    assert scavenger.window.size == LEAST


def test_who_finds_no_place_in_time_has_none_and_waited_no_longer() -> None:
    async def scene() -> None:
        scavenger = bulk()
        await full(scavenger)
        began = asyncio.get_running_loop().time()
        assert await asyncio.gather(*later(scavenger, 3)) == [False] * 3
        assert asyncio.get_running_loop().time() - began == pytest.approx(TURN_SECONDS)
        assert scavenger.waited_seconds == pytest.approx(3 * TURN_SECONDS)
        for _ in range(LEAST):
            scavenger.leave()
        assert scavenger.in_flight == 0, "those who gave up hold no place"
        assert await scavenger.enter()

    in_virtual_time(scene())


def test_places_are_had_in_turn() -> None:
    async def scene() -> None:
        scavenger = bulk()
        await full(scavenger)
        tasks = later(scavenger, 3)
        for number in range(3):
            await asyncio.sleep(0.1)
            scavenger.leave()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert [each.done() for each in tasks] == [number >= other for other in range(3)]
        assert await asyncio.gather(*tasks) == [True] * 3
        assert scavenger.in_flight == LEAST

    in_virtual_time(scene())


@pytest.mark.parametrize("turn_came", [False, True])
def test_who_is_cancelled_while_he_waits_takes_no_place_with_him(turn_came: bool) -> None:
    async def scene() -> None:
        scavenger = bulk()
        await full(scavenger)
        first, second = later(scavenger, 2)
        await asyncio.sleep(0)
        if turn_came:
            scavenger.leave()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        if not turn_came:
            scavenger.leave()
        assert first.cancelled()
        assert await second
        assert scavenger.in_flight == LEAST

    in_virtual_time(scene())


def test_the_turn_of_who_has_gone_meanwhile_is_the_next_ones() -> None:
    async def scene() -> None:
        scavenger = bulk()
        await full(scavenger)
        first = asyncio.create_task(scavenger.enter(lambda: True))
        (second,) = later(scavenger, 1)
        await asyncio.sleep(0.1)
        scavenger.leave()
        assert (await first, await second) == (False, True)
        assert scavenger.in_flight == LEAST
        scavenger.leave()
        assert await scavenger.enter(lambda: True), "who need not wait is not asked"

    in_virtual_time(scene())


def test_when_the_pool_is_bulk_no_more_all_who_wait_pass_and_all_hands_are_there() -> None:
    async def scene() -> None:
        scavenger, heard = bulk(), list[float]()
        scavenger.listen(heard.append)
        await full(scavenger)
        tasks = later(scavenger, 50)
        await asyncio.sleep(0.1)
        scavenger.use(False)
        assert await asyncio.gather(*tasks) == [True] * 50
        assert heard == [LEAST_SHARE, 1.0]
        scavenger.use(True)
        assert heard[-1] == LEAST_SHARE
        assert not await scavenger.enter(), "what passed is in flight still"

    in_virtual_time(scene())


def test_what_delivery_stores_opens_no_places_and_new_mail_lets_waiting_mail_in() -> None:
    async def scene() -> None:
        scavenger = bulk()
        await full(scavenger)
        tasks = later(scavenger, 3)
        await asyncio.sleep(0.1)
        for _ in range(MOST):
            scavenger.confirmed(Way.CLAIM, scavenger.now())
            scavenger.confirmed(Way.PUT_OFF, scavenger.now())
        assert scavenger.share == 1.0
        assert scavenger.in_flight == LEAST
        for _ in range(2):
            scavenger.confirmed(Way.MAIL, scavenger.now())
        assert await asyncio.gather(*tasks) == [True, True, False]


def test_who_would_wait_in_vain_is_put_off_at_once() -> None:
    async def scene() -> None:
        scavenger = bulk()
        await full(scavenger)
        tasks = later(scavenger, MOST_WAITING)
        await asyncio.sleep(0.1)
        began = scavenger.now()
        assert not await scavenger.enter()
        assert scavenger.now() == began
        tasks[0].cancel()
        await asyncio.sleep(0)
        assert not await scavenger.enter(), "one fewer waits, so this one waited"
        assert scavenger.now() == began + TURN_SECONDS
        assert not any(await asyncio.gather(*tasks[1:]))
        assert not scavenger._waiting

    in_virtual_time(scene())


def test_who_begins_to_wait_in_a_rest_is_let_in_when_it_ends_though_nothing_else_happens() -> None:
    async def scene() -> None:
        clock = asyncio.get_running_loop().time
        start = clock()
        scavenger = Scavenger(bulk=True, clock=clock, wall=lambda: 3 * PERIOD + 0.1 + clock() - start)
        assert await scavenger.enter()
        assert await scavenger.enter()
        assert clock() - start == pytest.approx(REST - 0.1, abs=0.01)
        assert scavenger.in_flight == LEAST

    in_virtual_time(scene())


def test_after_ten_seconds_without_new_mail_places_begin_anew() -> None:
    async def scene() -> None:
        scavenger = bulk()
        for pause, size in ((IDLE - 1, LEAST + 1), (IDLE + 1, LEAST)):
            scavenger.window.size = float(LEAST)
            assert await scavenger.enter()
            scavenger.confirmed(Way.MAIL, scavenger.now())
            scavenger.leave()
            await asyncio.sleep(pause)
            assert await scavenger.enter()
            assert scavenger.window.size == size
            scavenger.leave()

    in_virtual_time(scene())


def test_a_fault_of_ours_in_the_window_is_logged_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*told: object, **more: object) -> None:
        raise ZeroDivisionError

    scavenger = Scavenger(bulk=True, clock=float)
    monkeypatch.setattr(type(scavenger.window), "confirmed", fault)
    monkeypatch.setattr(type(scavenger.window), "failed", fault)
    scavenger.confirmed(Way.MAIL, 0.0)
    scavenger.failed(0.0)
    assert [each.getMessage() for each in caplog.records] == ["the window: a fault of ours"] * 2


def test_a_window_that_closes_lets_nobody_in() -> None:
    async def scene() -> None:
        scavenger = bulk()
        await full(scavenger)
        tasks = later(scavenger, 1)
        await asyncio.sleep(0.1)
        scavenger.failed(scavenger.now())
        assert await asyncio.gather(*tasks) == [False]

    in_virtual_time(scene())


def test_hands_hear_of_it_when_the_window_opens_and_closes() -> None:
    async def scene() -> None:
        scavenger, heard = bulk(), list[float]()
        scavenger.listen(heard.append)
        for _ in range(2 * MOST):
            began = scavenger.now()
            await asyncio.sleep(0.005)
            scavenger.confirmed(Way.CLAIM, began)
        assert heard[-1] == 1.0
        await asyncio.sleep(1.0)
        scavenger.failed(scavenger.now())
        assert heard[-1] == 0.5
        assert all(LEAST_SHARE <= each <= 1.0 for each in heard)

    in_virtual_time(scene())


def test_the_size_of_a_mail_excuses_its_delay() -> None:
    async def scene() -> None:
        scavenger = bulk()
        scavenger.confirmed(Way.MAIL, scavenger.now())
        for size, cut in ((16 * 1024**2, False), (1024, True)):
            for _ in range(8):
                began = scavenger.now()
                await asyncio.sleep(0.9)
                scavenger.confirmed(Way.MAIL, began, size)
            assert (scavenger.window.cut_at > 0) is cut

    in_virtual_time(scene())


def test_in_a_rest_one_is_on_its_way() -> None:
    async def scene() -> None:
        scavenger = bulk(wall=3 * PERIOD)
        scavenger.window.size = float(MOST)
        assert await scavenger.enter()
        assert not await scavenger.enter()

    in_virtual_time(scene())
