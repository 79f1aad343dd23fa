"""How many parked mails go on in a visit: few at first, twice as many each time, and none of a destination that failed again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.spool.interface import Hosts
from relayfleet.relay.spool.rabbitmq.requeue.ramp import FEWEST, FIRST, MOST, Ramp

HERE: Hosts = ("mx.here.test",)
THERE: Hosts = ("mx.there.test",)


def visit(ramp: Ramp, *mails: Hosts, whole: bool = True) -> int:
    """A visit that meets these; how many go on."""
    ramp.begin()
    gone = sum(ramp.takes(each) for each in mails)
    ramp.ended(whole=whole)
    return gone


def test_each_visit_lets_twice_as_many_go_up_to_a_bound() -> None:
    ramp = Ramp()
    ramp.follow({HERE: 1.0})
    counts = [visit(ramp, *[HERE] * 5000) for _ in range(12)]
    assert counts == [min(FIRST * 2**each, MOST) for each in range(12)]


def test_each_destination_has_a_share_of_its_own_and_others_have_none() -> None:
    ramp = Ramp()
    ramp.follow({HERE: 1.0, THERE: 2.0})
    ramp.begin()
    left = []
    for each in (HERE, THERE):
        assert sum(ramp.takes(each) for _ in range(99)) == FIRST
        left.append(ramp.has_left)
    assert left == [True, False]
    assert not ramp.takes(("mx.else.test",))


def test_who_fails_and_answers_again_begins_with_few() -> None:
    ramp = Ramp()
    ramp.follow({HERE: 1.0})
    for _ in range(5):
        visit(ramp, *[HERE] * 5000)
    ramp.follow({})
    assert visit(ramp, HERE) == 0
    ramp.follow({HERE: 1.0})
    assert visit(ramp, *[HERE] * 5000) == FIRST


def test_it_is_over_when_some_whole_visits_have_met_none_and_not_while_mail_is_behind_other_mail() -> None:
    ramp, due = Ramp(), {HERE: 1.0}
    for whole in (True, False, *[True] * (FEWEST - 2)):
        assert ramp.follow(due)
        visit(ramp, whole=whole)
    assert ramp.follow(due)
    visit(ramp)
    assert not ramp.follow(due)
    assert ramp.follow({HERE: 9.0}), "it was down in between"


def test_a_visit_reads_on_for_those_that_may_have_mail_and_not_for_those_that_seem_to_have_none() -> None:
    ramp = Ramp()
    ramp.follow({HERE: 1.0, THERE: 2.0})
    for number in range(FEWEST):
        ramp.begin()
        assert all(ramp.takes(HERE) for _ in range(FIRST * 2**number))
        assert (ramp.has_left, ramp.has_found) == (True, True)
        ramp.ended(whole=True)
    for _ in range(2):
        assert ramp.follow({HERE: 1.0, THERE: 2.0})
        ramp.begin()
        while ramp.takes(HERE):
            pass
        assert not ramp.has_left
        ramp.ended(whole=False)  # it was cut short, by that
    assert visit(ramp, THERE) == 1, "what is met all the same goes"
    ramp.begin()
    assert ramp.has_left


@given(st.lists(st.integers(0, 6000), max_size=30))
def test_no_visit_lets_more_go_than_twice_the_most_of_those_before(mails: list[int]) -> None:
    ramp, most = Ramp(), FIRST
    ramp.follow({HERE: 1.0})
    for each in mails:
        gone = visit(ramp, *[HERE] * each)
        assert gone <= min(most, MOST, each)
        most *= 2
