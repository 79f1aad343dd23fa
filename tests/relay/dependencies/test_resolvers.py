"""The relay's own resolvers under probe, over real sockets: a dead one is known before a mail needs it, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import dns.message
import pytest

from relayfleet.protocol.telemetry import DependencyState
from relayfleet.relay.dependencies import resolvers as module
from relayfleet.relay.dependencies.outcome import Kind
from relayfleet.relay.dependencies.resolvers import Resolvers
from relayfleet.relay.dependencies.verdict import FAILURES
from relayfleet.relay.routing import lookup as lookup_module
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.routing.query import query as real_query
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.routing.servers import written
from relayfleet.relay.status import resolver_metrics
from tests.fakes.dns import Responder, responder
from tests.relay.dependencies.servers import closed_port, eventually

ZONE = {("mail.example", "A"): ["192.0.2.1"], ("you.example", "MX"): ["10 mx.you.example."]}
ANSWERS, DOWN = DependencyState.ANSWERS, DependencyState.DOWN
HELO = "mail.example"
HEDGE = 5.0
"""Longer than busy cores take to answer; no question here is to be answered by the second resolver only because the first was slow."""


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is what comes of probes, not how often they are; and who answers is not silent because cores are busy."""
    monkeypatch.setattr(module, "INTERVAL", 0.1)
    monkeypatch.setattr(module, "TIMEOUT", HEDGE)
    monkeypatch.setattr(lookup_module, "HEDGE_SECONDS", HEDGE)


