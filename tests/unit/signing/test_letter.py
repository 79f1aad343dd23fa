"""Signing as the delivery has it: once, off the loop when it is much, and counted."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.relay.routing.lookup import Answer
from relayfleet.relay.signing import letter as module
from relayfleet.relay.signing.canonical import body_digest
from relayfleet.relay.signing.keyring import SigningKeyUnavailableError
from relayfleet.relay.signing.letter import IN_A_THREAD, Signing
from relayfleet.relay.spool.record import Recipient, Record
from tests.fakes.spool import MemoryHeld, MemorySpool
from tests.unit.signing.keys import BOTH, mounted, zone_text
from tests.unit.signing.oracle import PUBLISHED, unstuffed, verified

MAIL = b"From: a@sender.test\r\nSubject: hello\r\n\r\nhello\r\n..dot\r\n"


def held(message: bytes = MAIL) -> MemoryHeld:
    return MemoryHeld(MemorySpool(), Record("1", "a@sender.test", (Recipient("b@one.test"),), message))


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(mounted(tmp_path), BOTH)


async def test_a_letter_is_signed_once_however_many_ask(signing: Signing) -> None:
    letter = signing.letter(held())
    first, second = await asyncio.gather(letter.prefix(), letter.prefix())
    assert first is second
    assert verified(unstuffed(first + MAIL)) == [True, True]
    assert signing.counts == {"Signed": 1}


@pytest.mark.parametrize(
    ("message", "result"),
    [
        (MAIL.replace(b"sender", b"other"), "NoKey"),
        (b"From: b@sender.test\r\n" + MAIL, "Unsignable"),
        (b"Subject: no author\r\n\r\nhello\r\n", "Unsignable"),
    ],
)
async def test_what_is_not_signed_leaves_as_it_is_and_is_counted(signing: Signing, message: bytes, result: str) -> None:
    assert await signing.letter(held(message)).prefix() == b""
    assert signing.counts == {result: 1}


async def test_a_mail_whose_key_is_missing_becomes_no_letter(tmp_path: Path) -> None:
    signing = Signing(tmp_path, BOTH)
    with pytest.raises(SigningKeyUnavailableError):
        signing.letter(held())
    assert await signing.letter(held(MAIL.replace(b"sender", b"other"))).prefix() == b""
    assert signing.counts == {"KeyUnavailable": 1, "NoKey": 1}
    assert "kept back" in signing.trouble


async def test_a_pool_without_domains_counts_nothing(signing: Signing) -> None:
    signing.reload(())
    assert await signing.letter(held()).prefix() == b""
    assert (dict(signing.counts), signing.trouble) == ({}, "")


@pytest.mark.parametrize(("size", "inside"), [(IN_A_THREAD // 2, True), (2 * IN_A_THREAD, False)])
async def test_only_large_mails_are_hashed_in_a_thread(
    signing: Signing, monkeypatch: pytest.MonkeyPatch, size: int, inside: bool
) -> None:
    threads = []

    def spied(message: bytes, start: int) -> bytes:
        threads.append(threading.current_thread())
        return body_digest(message, start)

    monkeypatch.setattr(module, "body_digest", spied)
    message = MAIL + b"a line of a large mail\r\n" * (size // 24)
    assert verified(unstuffed(await signing.letter(held(message)).prefix() + message)) == [True, True]
    assert [each is threading.main_thread() for each in threads] == [inside]


async def test_a_domain_is_looked_up_or_not_as_it_says(tmp_path: Path) -> None:
    class Empty:
        async def ask(self, name: str, kind: str) -> Answer:
            return Answer((zone_text(PUBLISHED[name].decode()),) if name.startswith("rsa1") else (), 60.0)

    signing = Signing(mounted(tmp_path), (replace(BOTH[0], verify_dns=True), replace(BOTH[0], domain="other.test")))
    await signing.publication.look(Empty())
    selectors = []
    for message in (MAIL, MAIL.replace(b"sender", b"other")):
        prefix = await signing.letter(held(message)).prefix()
        selectors.append([each for each in ("rsa1", "ed1") if f"s={each};".encode() in prefix])
    assert selectors == [["rsa1"], ["rsa1", "ed1"]]
    signing.reload(BOTH)
    assert (await signing.letter(held()).prefix()).count(b"DKIM-Signature:") == 2
    assert signing.publication.trouble == ""
