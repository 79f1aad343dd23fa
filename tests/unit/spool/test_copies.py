"""Whatever happens to copies of one record in one relay, it is worked on by one at a time and never again once finished."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relayfleet.relay.spool.rabbitmq.copies import Copies


class CopiesInOneRelay(RuleBasedStateMachine):
    """Copies arrive, are finished, given up; a copy is a number, its key one of three."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: Copies[int] = Copies()
        self.count = 0
        self.working: dict[str, int] = {}
        self.open: dict[str, set[int]] = {}
        self.finished: set[str] = set()

    @rule(key=st.sampled_from("xyz"))
    def a_copy_arrives(self, key: str) -> None:
        assert self.copies.is_finished(key) == (key in self.finished)
        if key in self.finished:
            return
        self.count += 1
        self.open.setdefault(key, set()).add(self.count)
        begun = self.copies.begin(key, self.count)
        assert begun == (key not in self.working)
        if begun:
            self.working[key] = self.count

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def one_is_finished(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        done = {self.working.pop(key), *self.copies.finish(key)}
        assert done == self.open.pop(key), "a copy was forgotten: it would never be acknowledged"
        self.finished.add(key)

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
        copies.begin(key, 1)
        copies.finish(key)
    assert [copies.is_finished(key) for key in ("a", "b", "c")] == [False, True, True]