@pytest.fixture
def _impatient(_hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where silence is what is waited for."""
    monkeypatch.setattr(module, "TIMEOUT", 0.2)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Responder, Responder]]:
    async with responder(ZONE) as first, responder(ZONE) as second:
        yield first, second


@contextlib.asynccontextmanager
async def asking(*servers: Responder, helo: str = HELO) -> AsyncIterator[tuple[Resolvers, Lookup]]:
    lookup = Lookup([each.address for each in servers])
    found = Resolvers(lookup.standings, helo)
    running = asyncio.create_task(found.run())
    try:
        yield found, lookup
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.01)


async def comes_to(found: Resolvers, **states: DependencyState) -> None:
    """first=..., second=...: in the order of their addresses as they were given."""

    def holds() -> bool:
        seen = [each.state for each in found.verdicts.values()]
        return seen == list(states.values())

    await eventually(holds, str(states))


@pytest.mark.usefixtures("_impatient")
async def test_a_dead_resolver_is_known_before_a_mail_needs_it_and_comes_back(
    pair: tuple[Responder, Responder],
) -> None:
    first, second = pair
    async with asking(first, second) as (found, lookup):
        await comes_to(found, first=ANSWERS, second=ANSWERS)
        first.mood = "silent"
        await comes_to(found, first=DOWN, second=ANSWERS)
        began, heard = time.monotonic(), len(first.asked)
        assert (await lookup.ask("you.example", "MX")).values
        assert time.monotonic() - began < HEDGE
        assert ("you.example", "MX") not in first.asked[heard:]
        told = {each.name: each for each in found.told()}
        assert told[written(first.address)].why == "took more than 0.2 s to answer"
        first.mood = "answer"
        await comes_to(found, first=ANSWERS, second=ANSWERS)
        assert lookup.standings.order() == [first.address, second.address]


@pytest.mark.usefixtures("_impatient")
async def test_all_may_be_dead_and_each_is_told_of(pair: tuple[Responder, Responder]) -> None:
    async with asking(*pair) as (found, _):
        await comes_to(found, first=ANSWERS, second=ANSWERS)
        for each in pair:
            each.mood = "silent"
        await comes_to(found, first=DOWN, second=DOWN)
        assert [(each.name, each.state) for each in found.told()] == [(written(each.address), DOWN) for each in pair]


async def test_an_answer_that_another_one_has_is_missed_in_a_resolver(pair: tuple[Responder, Responder]) -> None:
    first, second = pair
    first.mood = "SERVFAIL"
    async with asking(first, second) as (found, _):
        await comes_to(found, first=DOWN, second=ANSWERS)
        assert found.told()[0].why == "answers SERVFAIL where others have an answer"


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED"])
async def test_what_none_can_answer_is_the_names_fault(pair: tuple[Responder, Responder], code: str) -> None:
    for each in pair:
        each.mood = code
    async with asking(*pair) as (found, _):
        await comes_to(found, first=ANSWERS, second=ANSWERS)
        await eventually(lambda: len(pair[0].asked) > 2 * FAILURES, "they are asked on")
        assert {outcome for _, outcome in found.outcomes} == {Kind.ANSWERED}


@pytest.mark.usefixtures("_impatient")
async def test_a_resolver_that_answers_mail_is_not_down_whatever_comes_of_the_probe(
    pair: tuple[Responder, Responder],
) -> None:
    """The name that probes ask for is one of a domain whose own servers are dead: resolvers are silent about it, and well."""
    first, _ = pair
    right = first.datagram_received

    def hears(data: bytes, addr: tuple[str, int]) -> None:
        if b"\x04mail\x07example" not in data:
            right(data, addr)

    first.datagram_received = hears  # type: ignore[method-assign]
    async with asking(first) as (found, lookup):

        async def mails() -> None:
            while True:
                await lookup.ask("you.example", "MX")
                await asyncio.sleep(0.01)

        traffic = asyncio.create_task(mails())
        await comes_to(found, first=ANSWERS)
        await eventually(lambda: found.outcomes.total() > 2 * FAILURES, "it is asked on")
        assert {outcome for _, outcome in found.outcomes} == {Kind.ANSWERED}
        traffic.cancel()


async def test_a_fault_of_ours_is_logged_and_the_relay_goes_on(
    pair: tuple[Responder, Responder], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [ZeroDivisionError("ours")]

    async def query(*arguments: Any) -> dns.message.Message:
        if faults:
            raise faults.pop()
        return await real_query(*arguments)

    monkeypatch.setattr(module, "query", query)
    async with asking(*pair) as (found, _):
        await comes_to(found, first=ANSWERS, second=ANSWERS)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
        "a fault of ours in probes of resolvers"
    ]


async def test_one_that_is_not_there_at_all_is_down_at_once(pair: tuple[Responder, Responder]) -> None:
    _, second = pair
    async with responder(ZONE, port=closed_port()) as gone:
        pass
    async with asking(gone, second) as (found, _):
        await comes_to(found, first=DOWN, second=ANSWERS)
        assert found.told()[0].why == "cannot be asked: Connection refused"


@pytest.mark.parametrize(
    ("helo", "asked"), [(HELO, (HELO, "A")), ("", (".", "NS")), ("a..b", (".", "NS"))], ids=["named", "none", "odd"]
)
async def test_the_name_that_relays_say_is_asked_for_and_else_the_roots_servers(
    pair: tuple[Responder, Responder], helo: str, asked: tuple[str, str]
) -> None:
    first, _ = pair
    async with asking(first, helo=helo) as (found, _lookup):
        await comes_to(found, first=ANSWERS)
        assert first.asked[0] == asked
        found.reload("other.example")
        await eventually(lambda: ("other.example", "A") in first.asked, "another name")


async def test_other_resolvers_are_asked_and_told_of_from_then_on(pair: tuple[Responder, Responder]) -> None:
    first, second = pair
    async with asking(first) as (found, lookup):
        await comes_to(found, first=ANSWERS)
        lookup.reconfigure([second.address])
        await eventually(lambda: [each.name for each in found.told()] == [written(second.address)], "the other one")
        heard = len(first.asked)
        await eventually(lambda: len(second.asked) > 3, "it is asked")
        assert len(first.asked) == heard


@pytest.mark.usefixtures("_impatient")
async def test_a_change_is_logged_once(pair: tuple[Responder, Responder], caplog: pytest.LogCaptureFixture) -> None:
    first, second = pair
    caplog.set_level("INFO")
    async with asking(first, second) as (found, _):
        await comes_to(found, first=ANSWERS, second=ANSWERS)
        first.mood = "silent"
        await comes_to(found, first=DOWN, second=ANSWERS)
        await eventually(lambda: len(second.asked) > 9, "they are asked on")
    said = [each.getMessage() for each in caplog.records]
    assert said.count(f"resolver {written(first.address)}: Down, took more than 0.2 s to answer") == 1


async def test_metrics_say_the_state_and_count_probes_and_questions(pair: tuple[Responder, Responder]) -> None:
    first, second = pair
    second.mood = "SERVFAIL"
    async with asking(first, second) as (found, lookup):
        await comes_to(found, first=ANSWERS, second=DOWN)
        names = Resolver(lookup)
        for _ in range(2):
            await names.mail_exchangers("you.example")
        state, probes, questions, memory = resolver_metrics(found, lookup, names)
    good, bad = written(first.address), written(second.address)
    assert [(each.labels["resolver"], each.labels["state"]) for each in state.samples] == [
        (good, "Answers"),
        (bad, "Down"),
    ]
    counted = {(each.labels["resolver"], each.labels["outcome"]): each.value for each in probes.samples}
    assert counted[good, "Answered"] >= FAILURES
    assert counted[bad, "Failed"] >= FAILURES
    assert [(each.labels["resolver"], each.labels["outcome"], each.value) for each in questions.samples] == [
        (good, "Answered", 1)
    ]
    assert {each.labels["how"]: each.value for each in memory.samples} == {
        "asked": 1,
        "remembered": 1,
        "stale": 0,
        "failed": 0,
    }
