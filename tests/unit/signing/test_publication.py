"""Keys are looked up over real sockets, by a clock of the test's, and never for a mail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import SigningDomain, SigningKey
from relayfleet.relay.routing import lookup as lookup_module
from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.lookup import Answer, Lookup
from relayfleet.relay.routing.servers import Server
from relayfleet.relay.signing import publication as module
from relayfleet.relay.signing.keyring import Keyring
from relayfleet.relay.signing.publication import SETTLED, UNSETTLED, Publication
from tests.fakes.dns import Responder, responder
from tests.unit.signing.keys import ED25519, dns_text, ed25519_key, mounted, pem, rsa_key, zone_text

NEW, OLD = SigningKey("new", "keys", "new.pem"), SigningKey("old", "keys", "rsa.pem")
SENDER = SigningDomain("sender.test", (NEW, OLD), verify_dns=True)
NEW_NAME, OLD_NAME = (f"{each}._domainkey.sender.test" for each in ("new", "old"))
RECORDS = {
    NEW_NAME: zone_text(dns_text(rsa_key(number=1)).decode()),
    OLD_NAME: zone_text(dns_text(rsa_key()).decode()),
    "ed1._domainkey.sender.test": zone_text(dns_text(ed25519_key()).decode()),
}
SOON, LATER = UNSETTLED * 1.3, SETTLED * 1.3
"""With all jitter."""


class Scene:
    """The keys of sender.test, of which DNS has the old one."""

    def __init__(self, folder: Path, server: Responder) -> None:
        self.now = 1000.0
        self.server = server
        self.keyring = Keyring(mounted(folder, new_pem=pem(rsa_key(number=1))), (SENDER,))
        self.subject = Publication(lambda: self.keyring.usable, lambda: self.now)
        self.lookup = Lookup([server.address])

    async def look(self, seconds: float = 0.0) -> list[str]:
        """Those that sign after so many seconds and one more look."""
        self.now += seconds
        await self.subject.look(self.lookup)
        return self.chosen

    @property
    def chosen(self) -> list[str]:
        return [each.selector for each in self.subject.chosen("sender.test", self.keyring.signers("sender.test"))]

    def publish(self, *names: str) -> None:
        self.server.records = {(each, "TXT"): [RECORDS[each]] for each in names}

    @property
    def asked(self) -> list[str]:
        """Since the last time."""
        asked = sorted(name for name, kind in self.server.asked if kind == "TXT")
        self.server.asked.clear()
        return asked


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with responder({}) as server:
        made = Scene(tmp_path, server)
        made.publish(OLD_NAME)
        yield made


async def test_a_rotation_from_end_to_end(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert scene.chosen == ["new", "old"]
    assert await scene.look() == ["old"]
    assert f"{NEW_NAME} has no TXT record" in scene.subject.trouble
    assert f'"{dns_text(rsa_key(number=1)).decode()}"' in scene.subject.trouble
    scene.publish(OLD_NAME, NEW_NAME)
    assert await scene.look(SOON) == ["old"]
    assert await scene.look(SOON) == ["new"]
    assert scene.subject.trouble == ""
    assert "dkim sender.test signs by new, as DNS is now" in caplog.text
    scene.publish(NEW_NAME)
    assert await scene.look(LATER) == ["new"]
    assert scene.subject.trouble == ""
    assert await scene.look(SOON) == ["new"]
    assert f"key old of sender.test is not used, new signs: {OLD_NAME} has no TXT record" in scene.subject.trouble
    assert caplog.text.count("has no TXT record") == 2


async def test_names_are_asked_for_every_few_minutes_and_sooner_while_something_is_wrong(scene: Scene) -> None:
    await scene.look()
    assert scene.asked == [NEW_NAME, OLD_NAME]
    await scene.look(UNSETTLED * 0.7)
    assert scene.asked == []
    await scene.look(UNSETTLED * 0.6)
    assert scene.asked == [NEW_NAME]
    await scene.look(SETTLED)
    assert scene.asked == [NEW_NAME, OLD_NAME]


async def test_dns_that_fails_changes_nothing(scene: Scene) -> None:
    await scene.look()
    trouble = scene.subject.trouble
    scene.server.mood = "SERVFAIL"
    for _ in range(3):
        assert await scene.look(LATER) == ["old"]
    assert scene.subject.trouble == trouble
    assert scene.subject.counts == {"Answered": 2, "Failed": 6}


async def test_without_dns_from_the_start_keys_sign_as_configured(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.server.mood = "silent"
    with monkeypatch.context() as hasty:
        hasty.setattr(lookup_module, "LIFETIME_SECONDS", 0.1)
        assert await scene.look() == ["new", "old"]
    assert scene.subject.trouble == ""
    scene.server.mood = "answer"
    assert await scene.look(SOON) == ["old"]


async def test_a_key_that_is_revoked_is_out_of_use_when_it_was_seen_twice(scene: Scene) -> None:
    scene.publish(OLD_NAME, NEW_NAME)
    assert await scene.look() == ["new"]
    scene.server.records[NEW_NAME, "TXT"] = ['"v=DKIM1; p="']
    assert await scene.look(LATER) == ["new"]
    assert await scene.look(SOON) == ["old"]
    assert "revoked" in scene.subject.trouble


async def test_another_content_of_the_secret_is_compared_at_once(scene: Scene, tmp_path: Path) -> None:
    scene.publish(OLD_NAME, NEW_NAME)
    assert await scene.look() == ["new"]
    mounted(tmp_path, new_pem=pem(rsa_key(number=2)))
    assert scene.chosen == ["old"]
    assert f"{NEW_NAME} has another key" in scene.subject.trouble


async def test_a_key_is_asked_for_when_it_comes_and_forgotten_when_it_goes(scene: Scene) -> None:
    await scene.look()
    scene.keyring.reload((replace(SENDER, keys=(OLD, ED25519)),))
    scene.publish(OLD_NAME, "ed1._domainkey.sender.test")
    assert scene.asked == [NEW_NAME, OLD_NAME]
    assert await scene.look() == ["old", "ed1"]
    assert scene.asked == ["ed1._domainkey.sender.test"]
    scene.keyring.reload((SENDER,))
    assert scene.chosen == ["old"]
    scene.keyring.reload(())
    await scene.subject.look(scene.lookup)
    scene.keyring.reload((SENDER,))
    assert scene.chosen == ["new", "old"]


async def test_records_in_another_order_are_no_other_answer(scene: Scene) -> None:
    both = [RECORDS[OLD_NAME], '"a note"']
    scene.server.records[OLD_NAME, "TXT"] = both
    await scene.look()
    scene.server.records[OLD_NAME, "TXT"] = both[::-1]
    await scene.look(LATER)
    assert scene.asked == sorted([NEW_NAME, OLD_NAME] * 2)
    await scene.look(SOON)
    assert scene.asked == [NEW_NAME]


async def test_a_delegated_selector_is_followed(scene: Scene) -> None:
    scene.server.records = {(OLD_NAME, "CNAME"): ["dkim.host.test"], ("dkim.host.test", "TXT"): [RECORDS[OLD_NAME]]}
    assert await scene.look() == ["old"]


class Odd:
    """Knows the answer, or fails."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.asked = self.most = self.now = 0

    async def ask(self, name: str, kind: str) -> Answer:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is awaited is another task's doing
            await asyncio.sleep(0)


