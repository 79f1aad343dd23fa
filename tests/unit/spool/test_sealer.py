"""What a relay does with its sealing keys: which seals, which open, and what waits for one that is not here."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.protocol.sealing import Key, dump
from relayfleet.relay.spool import seal
from relayfleet.relay.spool.interface import SpoolUnavailable
from relayfleet.relay.spool.record import Recipient, Record, RecordError, encode
from relayfleet.relay.spool.sealer import FORGET, LONGEST, MOST_MISSED, SHORTEST, KeyMissingError, Sealer

POOL = "relayfleet.eu.mail.tx"
RECORD = Record("01ABC", "a@one.test", (Recipient("b@two.test"),), b"Subject: hi\r\n\r\nhello\r\n")
FIRST = Key("1" * 16, b"1" * 32, 1, 1)
SECOND = Key("2" * 16, b"2" * 32, 2, None)
USED = Key("2" * 16, b"2" * 32, 2, 9)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def sealer(folder: Path, *keys: Key, seals: bool = True, clock: Clock | None = None) -> Sealer:
    """A relay of its own, with these keys mounted."""
    folder.mkdir(exist_ok=True)
    if keys:
        (folder / "keys.json").write_text(dump(keys))
    return Sealer(folder / "keys.json", POOL, seals=seals, clock=clock or Clock())


def opened(by: Sealer, body: bytes) -> Record:
    return by.open(body, lambda: RECORD.key)


def test_what_one_relay_seals_another_opens(tmp_path: Path) -> None:
    body = sealer(tmp_path / "a", FIRST).seal(RECORD)
    assert seal.key_of(body) == FIRST.id
    assert opened(sealer(tmp_path / "b", FIRST, seals=False), body) == RECORD


def test_records_of_before_are_read_by_a_relay_that_seals(tmp_path: Path) -> None:
    assert opened(sealer(tmp_path, FIRST), encode(RECORD)) == RECORD


def test_a_relay_that_is_not_told_to_seal_opens_and_does_not_seal(tmp_path: Path) -> None:
    relay = sealer(tmp_path, FIRST, seals=False)
    assert relay.opens
    assert relay.seal(RECORD) == encode(RECORD)


def test_a_key_that_is_not_in_use_yet_opens_and_does_not_seal(tmp_path: Path) -> None:
    early = sealer(tmp_path / "early", FIRST, SECOND)
    assert seal.key_of(early.seal(RECORD)) == FIRST.id
    late = sealer(tmp_path / "late", FIRST, USED)
    body = late.seal(RECORD)
    assert seal.key_of(body) == USED.id
    assert opened(early, body) == RECORD


async def test_a_new_key_is_read_without_a_restart_and_the_old_one_still_opens(tmp_path: Path) -> None:
    relay = sealer(tmp_path, FIRST)
    old = relay.seal(RECORD)
    (tmp_path / "keys.json").write_text(dump([FIRST, USED]))
    await relay.reload()
    assert seal.key_of(relay.seal(RECORD)) == USED.id
    assert opened(relay, old) == RECORD


@pytest.mark.parametrize("text", ["", "{}", '{"keys": []}', dump([USED])])
async def test_a_file_that_lost_its_keys_takes_none_away(tmp_path: Path, text: str) -> None:
    relay = sealer(tmp_path, FIRST)
    body = relay.seal(RECORD)
    (tmp_path / "keys.json").write_text(text)
    await relay.reload()
    assert opened(relay, body) == RECORD
    assert relay.seal(RECORD) != encode(RECORD)


async def test_a_damaged_file_is_told_until_it_is_mended(tmp_path: Path) -> None:
    relay = sealer(tmp_path, FIRST)
    (tmp_path / "keys.json").write_text("{}")
    await relay.reload()
    assert "keys of before" in relay.trouble
    (tmp_path / "keys.json").write_text(dump([FIRST, USED]))
    await relay.reload()
    assert relay.trouble == ""


def test_without_a_key_nothing_is_stored_in_the_clear(tmp_path: Path) -> None:
    relay = sealer(tmp_path)
    with pytest.raises(SpoolUnavailable):
        relay.seal(RECORD)
    assert "to be sealed" in relay.why_not
    assert not relay.opens


def test_a_relay_that_is_not_told_to_seal_needs_no_key() -> None:
    relay = Sealer(None, POOL)
    assert (relay.why_not, relay.trouble, relay.opens) == ("", "", False)
    assert opened(relay, relay.seal(RECORD)) == RECORD


def test_a_record_whose_key_is_not_here_waits_longer_and_longer_and_is_told(tmp_path: Path) -> None:
    body, clock = sealer(tmp_path / "other", USED).seal(RECORD), Clock()
    relay = sealer(tmp_path / "this", FIRST, clock=clock)
    waits = []
    for seconds in (0, 10, 300, 90_000):
        clock.now = 100.0 + seconds
        with pytest.raises(KeyMissingError) as caught:
            opened(relay, body)
        waits.append(caught.value.wait)
    assert waits == [SHORTEST, SHORTEST, 300, LONGEST]
    assert USED.id in relay.trouble
    clock.now += FORGET + 1
    assert relay.trouble == ""


def test_a_key_that_comes_back_opens_what_waited(tmp_path: Path) -> None:
    body = sealer(tmp_path / "other", USED).seal(RECORD)
    relay = sealer(tmp_path / "this", FIRST)
    with pytest.raises(KeyMissingError):
        opened(relay, body)
    (tmp_path / "this" / "keys.json").write_text(dump([FIRST, USED]))
    assert opened(relay, body) == RECORD
    assert relay.trouble == ""


def test_made_up_names_of_keys_fill_no_memory(tmp_path: Path) -> None:
    relay = sealer(tmp_path, FIRST)
    body = relay.seal(RECORD)
    for number in range(10 * MOST_MISSED):
        with pytest.raises(KeyMissingError):
            opened(relay, body[:4] + number.to_bytes(8, "big") + body[12:])
    assert len(relay._missed) <= MOST_MISSED + 1


def test_a_record_under_another_records_name_is_refused(tmp_path: Path) -> None:
    relay = sealer(tmp_path, FIRST)
    with pytest.raises(RecordError):
        relay.open(relay.seal(RECORD), lambda: "01ABC.1")
    elsewhere = Sealer(tmp_path / "keys.json", "relayfleet.eu.mail.other", seals=True)
    with pytest.raises(RecordError):
        opened(relay, elsewhere.seal(RECORD))
