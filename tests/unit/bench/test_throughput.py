"""The throughput bench: which parts run and for how long, what counts as a latency, where its destinations are, and what a slow provider does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random

import pytest

from relayfleet.relay.delivery.session import END_SECONDS
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.routing.providers import LaneFinder, Providers
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.routing.router import Router
from relayfleet.relay.spool.places import NAMED
from relayfleet.relay.spool.record import Recipient
from tests.bench import _throughput_plan as plan
from tests.bench._throughput_destinations import OTHERS, SLOW, zone
from tests.bench._throughput_latency import Latency, complete, row, summary
from tests.bench._throughput_slow import HOLD_SECONDS, Hold
from tests.bench.throughput import MEASURES
from tests.fakes.dns import responder
from tests.sink.client import SinkClient
from tests.sink.server import Options, Sink


@pytest.mark.parametrize("said", [{}, {"THROUGHPUT_ROWS": ""}, {"THROUGHPUT_ROWS": ","}])
def test_all_parts_run_when_nothing_is_said(said: dict[str, str]) -> None:
    assert tuple(plan.chosen(said)) == plan.PARTS == tuple(MEASURES)


def test_parts_run_in_their_own_order() -> None:
    assert plan.chosen({"THROUGHPUT_ROWS": "slow,taking,relaying"}) == ["relaying", "taking", "slow"]


def test_a_part_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(SystemExit, match=r"THROUGHPUT_ROWS: no fast; there are: relaying, .*slow-no-lanes"):
        plan.chosen({"THROUGHPUT_ROWS": "fast,slow"})


@pytest.mark.parametrize(("minutes", "count"), [(10.0, 30), (1.0, 3), (0.5, 2), (0.0, 1)])
def test_bursts_last_as_long_as_the_sessions_are_held(minutes: float, count: int) -> None:
    assert plan.bursts(minutes) == count


def test_a_run_has_time_for_what_it_measures_and_no_more() -> None:
    assert plan.longest(["slow"], 10) == 600 + plan.AROUND_SECONDS
    assert plan.longest(["signing"], 10) == plan.longest(["relaying", "signing"], 10) == plan.OTHERS_SECONDS
    assert plan.longest(plan.PARTS, 10) == plan.OTHERS_SECONDS + 2 * plan.longest(["slow"], 10)
    assert plan.BURST_SECONDS * (plan.ALONE_BURSTS + 1) < plan.AROUND_SECONDS / 2


def test_a_latency_is_of_all_bursts_together_and_each_has_its_own() -> None:
    bursts = [{f"{burst}-{each}": float(burst) for each in range(100)} for burst in (1, 2)]
    came = {name: sent + (0.01 if sent == 1 else 0.03) for burst in bursts for name, sent in burst.items()}
    found = summary(bursts, came | {"of somebody else": 0.0}, given_up=50.0)
    assert (found.mails, found.missing) == (200, 0)
    assert (found.p50, found.p99, found.longest) == pytest.approx((20.0, 30.0, 30.0))
    assert found.bursts == pytest.approx((10.0, 30.0))
    assert complete(found) is found


def test_what_never_came_has_waited_until_it_was_given_up() -> None:
    burst = {str(each): 10.0 for each in range(100)}
    found = summary([burst], {str(each): 10.01 for each in range(90)}, given_up=40.0)
    assert (found.missing, found.p99, found.longest) == (10, 30_000.0, 30_000.0)
    assert found.p50 == pytest.approx(10.0)
    with pytest.raises(TimeoutError, match="10 of 100 mails"):
        complete(found)


def test_a_row_says_how_many_times_longer_it_takes() -> None:
    loaded, without = (Latency(1.0, p99, p99, 100, 0, (p99,)) for p99 in (12.0, 10.0))
    found = row("slow-provider", "none queued", loaded, without, {"queued": 5})
    assert (found["name"], found["unit"]) == ("throughput.latency.slow-provider.p99", "ms")
    assert (found["value"], found["peer_value"]) == (12.0, 10.0)
    assert (found["detail"]["ratio"], found["detail"]["queued"]) == (1.2, 5)


def test_the_slow_provider_and_one_other_have_lanes_of_their_own_and_several_share_lanes() -> None:
    lanes = [each.lane for each in OTHERS]
    assert SLOW.lane < NAMED and SLOW.lane not in lanes
    assert len([each for each in lanes if each < NAMED]) == 1
    assert len({each for each in lanes if each >= NAMED}) >= 2


async def test_the_relay_finds_each_destination_and_its_lane_by_the_name_server_of_the_bench() -> None:
    async with responder(zone()) as server:
        names = Resolver(Lookup([server.address]))
        router, finder = (
            Router(names, ["relay.bench.example"], ["127.0.0.1"], Random(1)),
            LaneFinder(names, Providers()),
        )
        for each in (SLOW, *OTHERS):
            route = await router.route(each.domain)
            assert route.hosts == (each.host,)
            assert await router.addresses(each.host, 4) == (each.address,)
            assert finder.at_once([Recipient(each.recipient)]) == each.lane


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink(Options("127.0.0.1", (0,), 0)) as running:
        yield running


async def submit(sink: Sink, stack: AsyncExitStack, answers: float) -> bytes:
    """What a new session hears of its mail within so many seconds; it stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.smtp_ports[0])
    stack.callback(writer.close)
    writer.write(b"HELO a.test\r\nMAIL FROM:<a@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n")
    for _ in range(5):
        await reader.readline()
    writer.write(b"Subject: hello\r\n\r\nhello\r\n.\r\n")
    try:
        return await asyncio.wait_for(reader.readline(), answers)
    except TimeoutError:
        return b""


async def test_a_slow_provider_takes_mail_until_all_sessions_are_open_and_then_holds_each(sink: Sink) -> None:
    hold = Hold(SinkClient(f"http://127.0.0.1:{sink.http_port}"))
    async with AsyncExitStack() as stack:
        beginning = asyncio.create_task(hold.begin(sessions=3, patience=60.0))
        assert [(await submit(sink, stack, 60.0))[:3] for _ in range(3)] == [b"250"] * 3
        await beginning
        await hold.look()
        assert [await submit(sink, stack, 0.2) for _ in range(2)] == [b""] * 2
        await hold.look()
        assert (hold.took, hold.looks) == (3, [0, 2])


async def test_sessions_that_are_not_opened_are_not_waited_for_without_end(sink: Sink) -> None:
    hold = Hold(SinkClient(f"http://127.0.0.1:{sink.http_port}"))
    await hold.begin(sessions=3, patience=0.1)
    async with AsyncExitStack() as stack:
        assert await submit(sink, stack, 0.2) == b""
        await hold.look()
        assert (hold.took, hold.looks) == (0, [1])


def test_it_answers_before_the_relay_gives_a_session_up() -> None:
    assert END_SECONDS - 30 < HOLD_SECONDS < END_SECONDS
