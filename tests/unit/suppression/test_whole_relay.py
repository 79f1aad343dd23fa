"""The relay as it is put together: the list is read where it is mounted before anything is delivered, and trouble with it goes out."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from relayfleet.protocol.relay_config import Broker, Delivery, Drain, RelayConfig, SuppressionEntry, dump
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.status import suppression_metrics
from tests.relay.delivery.desk import until

CONFIG = RelayConfig(
    "test/pool", "eu", Broker(()), (), delivery=Delivery(), suppression=(SuppressionEntry("bounced", "a.txt"),)
)


def mounted(root: Path, text: str) -> None:
    """As Kubernetes does it: the folder is swapped by a link."""
    folder = root / "suppression"
    version = folder / f"..{len(list(folder.glob('..*')))}" if folder.exists() else folder / "..0"
    (version / "bounced").mkdir(parents=True)
    (version / "bounced" / "a.txt").write_text(text)
    link = folder / "..new"
    link.symlink_to(version.name)
    link.replace(folder / "..data")
    if not (folder / "bounced").exists():
        (folder / "bounced").symlink_to("..data/bounced")


async def test_trouble_is_told_to_the_leader_and_in_the_metrics(tmp_path: Path) -> None:
    relay = Relay(CONFIG, Files(tmp_path), "relay")
    windows = relay.control()._windows
    await relay.suppression.read()
    told = windows.next(1e9, at_once=True)
    assert told is not None
    assert "Secret bounced is not mounted here" in told.suppression
    assert told.withholds
    assert [each.samples[0].value for each in suppression_metrics(relay.suppression)] == [0, 1]
    mounted(tmp_path, "bob@one.test")
    await relay.suppression.read()
    told = windows.next(1e9 + 0.1)
    assert told is not None, "news"
    assert (told.suppression, told.withholds) == ("", False)
    assert [each.samples[0].value for each in suppression_metrics(relay.suppression)] == [1, 0]


async def test_delivery_begins_when_the_list_is_read_and_a_change_needs_no_restart(tmp_path: Path) -> None:
    mounted(tmp_path, "bob@one.test")
    files = Files(tmp_path)
    files.config.parent.mkdir()
    files.config.write_text(dump(CONFIG))
    relay = Relay(CONFIG, files, "relay")
    began_with: list[int] = []
    relay.delivery.start = lambda: began_with.append(relay.suppression.size)  # type: ignore[method-assign]
    await relay.start()
    try:
        assert began_with == [1]
        await relay._reload()
        assert relay.suppression.lists("bob@one.test")
        files.config.write_text(dump(replace(CONFIG, suppression=())))
        await relay._reload()
        assert relay.suppression.lists("bob@one.test") == ""
    finally:
        await relay.delivery.drain(0)
        await relay.server.stop()
        await relay.spool.close()
        await relay.journal.close()


async def test_a_running_relay_sees_that_the_secret_has_changed(tmp_path: Path) -> None:
    mounted(tmp_path, "bob@one.test")
    relay = Relay(replace(CONFIG, drain=Drain(unlist=0.0, grace=0.0)), Files(tmp_path), "relay")
    running = asyncio.create_task(relay.run(0, 0))
    await until(lambda: relay.suppression.size == 1)
    mounted(tmp_path, "rob@one.test")
    await until(lambda: relay.suppression.lists("rob@one.test") != "")
    assert relay.suppression.lists("bob@one.test") == ""
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
