"""A trial calls all addresses of all hosts: whoever answers is found, and only when none does, at any of them, nobody is there. In virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from relayfleet.protocol.relay_config import Delivery, Source
from relayfleet.relay.delivery.errors import ConnectError, LocalError, PeerTimeoutError, RefusedError, SmtpError
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.delivery.sessions import SessionPool
from relayfleet.relay.parking.known import Answer
from relayfleet.relay.parking.trial import MOST, Tried, attempt
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary
from relayfleet.relay.routing.router import OTHER_FAMILY, Router
from tests.fakes.clock import in_virtual_time

SOURCE = Source("pod", "", "relay.test")
REFUSED = ConnectError("connect", "refused")
UNREACHABLE = ConnectError("connect", "no answer within 1.5 seconds")
NO_GREETING = PeerTimeoutError("banner", "nothing")
NO_EHLO = PeerTimeoutError("ehlo", "nothing")
NO_MAIL = RefusedError("banner", Reply(554, ("5.7.1 blocked",)))
NO_ADDRESS = DnsPermanent("5.4.4", "none")
NO_ANSWER = DnsTemporary("all resolvers failed")
V6_ONLY = DnsTemporary("has no IPv4 address", status=OTHER_FAMILY)
NOT_OURS = LocalError("local", "cannot send from there")


class Pool(SessionPool):
    """`hosts`: their addresses, or why not; `answers`: what an address does, None: it greets; `slow`: seconds of those that let us wait. `called` counts."""

    def __init__(
        self,
        hosts: Mapping[str, list[str] | Exception],
        answers: Mapping[str, SmtpError | None],
        slow: Mapping[str, float] | None = None,
    ) -> None:
        async def addresses(host: str, family: object) -> tuple[str, ...]:
            found = hosts[host]
            if isinstance(found, Exception):
                raise found
            return tuple(found)

        super().__init__(cast("Router", SimpleNamespace(addresses=addresses)), Delivery())
        self.answers, self.slow = answers, slow or {}
        self.called, self.left = Counter[str](), 0

    async def dial(self, source: Source, host: str, address: str, deadline: float) -> Session:
        self.called[address] += 1
        await asyncio.sleep(min(self.slow.get(address, 0.1), deadline - asyncio.get_running_loop().time()))
        if (error := self.answers.get(address, REFUSED)) is not None:
            raise error
        return cast("Session", SimpleNamespace(quit=self._quit))

    def _quit(self) -> None:
        self.left += 1


def tried(pool: Pool, *hosts: str, number: int = 0) -> Tried:
    return in_virtual_time(attempt(pool, hosts, SOURCE, number))


def test_when_no_address_of_any_host_answers_nobody_is_there() -> None:
    answers: dict[str, SmtpError | None] = {"1.1": REFUSED, "1.2": UNREACHABLE, "2.1": NO_GREETING}
    pool = Pool({"a": ["1.1", "1.2"], "b": ["2.1"]}, answers)
    assert tried(pool, "a", "b").answer is Answer.SILENT
    assert pool.called == {"1.1": 1, "1.2": 1, "2.1": 1}


@pytest.mark.parametrize("there", ["1.1", "1.2", "2.1", "3.9"])
def test_one_address_that_greets_is_enough_wherever_it_stands(there: str) -> None:
    """However long the others let us wait: an earlier host that is silent hides none behind it."""
    hosts = {"a": ["1.1", "1.2"], "b": ["2.1"], "c": [f"3.{each}" for each in range(12)]}
    every = [each for found in hosts.values() for each in found]
    pool = Pool(dict(hosts), {there: None}, {each: 60.0 for each in every if each != there})
    assert tried(pool, "a", "b", "c").answer is Answer.UP
    assert pool.left == 1, "it is taken leave of"


@pytest.mark.parametrize("error", [NO_MAIL, NO_EHLO])
def test_who_says_no_or_breaks_off_after_a_greeting_is_there(error: SmtpError) -> None:
    assert tried(Pool({"a": ["1.1", "1.2"]}, {"1.2": error}), "a").answer is Answer.UP


def test_a_fault_of_our_own_proves_nothing() -> None:
    assert tried(Pool({"a": ["1.1", "1.2"]}, {"1.2": NOT_OURS}), "a").answer is Answer.UNKNOWN


def test_a_host_of_which_dns_says_nothing_may_be_there() -> None:
    assert tried(Pool({"a": ["1.1"], "b": NO_ANSWER}, {}), "a", "b").answer is Answer.UNKNOWN
    assert tried(Pool({"a": NO_ANSWER}, {}), "a").answer is Answer.UNKNOWN
    assert tried(Pool({"a": NO_ADDRESS}, {}), "a").answer is Answer.UNKNOWN


def test_a_host_that_nobody_can_call_is_not_waited_for() -> None:
    for error in (NO_ADDRESS, V6_ONLY):
        assert tried(Pool({"a": ["1.1"], "b": error}, {}), "a", "b").answer is Answer.SILENT


def test_where_there_are_too_many_addresses_trials_take_turns_and_none_of_them_is_a_proof() -> None:
    every = [str(each) for each in range(2 * MOST + 7)]
    pool = Pool({"a": every}, {})
    assert {tried(pool, "a", number=each).answer for each in range(3)} == {Answer.UNKNOWN}
    assert set(pool.called) == set(every)
    assert pool.called.total() == 3 * MOST
    chance = Random(3)
    there = Pool({"a": every}, {chance.choice(every): None})
    assert Answer.UP in {tried(there, "a", number=each).answer for each in range(3)}


def test_those_that_are_still_called_are_given_up_when_one_has_answered() -> None:
    async def work() -> float:
        pool = Pool({"a": [str(each) for each in range(30)]}, {"0": None}, {str(each): 50.0 for each in range(1, 30)})
        await attempt(pool, ("a",), SOURCE, 0)
        assert len(asyncio.all_tasks()) == 1
        return asyncio.get_running_loop().time()

    assert in_virtual_time(work()) < 1.0


def test_an_address_that_greeted_is_called_by_mail_at_once() -> None:
    async def work() -> Any:
        pool = Pool({"a": ["1.1"]}, {"1.1": None})
        pool.marks.put(SOURCE, "1.1", REFUSED)
        await attempt(pool, ("a",), SOURCE, 0)
        return pool.marks.get(SOURCE, "1.1")

    assert in_virtual_time(work()) is None
