"""The relay as it is put together: keys are read where they are mounted, and trouble with them goes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from relayfleet.protocol.relay_config import Broker, RelayConfig
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.spool.record import Recipient, Record
from relayfleet.relay.status import relay_metrics
from tests.fakes.spool import MemoryHeld, MemorySpool
from tests.unit.signing.keys import BOTH, mounted

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
    metrics = {each.name: each for each in relay_metrics(relay.server, relay.delivery, relay.spool)}
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
