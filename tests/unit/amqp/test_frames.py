"""Frames are cut at the right places however the bytes arrive, and nonsense is refused at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.amqp import frames
from relayfleet.amqp.errors import MalformedFrame

KINDS = st.sampled_from((frames.METHOD, frames.HEADER, frames.BODY, frames.HEARTBEAT))
FRAMES = st.lists(st.tuples(KINDS, st.integers(0, 65535), st.binary(max_size=200)), max_size=20)


@given(FRAMES, st.lists(st.integers(1, 300), min_size=1, max_size=30))
def test_every_frame_comes_out_once_and_whole_however_the_stream_is_cut(
    sent: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frames.frame(*each) for each in sent)
    splitter = frames.Splitter(4096)
    found = []
    turn = 0
    while stream:
        size = cuts[turn % len(cuts)]
        turn += 1
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert [tuple(each) for each in found] == sent


@given(st.binary(max_size=2000))
def test_garbage_gives_frames_or_an_error_and_never_holds_more_than_one_frame(data: bytes) -> None:
    splitter = frames.Splitter(512)
    try:
        found = splitter.feed(data)
    except MalformedFrame:
        return
    kept = len(data) - sum(len(each.payload) + frames.OVERHEAD for each in found)
    assert kept < 512


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"AMQP\x00\x01\x00\x00", "another version"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak AMQP"),
        (frames.frame(frames.BODY, 1, b"x" * 600), "608 bytes, where at most 512"),
        (frames.frame(frames.BODY, 1, b"x")[:-1] + b"\x00", "instead of 0xce"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(data: bytes, words: str) -> None:
    with pytest.raises(MalformedFrame, match=words):
        frames.Splitter(512).feed(data)


@given(st.binary(max_size=5000), st.integers(64, 1000))
def test_a_body_is_cut_into_frames_that_keep_the_limit(body: bytes, frame_max: int) -> None:
    found = frames.Splitter(frame_max).feed(b"".join(frames.body_frames(7, body, frame_max)))
    assert b"".join(each.payload for each in found) == body
    assert all(each.channel == 7 and each.payload for each in found)
