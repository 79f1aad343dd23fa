"""The relay as it is put together: its rules are those of its configuration, and a change of it needs no restart."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Broker, DeliveryRule, Drain, RelayConfig, RuleTerm, dump
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.status import requeue_metrics
from tests.relay.delivery.desk import until

HOLD = DeliveryRule("incident", "Hold", (RuleTerm("credential", "news"),))
CONFIG = RelayConfig("test/pool", "eu", Broker(()), (), drain=Drain(unlist=0.0, grace=0.0), delivery_rules=(HOLD,))


async def test_a_running_relay_follows_a_rule_that_comes_and_one_that_goes(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.config.parent.mkdir()
    files.config.write_text(dump(CONFIG))
    relay = Relay(CONFIG, files, "relay")
    assert len(relay.delivery.rules) == 1
    running = asyncio.create_task(relay.run(0, 0))
    await until(lambda: bool(relay.server.ports) or relay.delivery._started)
    for rules in ((), (HOLD, replace(HOLD, name="other"))):
        files.config.write_text(dump(replace(CONFIG, delivery_rules=rules)))
        await until(lambda rules=rules: len(relay.delivery.rules) == len(rules))  # type: ignore[misc]
        assert relay.spool.requeuer._orders is relay.delivery.rules
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0


def test_what_is_requeued_is_counted_by_rule(tmp_path: Path) -> None:
    requeuer = Relay(CONFIG, Files(tmp_path), "r").spool.requeuer
    requeuer.looked = 7
    requeuer.moved["again"] += 2
    told = [
        (sample.name, *sample.labels.values(), sample.value)
        for each in requeue_metrics(requeuer)
        for sample in each.samples
    ]
    assert told == [("relayfleet_relay_requeue_looked_total", 7), ("relayfleet_relay_requeued_total", "again", 2)]


def test_no_waiting_mail_is_added_to_much_that_is_ready(tmp_path: Path) -> None:
    spool = Relay(CONFIG, Files(tmp_path), "r").spool
    assert not spool._may_requeue(), "there is no broker"
    for counts, room in (({}, True), ({".v1.ready.a": 600}, True), ({".v1.ready.b": 600, ".v1.wait.60.a": 9}, False)):
        spool._watermark.counted(counts)
        assert spool._has_room() is room


def test_a_relay_that_cannot_follow_a_rule_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    relay = Relay(replace(CONFIG, delivery_rules=(HOLD, replace(HOLD, name="b", action="Defer"))), Files(tmp_path), "r")
    assert len(relay.delivery.rules) == 1
    assert "delivery rules b have no effect here: update the relay's image" in caplog.text
