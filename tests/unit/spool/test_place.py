"""A stream that was cut back is told from one that goes on."""

from __future__ import annotations

import pytest

from relayfleet.relay.spool.rabbitmq.place import SILENCE, CutBackError, Place

LATER = SILENCE + 0.1


def read(*bodies: bytes) -> Place:
    """From the beginning on."""
    place = Place()
    assert place.begin(0.0) is None
    for offset, body in enumerate(bodies):
        assert place.is_news(offset, body)
    return place


def test_who_resumes_asks_for_the_last_message_again_and_goes_on_behind_it() -> None:
    place = read(b"a", b"b")
    assert place.begin(1.0) == 1
    assert not place.is_news(1, b"b")
    assert place.is_news(2, b"c")
    assert not place.is_news(2, b"c")


@pytest.mark.parametrize(("offset", "body"), [(1, b"x"), (0, b"a"), (0, b"x"), (2, b"c")])
def test_another_message_first_shows_that_the_stream_was_cut_back(offset: int, body: bytes) -> None:
    place = read(b"a", b"b")
    place.begin(1.0)
    with pytest.raises(CutBackError, match=f"offset {offset}"):
        place.is_news(offset, body)
    place.forget()
    assert place.begin(2.0) is None
    assert place.is_news(0, b"x")


def test_a_cut_under_a_consumer_that_stands_is_noticed_too() -> None:
    place = read(b"a", b"b", b"c")
    with pytest.raises(CutBackError):
        place.is_news(1, b"x")


def test_time_counts_from_the_brokers_word() -> None:
    place = read(b"a")
    place.begin(1.0)
    place.begun(9.0)
    assert not place.is_behind_the_end(stored_at=10.0, now=9.0 + SILENCE)
    assert place.is_behind_the_end(stored_at=10.0, now=9.0 + LATER)


def test_a_stream_that_gives_nothing_although_something_was_stored_ends_before_the_place() -> None:
    place = read(b"a")
    place.begin(1.0)
    assert place.is_behind_the_end(stored_at=2.0, now=1.0 + LATER)
    assert not place.is_behind_the_end(stored_at=2.0, now=1.0 + SILENCE)
    assert not place.is_behind_the_end(stored_at=0.5, now=1.0 + LATER), "what was stored before may have been cut off"
    place.is_news(0, b"a")
    assert not place.is_behind_the_end(stored_at=2.0, now=1.0 + LATER)


def test_who_has_read_nothing_waits() -> None:
    place = Place()
    place.begin(1.0)
    assert not place.is_behind_the_end(stored_at=2.0, now=100.0)
