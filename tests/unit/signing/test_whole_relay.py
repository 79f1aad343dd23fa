"""The relay as it is put together: keys are read where they are mounted, and trouble with them goes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Broker, Delivery, RelayConfig
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay, background
from relayfleet.relay.routing.servers import written
from relayfleet.relay.spool.record import Recipient, Record
from relayfleet.relay.status import relay_metrics, signing_metrics
from tests.fakes.dns import responder
from tests.fakes.spool import MemoryHeld, MemorySpool
from tests.unit.signing.keys import BOTH, dns_text, mounted, rsa_key, zone_text

CONFIG = RelayConfig("test/pool", "eu", Broker(()), (), dkim=BOTH)
RECORD = Record("1", "a@sender.test", (Recipient("b@one.test"),), b"From: a@sender.test\r\n\r\n")


async def test_keys_are_read_where_they_are_mounted_and_trouble_is_told_to_the_leader(tmp_path: Path) -> None:
    relay = Relay(CONFIG, Files(tmp_path), "relay")
    windows = relay.control()._windows
    told = windows.next(1e9, at_once=True)
    assert told is not None
    assert "Secret keys is not mounted here" in told.signing
    mounted(tmp_path / "dkim")
    told = windows.next(2e9, at_once=True)
    assert told is not None
    assert told.signing == ""


async def test_what_became_of_mail_is_in_the_metrics(tmp_path: Path) -> None:
    mounted(tmp_path / "dkim")
    relay = Relay(CONFIG, Files(tmp_path), "relay")
    await relay.delivery.signing.letter(MemoryHeld(MemorySpool(), RECORD)).prefix()
    metrics = {each.name: each for each in signing_metrics(relay.delivery.signing)}
    assert [(each.labels, each.value) for each in metrics["relayfleet_relay_signing"].samples] == [
        ({"result": "Signed"}, 1)
    ]


async def test_reports_that_were_dropped_and_handshakes_that_failed_are_in_the_metrics(tmp_path: Path) -> None:
    relay = Relay(CONFIG, Files(tmp_path), "relay")
    relay.delivery.counters.double_bounces = 3
    relay.delivery.pool.counters.handshakes_failed = 2
    metrics = {each.name: each for each in relay_metrics(relay.server, relay.delivery, relay.spool)}
    names = ("relayfleet_relay_double_bounces", "relayfleet_relay_handshakes_failed")
    assert [metrics[name].samples[0].value for name in names] == [3, 2]


async def test_a_new_configuration_signs_for_other_domains(tmp_path: Path) -> None:
    relay = Relay(replace(CONFIG, dkim=()), Files(mounted(tmp_path / "dkim").parent), "relay")
    held = MemoryHeld(MemorySpool(), RECORD)
    assert await relay.delivery.signing.letter(held).prefix() == b""
    relay.delivery.reload(CONFIG)
    assert (await relay.delivery.signing.letter(held).prefix()).count(b"DKIM-Signature:") == 2


async def test_keys_are_looked_up_by_the_relays_own_resolvers_and_the_leader_hears_what_is_not_there(
    tmp_path: Path,
) -> None:
    mounted(tmp_path / "dkim")
    zone = {("rsa1._domainkey.sender.test", "TXT"): [zone_text(dns_text(rsa_key()).decode())]}
    async with responder(zone) as server:
        told_to_ask = Delivery(resolvers=(written(server.address),))
        config = replace(CONFIG, dkim=(replace(BOTH[0], verify_dns=True),), delivery=told_to_ask)
        relay = Relay(config, Files(tmp_path), "relay")
        signing = relay.delivery.signing
        async with background(signing.publication.run(relay.lookup)):
            await signing.publication.first()
        window = relay.control()._windows.next(1e9, at_once=True)
        assert window is not None
        assert "DKIM key ed1 of sender.test is not used, rsa1 signs" in window.unpublished
        assert window.signing == ""
        prefix = await signing.letter(MemoryHeld(MemorySpool(), RECORD)).prefix()
        assert (prefix.count(b"DKIM-Signature:"), b"s=rsa1;" in prefix) == (1, True)
        metrics = {each.name: each for each in relay._metrics(relay.control())}
        keys = [(*each.labels.values(), each.value) for each in metrics["relayfleet_relay_signing_key"].samples]
        assert keys == [("sender.test", "rsa1", "Published", 1), ("sender.test", "ed1", "Missing", 0)]
        looks = metrics["relayfleet_relay_signing_lookups"].samples
        assert [(each.labels, each.value) for each in looks] == [({"outcome": "Answered"}, 2)]
        assert len(server.asked) == 2


async def test_keys_are_looked_up_when_a_relay_begins_to_deliver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen() -> None:
        """Nobody connects."""

    mounted(tmp_path / "dkim")
    async with responder({}) as server:
        told_to_ask = Delivery(resolvers=(written(server.address),))
        config = replace(CONFIG, dkim=(replace(BOTH[0], verify_dns=True),), delivery=told_to_ask)
        relay = Relay(config, Files(tmp_path), "relay")
        asked: list[int] = []
        monkeypatch.setattr(relay.spool, "start", lambda: None)
        monkeypatch.setattr(relay.journal, "start", lambda: None)
        monkeypatch.setattr(relay.server, "start", listen)
        monkeypatch.setattr(relay.delivery, "start", lambda: asked.append(len(server.asked)))
        async with background(relay.delivery.signing.publication.run(relay.lookup)):
            await relay.start()
        assert asked == [2]


async def test_a_relay_asks_for_its_keys_and_not_where_nothing_is_to_be_looked_up(
    tmp_path: Path,
) -> None:
    mounted(tmp_path / "dkim")
    async with responder({}) as server:
        told_to_ask = Delivery(resolvers=(written(server.address),))
        verified = replace(CONFIG, dkim=(replace(BOTH[0], verify_dns=True),), delivery=told_to_ask)
        for config, asked in ((verified, 2), (replace(verified, dkim=BOTH), 0)):
            server.asked.clear()
            relay = Relay(config, Files(tmp_path), "relay")
            async with background(relay.delivery.signing.publication.run(relay.lookup)):
                await relay.delivery.signing.publication.first()
                assert len(server.asked) == asked
                prefix = await relay.delivery.signing.letter(MemoryHeld(MemorySpool(), RECORD)).prefix()
                assert prefix.count(b"DKIM-Signature:") == 2
