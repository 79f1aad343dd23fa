"""Limits of a pool: relays that tell a leader what they took, and are told what all took, as both are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayfleet.controllers.relayusage import PoolUsages
from relayfleet.protocol.relay_config import SubmissionLimit
from relayfleet.protocol.telemetry import PoolUsage, Usage, Window, decode_window, decode_word, encode
from relayfleet.protocol.usage import Unsaid, news_of_relay
from relayfleet.relay.server.allowances import DAY, LAG, Allowances, Clocks
from relayfleet.relay.server.replies import Refused

TX, RELAYS = ("mail", "tx"), ("a", "b", "c")
TODAY = 20_000


class Pool:
    """Relays and their leader, on one clock that stands still unless a test moves it."""

    def __init__(self, cap: int, rate: int | None = None) -> None:
        self.seconds, self.day = 0.0, TODAY
        self._limits = [SubmissionLimit("ann", rate, cap)]
        self._clocks = Clocks(lambda: self.seconds, lambda: self.day * DAY + self.seconds)
        self.relays = {name: self._relay() for name in RELAYS}
        self.accepted = 0
        self.unsaid = dict.fromkeys(RELAYS, 0)
        self.words = 0
        self.ups: dict[str, Unsaid] = {}
        self.downs: dict[str, Unsaid] = {}
        self.take_over()

    def take_over(self) -> None:
        """Another leader, who knows nothing."""
        self.leader = PoolUsages(lambda: self.day)
        for name in RELAYS:
            self.connect(name)

    def restart(self, name: str) -> None:
        """A relay, which forgets all; what it had not told is lost."""
        self.relays[name] = self._relay()
        self.accepted -= self.unsaid[name]
        self.unsaid[name] = 0
        self.connect(name)

    def submit(self, name: str, recipients: int = 1) -> bool:
        try:
            self.relays[name].claim("ann", recipients).keep()
        except Refused:
            return False
        self.accepted += recipients
        self.unsaid[name] += recipients
        return True

    def exchange(self, name: str) -> None:
        """A window and its answer, as far as they are news."""
        usages = self.relays[name].usages()
        assert usages is not None
        if rows := self.ups[name].pick(usages.day, usages.rows):
            self.ups[name].say(usages.day, rows)
            window = decode_window(encode(Window(usage=replace(usages, rows=rows))))
            self.leader.take(TX, name, window)
            self.downs[name].unsay(rows)
            self.words += 1
        self.unsaid[name] = 0
        if rows := self.downs[name].pick(usages.day, self.leader.told(TX, name, usages)):
            self.downs[name].say(usages.day, rows)
            told = decode_word(encode(PoolUsage(usages.day, rows)))
            assert isinstance(told, PoolUsage)
            self.relays[name].hear(told)

    def connect(self, name: str) -> None:
        """A connection on which nothing is said yet."""
        self.ups[name], self.downs[name] = Unsaid(news_of_relay), Unsaid()

    def settle(self) -> None:
        for _ in range(2):
            for name in RELAYS:
                self.exchange(name)

    def known(self, name: str) -> int:
        """Recipients of today, as the relay knows."""
        ((_, _, used),) = self.relays[name].entries()
        return used

    def _relay(self) -> Allowances:
        return Allowances(self._limits, self._clocks)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["submit", "submit", "submit", "restart", "take over"]), st.sampled_from(RELAYS)),
    max_size=60,
)


@settings(deadline=None)
@given(st.integers(1, 30), EVENTS)
def test_where_words_go_round_in_time_a_cap_is_kept_and_used_up_over_restarts_and_leaders(
    cap: int, events: list[tuple[str, str]]
) -> None:
    pool = Pool(cap)
    pool.settle()
    for what, name in events:
        if what == "submit":
            free = pool.accepted < cap
            assert pool.submit(name) is free
        elif what == "restart":
            pool.restart(name)
        else:
            pool.take_over()
        pool.settle()
        assert {pool.known(each) for each in RELAYS} == {pool.accepted}
        assert pool.accepted <= cap
    while pool.submit("a"):
        pool.settle()
    assert pool.accepted == cap


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["submit", "exchange", "restart"]), st.sampled_from(RELAYS)), max_size=80))
def test_in_whatever_order_words_come_nothing_is_counted_twice_or_forgotten(events: list[tuple[str, str]]) -> None:
    pool = Pool(10_000)
    for what, name in events:
        if what == "submit":
            pool.submit(name)
        elif what == "exchange":
            pool.exchange(name)
        else:
            pool.restart(name)
    pool.settle()
    assert {pool.known(each) for each in RELAYS} == {pool.accepted}


def test_without_a_leader_each_relay_counts_alone_and_the_next_leader_adds_up() -> None:
    pool = Pool(10)
    pool.settle()
    pool.submit("a", 4)
    pool.settle()
    assert [pool.submit(name, 6) for name in RELAYS] == [True, True, True], "nobody tells them of each other"
    assert not pool.submit("a")
    pool.take_over()
    pool.settle()
    assert {pool.known(each) for each in RELAYS} == {22}
    pool.take_over()
    pool.settle()
    assert {pool.known(each) for each in RELAYS} == {22}, "it is no more for the next one"


def test_a_relay_that_is_gone_stays_counted_also_by_the_next_leader() -> None:
    pool = Pool(10)
    pool.submit("a", 7)
    pool.settle()
    pool.take_over()
    for _ in range(2):
        for name in ("b", "c"):
            pool.exchange(name)
    assert pool.known("b") == pool.known("c") == 7


def test_a_new_day_begins_at_nothing_for_all() -> None:
    pool = Pool(10)
    pool.submit("a", 10)
    pool.settle()
    assert not pool.submit("b")
    pool.day += 1
    assert pool.submit("b", 3)
    pool.settle()
    assert {pool.known(each) for each in RELAYS} == {3}


def test_a_rate_is_shared_in_the_long_run_whoever_takes_the_mail() -> None:
    pool = Pool(10**6, rate=60)
    pool.settle()
    for step in range(1500):
        pool.seconds = step / 5
        for name in RELAYS:
            pool.submit(name)
        for name in RELAYS:
            pool.exchange(name)
    # A minute's worth at first, one a second after, and what each relay takes before it hears of the others.
    assert 60 + 290 <= pool.accepted <= 60 + 300 + 30


def test_bursts_at_all_relays_at_once_are_paid_back() -> None:
    pool = Pool(10**6, rate=60)
    pool.settle()
    for _ in range(20):
        for name in RELAYS:
            while pool.submit(name):
                pass
        pool.settle()
        for _ in range(12):
            pool.seconds += 10
            pool.settle()
    # Three buckets at first, and then what two minutes bring; each relay may take the one recipient that is left.
    assert pool.accepted <= 3 * 60 + 20 * 120 + 20 * len(RELAYS)


@pytest.mark.parametrize("pause", [130, 3600], ids=str)
def test_bursts_at_all_relays_after_a_pause_are_paid_back_however_long_it_was(pause: int) -> None:
    pool = Pool(10**6, rate=60)
    pool.settle()
    for _ in range(pause):
        pool.seconds += 1
        pool.settle()
    for _ in range(300):
        for name in RELAYS:
            while pool.submit(name):
                pass
        pool.seconds += 1
        pool.settle()
    # A minute's worth and five minutes; what may have run over in the last seconds, and the one recipient that is left at each relay.
    assert pool.accepted <= 60 + 300 + LAG * len(RELAYS) + len(RELAYS)


def test_what_others_took_within_the_rate_while_a_relay_had_no_leader_is_not_owed() -> None:
    pool = Pool(10**6, rate=60)
    pool.settle()
    for _ in range(3600):
        pool.seconds += 1
        pool.submit("a")
        pool.exchange("a")
    pool.connect("b")
    pool.exchange("b")
    assert pool.known("b") >= 3600
    assert pool.submit("b")


def test_relays_that_take_nothing_do_not_answer_each_word_of_the_leader() -> None:
    pool = Pool(10**6)
    pool.settle()
    pool.submit("a")
    pool.settle()
    pool.settle()
    before = pool.words
    for _ in range(100):
        pool.submit("a")
        pool.exchange("b")
        pool.exchange("c")
        pool.exchange("a")
    assert pool.words == before + 100
    pool.settle()
    assert {pool.known(each) for each in RELAYS} == {101}


@pytest.mark.parametrize("name", RELAYS)
def test_a_credential_that_is_stated_again_counts_what_the_pool_knows(name: str) -> None:
    pool = Pool(10)
    pool.submit("a", 4)
    pool.settle()
    relay = pool.relays[name]
    relay.configure([])
    assert relay.usages() is None
    relay.configure([SubmissionLimit("ann", None, 10)])
    pool.settle()
    assert {pool.known(each) for each in RELAYS} == {4}


def test_a_leader_says_nothing_of_what_a_relay_has_not_spoken_of_in_this_life() -> None:
    """It would bring that along as if another leader had told it."""
    pool = Pool(10)
    pool.submit("a", 4)
    pool.settle()
    pool.restart("a")
    usages = pool.relays["a"].usages()
    assert usages is not None
    assert pool.leader.told(TX, "a", replace(usages, rows=())) == ()


def test_days_that_cannot_be_are_not_believed_and_old_ones_forgotten() -> None:
    pool = Pool(10)
    pool.submit("a", 4)
    usages = pool.relays["a"].usages()
    assert usages is not None
    for day in (TODAY - 2, TODAY + 2):
        odd = replace(usages, day=day)
        pool.leader.take(TX, "a", Window(usage=odd))
        assert pool.leader.told(TX, "a", odd) == ()
    pool.exchange("a")
    assert pool.leader.told(TX, "a", usages)
    pool.day += 2
    pool.exchange("b")
    assert pool.leader.told(TX, "a", usages) == ()


def test_a_pool_that_is_gone_is_forgotten() -> None:
    pool = Pool(10)
    pool.submit("a", 4)
    pool.settle()
    pool.leader.forget(TX)
    usages = pool.relays["a"].usages()
    assert usages is not None
    assert pool.leader.told(TX, "a", usages) == ()


def test_of_relays_that_are_gone_only_what_they_accepted_is_kept() -> None:
    pool = Pool(10)
    pool.leader.keep(TX, RELAYS)
    pool.submit("a", 4)
    pool.settle()
    pool.leader.keep(TX, ("b", "c"))
    usages = [pool.relays[name].usages() for name in ("a", "b")]
    assert [pool.leader.told(TX, name, each) for name, each in zip("ab", usages, strict=True) if each] == [
        (),
        (Usage("ann", 0, 4),),
    ]


@pytest.mark.parametrize("back", [0.1, 30.0, 599.0])
def test_a_clock_that_is_put_back_over_midnight_forgets_nothing_and_counts_nothing_twice(back: float) -> None:
    midnight = TODAY * DAY
    wall = midnight - 1.0
    relay = Allowances([SubmissionLimit("ann", None, 5)], Clocks(lambda: 0.0, lambda: wall))
    relay.claim("ann", 5).keep()
    wall = midnight + 0.05
    relay.claim("ann", 4).keep()
    for at, day in ((wall - back, TODAY), (wall, TODAY), (wall + DAY, TODAY + 1), (wall - 3 * DAY, TODAY - 3)):
        wall = at
        usages = relay.usages()
        assert usages is not None
        assert (usages.day, [row.own for row in usages.rows]) == (day, [4 if day == TODAY else 0])