class Slow(Lookup):
    """Answers for sender.test; other domains have to wait."""

    def __init__(self, servers: Sequence[Server]) -> None:
        super().__init__(servers)
        self.waiting = asyncio.Event()

    async def ask(self, name: str, kind: str) -> Answer:
        if not name.endswith("sender.test"):
            self.waiting.set()
            await asyncio.Event().wait()
        return await super().ask(name, kind)


async def test_a_domain_whose_name_servers_are_dead_holds_up_no_other(scene: Scene) -> None:
    scene.keyring.reload((replace(SENDER, domain="dead.test"), SENDER))
    slow = Slow([scene.server.address])
    looking = asyncio.create_task(scene.subject.look(slow))
    await slow.waiting.wait()
    await until(lambda: scene.chosen == ["old"])
    assert not looking.done()
    looking.cancel()


async def test_a_domain_that_goes_while_it_is_looked_up_is_forgotten(scene: Scene) -> None:
    odd = Odd(Answer((), 60.0))
    looking = asyncio.create_task(scene.subject.look(odd))
    await until(lambda: bool(odd.asked))
    scene.keyring.reload(())
    await looking
    assert scene.subject.standings == []
    assert scene.subject.trouble == ""


async def test_a_name_that_dns_cannot_have_is_missing(scene: Scene) -> None:
    await scene.subject.look(Odd(DnsPermanent("5.1.2", "too long")))
    assert scene.chosen == ["new", "old"]
    assert scene.subject.trouble.endswith("(and 1 more)")


async def test_only_a_few_questions_are_under_way_at_once(scene: Scene) -> None:
    scene.keyring.reload([replace(SENDER, domain=f"d{number}.test") for number in range(30)])
    odd = Odd(Answer((), 60.0, exists=False))
    await scene.subject.look(odd)
    assert (odd.asked, odd.most) == (60, module.AT_ONCE)


async def test_a_fault_of_ours_is_logged_and_not_repeated_each_second(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.0)
    odd = Odd(RuntimeError("oops"))
    running = asyncio.create_task(scene.subject.run(odd))
    await scene.subject.first()
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert odd.asked == 2
    assert "a fault of ours" in caplog.text


async def test_a_relay_waits_for_the_first_look_but_not_for_ever(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST", 0.01)
    await scene.subject.first()
    assert "not all DKIM keys could be looked up" in caplog.text
    monkeypatch.setattr(module, "FIRST", 60.0)
    running = asyncio.create_task(scene.subject.run(scene.lookup))
    await scene.subject.first()
    assert scene.chosen == ["old"]
    running.cancel()


async def test_who_looks_nothing_up_waits_for_nothing() -> None:
    subject = Publication(dict)
    async with asyncio.timeout(module.FIRST / 2):
        await subject.first()
    odd = Odd(Answer((), 60.0))
    await subject.look(odd)
    assert (odd.asked, subject.trouble) == (0, "")
