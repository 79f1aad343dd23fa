"""Whatever happens to copies of one record in one relay, it is worked on by one at a time and nobody's again once he is finished."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relayfleet.relay.spool.rabbitmq.copies import RECIPIENTS, Copies

NAMES = st.sets(st.sampled_from("abc"), min_size=1).map(frozenset)


class CopiesInOneRelay(RuleBasedStateMachine):
    """Copies arrive, are finished, given up; a copy is a number, its key one of three, its recipients some of three."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: Copies[int] = Copies()
        self.count = 0
        self.whose: dict[int, frozenset[str]] = {}
        self.working: dict[str, int] = {}
        self.open: dict[str, set[int]] = {}
        self.finished: dict[str, set[str]] = {key: set() for key in "xyz"}

    @rule(key=st.sampled_from("xyz"), recipients=NAMES)
    def a_copy_arrives(self, key: str, recipients: frozenset[str]) -> None:
        assert self.copies.is_finished(key, recipients) == (recipients <= self.finished[key])
        if recipients <= self.finished[key]:
            return
        self.count += 1
        self.whose[self.count] = recipients
        self.open.setdefault(key, set()).add(self.count)
        begun = self.copies.begin(key, recipients, self.count)
        assert begun == (key not in self.working)
        if begun:
            self.working[key] = self.count

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def one_is_finished(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        copy = self.working.pop(key)
        self.finished[key] |= self.whose[copy]
        found = self.copies.finish(key, self.whose[copy])
        left = self.open.pop(key) - {copy}
        assert set(found.dropped) == {each for each in left if self.whose[each] <= self.finished[key]}
        left -= set(found.dropped)
        assert (found.following is None) == (not left), "a copy was forgotten: its recipients would get nothing"
        if found.following is not None:
            assert found.following in left
            self.working[key], self.open[key] = found.following, left

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def one_is_given_up(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        copy = self.working.pop(key)
        self.open[key].discard(copy)
        following = self.copies.give_up(key, copy)
        assert (following is None) == (not self.open[key])
        if following is not None:
            assert following in self.open[key]
            self.working[key] = following

    @rule()
    def taking_stops(self) -> None:
        parked = set(self.copies.unpark())
        assert parked == {each for copies in self.open.values() for each in copies} - set(self.working.values())
        self.open = {key: {copy} for key, copy in self.working.items()}

    @invariant()
    def giving_up_a_copy_that_is_not_worked_on_changes_nothing(self) -> None:
        assert self.copies.give_up("x", -1) is None


CopiesInOneRelay.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestCopiesInOneRelay = CopiesInOneRelay.TestCase


def test_only_the_last_finished_keys_are_kept() -> None:
    copies: Copies[int] = Copies(keep=2)
    for key in ("a", "b", "c"):
        copies.begin(key, "r", 1)
        copies.finish(key, "r")
    assert [copies.is_finished(key, "r") for key in ("a", "b", "c")] == [False, True, True]


def test_many_recipients_make_fewer_keys_be_kept() -> None:
    copies: Copies[int] = Copies(keep=2)
    many = [str(number) for number in range(2 * RECIPIENTS + 3)]
    copies.finish("a", many[:3])
    copies.finish("b", many[3:])
    assert [copies.is_finished("a", many[:3]), copies.is_finished("b", many[3:])] == [False, True]
    copies.finish("c", many)
    assert copies.is_finished("c", many)
    copies.finish("d", "r")
    assert [copies.is_finished("c", many), copies.is_finished("d", "r")] == [False, True]
