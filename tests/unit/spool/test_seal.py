"""Sealed records: what was sealed opens, and nothing that was changed does."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.spool import seal
from relayfleet.relay.spool.record import RecordError

ID, KEY = "00112233445566ff", AESGCM(bytes(range(32)))
POOL, NAME, DATA = "relayfleet.eu.mail.tx", "01ABC.0", b"From: a@one.test\r\n\r\nsecret words\r\n"
SEALED = seal.seal(ID, KEY, POOL, NAME, DATA)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)  # at most 240 bytes


@given(st.binary(max_size=3000), TEXT, TEXT)
def test_what_is_sealed_opens_and_costs_some_forty_bytes_and_its_name(data: bytes, pool: str, name: str) -> None:
    sealed = seal.seal(ID, KEY, pool, name, data)
    assert seal.is_sealed(sealed)
    assert seal.key_of(sealed) == ID
    assert seal.name_of(sealed) == name
    assert len(sealed) == len(data) + len(name.encode()) + seal.OVERHEAD
    assert seal.unseal(KEY, pool, name, sealed) == data


@pytest.mark.parametrize("position", range(len(SEALED)))
def test_a_change_of_any_byte_is_found(position: int) -> None:
    """Magic, names of the key and of the record, nonce, ciphertext and tag alike."""
    changed = bytearray(SEALED)
    changed[position] ^= 0x01
    with pytest.raises(RecordError):
        seal.unseal(KEY, POOL, NAME, bytes(changed))
    with pytest.raises(RecordError):  # nor for one who makes the message id fit
        seal.unseal(KEY, POOL, seal.name_of(bytes(changed)), bytes(changed))


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_a_record_that_was_cut_short_does_not_open(length: int) -> None:
    cut = SEALED[:length]
    with pytest.raises(RecordError):
        seal.key_of(cut)
        seal.unseal(KEY, POOL, NAME, cut)


def test_a_record_that_was_lengthened_does_not_open() -> None:
    with pytest.raises(RecordError):
        seal.unseal(KEY, POOL, NAME, SEALED + b"\0")


@pytest.mark.parametrize(
    ("pool", "name"),
    [(POOL, "01ABC.1"), (POOL, ""), ("relayfleet.eu.mail.ty", NAME), (POOL[:-1], f"x{NAME}"), (POOL + NAME, "")],
)
def test_a_record_opens_in_its_own_pool_and_under_its_own_name_only(pool: str, name: str) -> None:
    with pytest.raises(RecordError):
        seal.unseal(KEY, pool, name, SEALED)


def test_another_key_of_the_same_name_does_not_open_it() -> None:
    with pytest.raises(RecordError):
        seal.unseal(AESGCM(bytes(32)), POOL, NAME, SEALED)


def test_no_nonce_comes_twice_and_equal_records_look_different() -> None:
    sealed = [seal.seal(ID, KEY, POOL, NAME, b"the same") for _ in range(20_000)]
    assert len({each[12 : 12 + seal.NONCE_BYTES] for each in sealed}) == len(sealed)
    assert len({each[32:] for each in sealed}) == len(sealed)


def test_nothing_of_the_record_stands_in_the_clear() -> None:
    assert not any(DATA[at : at + 6] in SEALED for at in range(len(DATA) - 6))
