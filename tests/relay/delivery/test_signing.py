"""Signed mail on the wire. dkimpy, at the receiving side, is the judge."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import SigningDomain, SigningKey
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.signing.letter import Signing
from tests.fakes.peer import EHLO, Peer, Talk, peer
from tests.relay.delivery.desk import BODY, Desk, a_record, desk, until
from tests.unit.signing.keys import BOTH, ED25519, RSA, dns_text, mounted, pem, rsa_key, zone_text
from tests.unit.signing.oracle import PUBLISHED, unstuffed, verified

ZONE = {
    ("one.test", "A"): ["127.0.0.1"],
    ("two.test", "A"): ["127.0.0.1"],
    ("sender.test", "A"): ["127.0.0.1"],
}
LARGE = BODY + b"a line  of a\tlarge mail \r\n..and a dot\r\n" * 30_000
"""More than a socket takes at once, and than is hashed in the loop."""


class Receiver:
    """A peer that keeps what it gets. `refuse`: what to answer to commands that begin so."""

    def __init__(self, ehlo: bytes = EHLO) -> None:
        self.ehlo = ehlo
        self.wire: list[bytes] = []
        self.refuse: dict[str, bytes] = {}

    async def __call__(self, talk: Talk) -> None:
        await talk.greet(self.ehlo)
        recipients = 0
        while True:
            line = await talk.hear()
            answer = next((each for start, each in self.refuse.items() if line.startswith(start)), b"250 ok\r\n")
            recipients += line.startswith("RCPT") and answer.startswith(b"250")
            if line == "DATA":
                answer = await self.take(talk) if recipients else b"503 5.5.1 no recipients\r\n"
                recipients = 0
            talk.say(answer)

    async def take(self, talk: Talk) -> bytes:
        talk.say(b"354 go on\r\n")
        self.wire.append((await talk.hear_mail()).removesuffix(b".\r\n"))
        return b"250 ok\r\n"

    @property
    def mails(self) -> list[bytes]:
        return [unstuffed(each) for each in self.wire]


@asynccontextmanager
async def scene(signing: Signing) -> AsyncIterator[tuple[Desk, Receiver, Peer]]:
    receiver = Receiver()
    async with peer(receiver) as running, desk(ZONE, running.port, signing=signing) as subject:
        yield subject, receiver, running


def signatures(mail: bytes) -> int:
    return len(re.findall(rb"^DKIM-Signature:", mail, re.MULTILINE))


@pytest.mark.parametrize("body", [BODY, BODY + b"x" * 9000 + b"\r\n", LARGE], ids=["small", "medium", "large"])
async def test_signatures_verify_where_the_mail_arrives(tmp_path: Path, body: bytes) -> None:
    async with scene(Signing(mounted(tmp_path), BOTH)) as (subject, receiver, running):
        await subject.deliver(a_record("bob@one.test", message=body))
        (wire,), (mail,) = receiver.wire, receiver.mails
        assert wire.endswith(body)
        assert verified(mail) == [True, True]
        assert f"SIZE={len(wire)}" in next(line for line in running.talks[0].heard if line.startswith("MAIL"))
        assert subject.fates == {"Delivered": 1}
        assert subject.service.signing.counts == {"Signed": 1}


async def test_all_destinations_of_a_mail_get_the_same_signatures(tmp_path: Path) -> None:
    async with scene(Signing(mounted(tmp_path), BOTH)) as (subject, receiver, _):
        await subject.deliver(a_record("bob@one.test", "carol@two.test"))
        assert len(receiver.wire) == 2
        assert len(set(receiver.wire)) == 1
        assert subject.service.signing.counts == {"Signed": 1}


async def test_mail_of_other_domains_leaves_byte_for_byte(tmp_path: Path) -> None:
    body = BODY.replace(b"sender.test", b"other.test")
    async with scene(Signing(mounted(tmp_path), BOTH)) as (subject, receiver, _):
        await subject.deliver(a_record("bob@one.test", message=body))
        assert receiver.wire == [body]
        assert subject.service.signing.counts == {"NoKey": 1}


async def test_mail_without_its_key_waits_unsent_and_unsigned_and_goes_when_the_key_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with scene(Signing(tmp_path, BOTH)) as (subject, receiver, running):
        await subject.deliver(a_record("bob@one.test", "carol@two.test"))
        (waiting,) = subject.later
        assert (waiting.message, len(waiting.recipients)) == (BODY, 2)
        assert waiting.last_answer.startswith("4.7.5 mail of sender.test is kept back: entry rsa.pem of Secret keys")
        assert running.talks == []
        assert "class=Transient reason=SigningKeyUnavailable" in caplog.text
        mounted(tmp_path)
        subject.spool.elapse()
        await until(lambda: subject.fates.get("Delivered") == 2)
        assert [verified(each) for each in receiver.mails] == [[True, True]] * 2
        assert subject.service.signing.counts == {"KeyUnavailable": 1, "Signed": 1}


async def test_a_key_that_changes_while_mail_waits_signs_it(tmp_path: Path) -> None:
    domains = (SigningDomain("sender.test", (RSA,)),)
    newer = {**PUBLISHED, "rsa1._domainkey.sender.test": dns_text(rsa_key(number=1))}
    async with scene(Signing(mounted(tmp_path), domains)) as (subject, receiver, _):
        receiver.refuse["RCPT"] = b"451 4.2.0 later\r\n"
        await subject.deliver(a_record("bob@one.test"))
        receiver.refuse.clear()
        mounted(tmp_path, rsa_pem=pem(rsa_key(number=1)))
        subject.spool.elapse()
        await until(lambda: bool(receiver.wire))
        (mail,) = receiver.mails
        assert (verified(mail), verified(mail, newer), signatures(mail)) == ([False], [True], 1)


async def test_a_rotation_on_the_wire_by_two_selectors(tmp_path: Path) -> None:
    old, new = RSA, SigningKey("rsa2", "keys", "new.pem")
    published = {**PUBLISHED, "rsa2._domainkey.sender.test": dns_text(rsa_key(number=1))}
    zone = {(name, "TXT"): [zone_text(text.decode())] for name, text in published.items()}
    domain = SigningDomain("sender.test", (new, old, ED25519), verify_dns=True)
    signing = Signing(mounted(tmp_path, new_pem=pem(rsa_key(number=1))), (domain,))
    async with scene(signing) as (subject, receiver, _):
        lookup = Lookup([subject.dns.address])
        for selectors in (["rsa1", "ed1"], ["rsa2", "ed1"]):
            shown = {key: text for key, text in zone.items() if any(key[0].startswith(each) for each in selectors)}
            subject.dns.records = {**ZONE, **shown}
            signing.reload(())
            await signing.publication.look(lookup)
            signing.reload((domain,))
            await signing.publication.look(lookup)
            asked = len(subject.dns.asked)
            await subject.deliver(a_record("bob@one.test"))
            mail = receiver.mails[-1]
            assert verified(mail, {name: published[name] for name, _ in shown}) == [True, True]
            assert re.findall(rb"s=(\w+);", mail) == [each.encode() for each in selectors]
            assert not any(kind == "TXT" for _, kind in subject.dns.asked[asked:])


async def test_a_report_of_ours_is_signed_by_the_domain_it_is_from(tmp_path: Path) -> None:
    domains = (*BOTH, replace(BOTH[0], domain="relay.test"))
    published = {key.replace("sender.test", "relay.test"): text for key, text in PUBLISHED.items()}
    async with scene(Signing(mounted(tmp_path), domains)) as (subject, receiver, _):
        receiver.refuse["RCPT TO:<bob"] = b"550 5.1.1 no such user\r\n"
        await subject.deliver(a_record("bob@one.test"))
        await until(lambda: bool(receiver.wire))
        (report,) = receiver.mails
        assert b"From: Mail Delivery System <MAILER-DAEMON@relay.test>" in report
        assert verified(report, published) == [True, True]


async def test_a_mail_that_its_signatures_make_too_large_for_a_peer_is_not_tried(tmp_path: Path) -> None:
    receiver = Receiver(EHLO.replace(b"SIZE", b"SIZE %d" % (len(BODY) + 100)))
    async with (
        peer(receiver) as running,
        desk(ZONE, running.port, signing=Signing(mounted(tmp_path), BOTH)) as subject,
    ):
        await subject.deliver(a_record("bob@one.test", sender=""))  # a report would be too large, too, and be counted
        assert (subject.fates["Permanent"], receiver.wire) == (1, [])
