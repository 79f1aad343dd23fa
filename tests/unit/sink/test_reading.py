"""What is hashed of a message is the same however it arrives, and is what another party hashes of the same bytes."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sink.body import HEADERS_MAX, Body
from tests.sink.digest import digests

LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b"a", b".b", b"a\r", b"\n.\n", b"\r", b"Subject: x", b" folded"]), max_size=8
)


def stuffed(message: bytes) -> bytes:
    """As SMTP sends it, with the final dot."""
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def read(pieces: list[bytes]) -> tuple[Body, bytes]:
    body = Body(10**6, keep=True)
    for index, piece in enumerate(pieces):
        rest = body.feed(piece)
        if rest is not None:
            return body, rest + b"".join(pieces[index + 1 :])
    raise AssertionError("the end was not seen")


@given(lines=LINES, cuts=st.lists(st.integers(0, 80), max_size=6), after=st.sampled_from([b"", b"QUIT\r\n", b".\r\n"]))
def test_a_message_in_any_pieces_is_read_as_the_bytes_that_were_sent(
    lines: list[bytes], cuts: list[int], after: bytes
) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    wire = stuffed(message) + after
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    body, rest = read([wire[low:high] for low, high in pairwise(edges)])
    assert rest == after
    assert body.raw == message
    assert body.size == len(message)
    assert (body.headers.sha256, body.body_sha256) == digests(message)


def test_one_byte_at_a_time_makes_no_difference() -> None:
    message = b"Subject: a\r\n\r\n.dots\r\n..\r\nend\r\n"
    body, rest = read([bytes([byte]) for byte in stuffed(message)])
    assert (body.raw, rest) == (message, b"")


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r"])
def test_only_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    body = Body(1000, keep=False)
    assert body.feed(b"Subject: a\r\n\r\nbody" + end + b"more") is None


def test_trace_fields_that_relays_add_do_not_change_the_digest_and_other_changes_do() -> None:
    plain = b"From: a\r\nSubject: long\r\n folded\r\n\r\nbody\r\n"
    traced = b"Received: from x\r\n\tby y\r\nDKIM-Signature: v=1;\r\n b=z\r\nX-Relayfleet-Id: 1\r\n" + plain
    assert digests(traced) == digests(plain)
    for changed in (plain.replace(b"a", b"b", 1), plain.replace(b"\r\n folded", b" folded"), b"X: y\r\n" + plain):
        assert digests(changed)[0] != digests(plain)[0]


def test_the_body_digest_is_that_of_everything_after_the_empty_line() -> None:
    assert digests(b"A: b\r\n\r\none\r\n\r\ntwo\r\n")[1] == hashlib.sha256(b"one\r\n\r\ntwo\r\n").hexdigest()


def test_names_and_received_fields_are_found_in_any_case() -> None:
    wire = stuffed(b"RECEIVED: a\r\nreceived: b\r\nmessage-id: <1@x>\r\nX-TEST-ID:  t1 \r\n\r\n")
    body, _ = read([wire])
    assert (body.headers.received, body.headers.message_id, body.headers.test_id) == (2, "<1@x>", "t1")


def test_what_is_too_large_is_read_to_its_end_and_not_kept() -> None:
    body = Body(100, keep=True)
    assert body.feed(b"x" * 200) is None
    assert body.feed(b"\r\n.\r\nQUIT\r\n") == b"QUIT\r\n"
    assert body.too_large
    assert body.raw is None


def test_endless_header_fields_are_cut_and_the_rest_counts_as_body() -> None:
    wire = stuffed(b"A: " + b"x" * (2 * HEADERS_MAX) + b"\r\n")
    pieces = [wire[start : start + 65536] for start in range(0, len(wire), 65536)]
    body, _ = read(pieces)
    assert body.body_sha256 != hashlib.sha256(b"").hexdigest()
