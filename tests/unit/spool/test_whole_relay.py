"""The relay as it is put together: sealing keys are read where they are mounted, and what it seals with them is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from relayfleet.protocol.relay_config import Broker, RelayConfig, dump
from relayfleet.protocol.sealing import ENTRY, Key
from relayfleet.protocol.sealing import dump as dumped
from relayfleet.protocol.telemetry import Window
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.spool.record import Record
from relayfleet.relay.status import sealing_metrics

CONFIG = RelayConfig("test/pool", "eu", Broker(()), ())


def relay(root: Path, *, keys: bool = True, seal: bool = False) -> Relay:
    if keys:
        folder = Files(root).sealing
        folder.mkdir()
        (folder / ENTRY).write_text(dumped([Key("1" * 16, bytes(32), 1, 1)]))
    return Relay(replace(CONFIG, seal=seal), Files(root), "relay")


def told(by: Relay) -> Window:
    window = by.control()._windows.next(1e9, at_once=True)
    assert window is not None
    return window


async def test_a_relay_tells_whether_it_can_open(tmp_path: Path) -> None:
    assert told(relay(tmp_path)).opens
    assert not told(relay(tmp_path / "bare", keys=False)).opens


async def test_a_new_configuration_has_it_seal(tmp_path: Path) -> None:
    made = relay(tmp_path)
    Files(tmp_path).config.parent.mkdir()
    Files(tmp_path).config.write_text(dump(replace(CONFIG, seal=True)))
    made.sealer.seal(Record("1", "", (), b""))
    await made._reload()
    made.sealer.seal(Record("1", "", (), b""))
    (metric,) = sealing_metrics(made.sealer)
    assert {each.labels["result"]: each.value for each in metric.samples} == {"Unsealed": 1, "Sealed": 1}


async def test_a_relay_that_shall_seal_and_has_no_key_is_not_ready(tmp_path: Path) -> None:
    assert "to be sealed" in relay(tmp_path, keys=False, seal=True).why_not_ready()
