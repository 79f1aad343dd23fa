"""The parser of the client's bytes: what it takes, what it refuses, and that splits of the stream change nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.server.lines import COMMAND_LINE, BareLineEnd, Body, LineFault, LineTooLong, Reader

LIMIT = 60


def lines_of(data: bytes) -> list[bytes]:
    reader = Reader()
    reader.feed(data)
    found = []
    while (line := reader.line()) is not None:
        found.append(line)
    return found


def body_of(data: bytes, limit: int = 1000) -> Body | None:
    reader = Reader()
    reader.begin_body(limit)
    reader.feed(data)
    return reader.body()


def test_lines_come_without_their_line_ends() -> None:
    assert lines_of(b"EHLO a\r\n\r\nQUIT\r\nNOO") == [b"EHLO a", b"", b"QUIT"]


@pytest.mark.parametrize(
    "data", [b"NOOP\n", b"\n", b"NO\rOP\r\n", b"\rNOOP\r\n", b"NOOP\r\r\n", b"NOOP\n\r\n"], ids=repr
)
def test_a_bare_line_end_in_a_command_is_a_fault(data: bytes) -> None:
    with pytest.raises(BareLineEnd):
        lines_of(data)


def test_a_line_may_be_as_long_as_the_limit_and_not_longer() -> None:
    assert lines_of(b"x" * (COMMAND_LINE - 2) + b"\r\n") == [b"x" * (COMMAND_LINE - 2)]
    with pytest.raises(LineTooLong):
        lines_of(b"x" * (COMMAND_LINE - 1) + b"\r\n")


def test_a_line_without_end_is_a_fault_as_soon_as_it_cannot_fit() -> None:
    reader = Reader()
    reader.feed(b"x" * (COMMAND_LINE - 1))
    assert reader.line() is None
    reader.feed(b"x")
    with pytest.raises(LineTooLong):
        reader.line()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"Subject: x\r\n\r\nhi\r\n.\r\n", b"Subject: x\r\n\r\nhi\r\n"),
        (b"..\r\n...\r\n.\r\n", b"..\r\n...\r\n"),
        (b".a\r\n.\r\n", b".a\r\n"),
        (b"\xff\x80\r\n.\r\n", b"\xff\x80\r\n"),
    ],
    ids=repr,
)
def test_a_message_ends_at_crlf_dot_crlf_and_stays_dot_stuffed(data: bytes, message: bytes) -> None:
    assert body_of(data) == Body(message, complete=True)


@pytest.mark.parametrize(
    "end",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r.\r\n",
        b"\r\n.\r\r\n",
        b"\r\n.\rQUIT",
        b"\n\r\n.\r\n",
        b"\r\r\n.\r\n",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\n\r\n",
        b"\r\n\n.\r\n",
    ],
    ids=repr,
)
def test_every_other_end_of_data_is_a_fault(end: bytes) -> None:
    with pytest.raises(BareLineEnd):
        body_of(b"Subject: x\r\n\r\nhi" + end + b"MAIL FROM:<a@b.c>\r\n.\r\n")


def test_what_follows_the_message_is_commands_again() -> None:
    reader = Reader()
    reader.begin_body(LIMIT)
    reader.feed(b"hi\r\n.\r\nMAIL\r\nRC")
    assert reader.body() == Body(b"hi\r\n", complete=True)
    assert (reader.line(), reader.line(), reader.pending) == (b"MAIL", None, True)


def test_a_message_over_the_limit_is_read_to_its_end_but_not_kept() -> None:
    reader = Reader()
    reader.begin_body(LIMIT)
    for _ in range(1000):
        reader.feed(b"y" * 100 + b"\r\n")
        assert reader.body() is None
        assert reader.held < LIMIT + 110
    assert reader.seen == 102 * 1000 + 2
    reader.feed(b".\r\nQUIT\r\n")
    assert reader.body() == Body(b"", complete=False)
    assert reader.line() == b"QUIT"


def test_a_discarded_message_is_still_checked() -> None:
    reader = Reader()
    reader.begin_body(LIMIT)
    reader.discard()
    reader.feed(b"a\r\nb\n")
    with pytest.raises(BareLineEnd):
        reader.body()


def test_a_message_of_exactly_the_limit_is_taken() -> None:
    assert body_of(b"x" * 58 + b"\r\n.\r\n", limit=60) == Body(b"x" * 58 + b"\r\n", complete=True)
    assert body_of(b"x" * 59 + b"\r\n.\r\n", limit=60) == Body(b"", complete=False)


def events(chunks: list[bytes], first_body: int) -> list[object]:
    """What a reader tells: lines, and each second time a message; a fault ends it."""
    reader = Reader()
    found: list[object] = []
    in_body = bool(first_body)
    if in_body:
        reader.begin_body(LIMIT)
    for chunk in chunks:
        reader.feed(chunk)
        try:
            while True:
                event: object = reader.body() if in_body else reader.line(LIMIT)
                if event is None:
                    break
                found.append(event)
                in_body = not in_body
                if in_body:
                    reader.begin_body(LIMIT)
        except LineFault as fault:
            return [*found, type(fault)]
    return found


PIECES = st.sampled_from([b"\r\n", b"\r\n.\r\n", b".", b"\r", b"\n", b"\0", b"a", b"MAIL", b"..", b"z" * 40])


@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 400), max_size=30), st.integers(0, 1))
def test_any_split_of_the_stream_gives_the_same_result(data: bytes, cuts: list[int], first_body: int) -> None:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    chunks = [data[start:end] for start, end in itertools.pairwise(places)]
    assert events(chunks, first_body) == events([data], first_body)
    assert events([data[at : at + 1] for at in range(len(data))], first_body) == events([data], first_body)


@given(st.binary(max_size=300))
def test_a_stuffed_message_comes_back_byte_for_byte(content: bytes) -> None:
    text = content.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
    stuffed = b"".join(b"." * (line[:1] == b".") + line + b"\r\n" for line in text.split(b"x"))
    assert body_of(stuffed + b".\r\n", limit=10_000) == Body(stuffed, complete=True)
