"""Records: what is written is read, by this version and by those to come."""

from __future__ import annotations

import json
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.spool.record import MAGIC, Recipient, Record, RecordError, decode, encode, new_id, share

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
records = st.builds(
    Record,
    id=text,
    sender=text,
    recipients=st.lists(st.builds(Recipient, text, text, text), max_size=5).map(tuple),
    message=st.binary(max_size=2000),
    accepted_at=st.floats(0, 1e10),
    attempt=st.integers(0, 1000),
    part=text,
    body_8bit=st.booleans(),
    last_answer=text,
    expires_at=st.floats(0, 1e10),
    deferred_at=st.floats(0, 1e10),
    earliest_at=st.floats(0, 1e10),
)


@given(records)
def test_what_is_written_is_read(record: Record) -> None:
    assert decode(encode(record)) == record


@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode(data)


@given(st.binary(max_size=100))
def test_a_damaged_head_is_refused(junk: bytes) -> None:
    with pytest.raises(RecordError):
        decode(MAGIC + struct.pack("!I", len(junk)) + junk)


def test_fields_of_a_newer_relay_are_ignored() -> None:
    head = json.dumps({"id": "A", "sender": "a@b", "recipients": [["c@d", "", ""]], "shard": 3}).encode()
    assert decode(MAGIC + struct.pack("!I", len(head)) + head + b"x\r\n").recipients == (Recipient("c@d"),)


def test_a_record_of_an_older_relay_expires_with_the_pool() -> None:
    head = json.dumps({"id": "A", "sender": "a@b", "recipients": []}).encode()
    assert decode(MAGIC + struct.pack("!I", len(head)) + head).expires_at == 0.0


def test_a_record_of_an_older_relay_does_not_say_since_when_it_waits() -> None:
    head = json.dumps({"id": "A", "sender": "a@b", "recipients": [], "next_at": 7.0}).encode()
    found = decode(MAGIC + struct.pack("!I", len(head)) + head)
    assert (found.deferred_at, found.earliest_at) == (0.0, 0.0)


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(each) == 26 for each in ids)
    assert [each[:10] for each in ids] == sorted(each[:10] for each in ids)


@given(st.lists(st.booleans(), max_size=40))
def test_a_record_counts_its_holds(way: list[bool]) -> None:
    record, row = Record("A", "", (), b""), 0
    for held in way:
        record = replace(record, attempt=record.attempt + 1, part=record.part_after(held=held))
        row = row + 1 if held else 0
    assert record.holds == (sum(way), row)
    assert record.is_held is bool(row)


@given(st.lists(st.booleans(), max_size=12), st.lists(st.booleans(), max_size=12))
def test_two_ways_have_two_names(one: list[bool], other: list[bool]) -> None:
    def key(way: list[bool]) -> str:
        record = Record("A", "", (), b"")
        for held in way:
            record = replace(record, attempt=record.attempt + 1, part=record.part_after(held=held))
        return record.key

    assert (key(one) == key(other)) is (one == other)


def test_copies_draw_one_number_and_records_are_spread_evenly() -> None:
    names = [f"{new_id()}.{attempt}" for _ in range(500) for attempt in range(4)]
    drawn = [share(each) for each in names]
    assert drawn == [share(each) for each in names]
    assert all(0 <= each < 1 for each in drawn)
    tenths = [sum(tenth <= 10 * each < tenth + 1 for each in drawn) for tenth in range(10)]
    assert all(100 < each < 300 for each in tenths), "200 are expected in each, and 13 the standard deviation"
