"""Each publish is confirmed once, and no acknowledgement covers a delivery that is still held."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.amqp.acks import Acks
from relayfleet.amqp.confirms import Confirms


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=40))
def test_every_publish_is_settled_at_most_once_whatever_the_broker_confirms(
    published: int, confirms: list[tuple[int, bool]]
) -> None:
    book: Confirms[int] = Confirms()
    for number in range(1, published + 1):
        assert book.add(number) == number
    settled: list[int] = []
    expected: set[int] = set()
    for tag, multiple in confirms:
        settled += book.settle(tag, multiple)
        expected |= {each for each in range(1, published + 1) if (each <= tag if multiple else each == tag)}
    assert sorted(settled) == sorted(expected)
    assert book.drain() == [each for each in range(1, published + 1) if each not in expected]


@given(
    st.lists(st.sampled_from(["deliver", "settle", "hand back", "flush"]), max_size=80),
    st.randoms(use_true_random=False),
)
def test_the_broker_hears_of_exactly_the_settled_deliveries(acts: list[str], chance: random.Random) -> None:

    acks, broker, held = Acks(), set[int](), set[int]()
    settled: set[int] = set()
    tag = 0
    for act in acts:
        if act == "deliver":
            tag += 1
            acks.delivered(tag)
            broker.add(tag)
            held.add(tag)
        elif act == "flush":
            for upto, multiple in acks.flush():
                covered = {each for each in broker if each <= upto} if multiple else {upto}
                assert covered <= settled, "an acknowledgement covered a delivery that is still held"
                broker -= covered
            assert not broker & settled
        elif held:
            chosen = chance.choice(sorted(held))
            held.discard(chosen)
            if act == "settle":
                acks.settle(chosen)
                settled.add(chosen)
            else:
                assert acks.hand_back(chosen)
                broker.discard(chosen)


def test_a_thousand_settled_in_a_row_are_one_acknowledgement() -> None:
    acks = Acks()
    for tag in range(1, 1001):
        acks.delivered(tag)
        acks.settle(tag)
    assert acks.flush() == [(1000, True)]
    assert acks.flush() == []


def test_a_settled_delivery_is_not_handed_back_as_well() -> None:
    acks = Acks()
    acks.delivered(1)
    acks.settle(1)
    assert not acks.hand_back(1)
    assert not acks.hand_back(2)
