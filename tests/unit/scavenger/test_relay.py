"""The parts of a relay that yield, put together: claims tell how slow brokers are, hands follow, and the class is configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from prometheus_client.metrics_core import Metric

from relayfleet.protocol.relay_config import Broker, RelayConfig, dump, load
from relayfleet.relay.delivery import journal
from relayfleet.relay.delivery.journal import Witness
from relayfleet.relay.delivery.outcome import Place
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.scavenger.window import LEAST, LEAST_SHARE, MOST, Way
from relayfleet.relay.spool.interface import ClaimRefusedError, Held, SpoolUnavailable
from relayfleet.relay.spool.places import FRONT
from relayfleet.relay.status import scavenger_metrics
from tests.fakes.journal import MemoryJournal
from tests.fakes.spool import MemoryHeld, MemorySpool
from tests.relay.delivery.desk import a_record

CONFIG = RelayConfig("test/pool", "eu", Broker(()), ())
PLACE = Place("eu-1", "mx.test")


def held() -> Held:
    return cast("Held", MemoryHeld(MemorySpool(), a_record("b@there.test")))


async def test_a_claim_that_came_back_is_told_with_the_moment_when_it_left_and_one_that_did_not_as_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "CLAIM_PAUSE", 0.0)
    told, failed = list[float](), list[float]()
    memory = MemoryJournal(age=7.0, left_after=3.0)
    witness = Witness(memory, told.append, failed.append)
    memory.fail_next.append(SpoolUnavailable("away"))
    claim = await witness._claim(held(), ["b@there.test"], PLACE)
    assert told == [claim.asked_at + 3.0] == [claim.left_at]
    (asked_at,) = failed
    assert asked_at <= claim.asked_at + 7.0
    memory.fail_next.append(ClaimRefusedError("another's"))
    with pytest.raises(ClaimRefusedError):
        await witness._claim(held(), ["b@there.test"], PLACE)
    assert (len(told), len(failed)) == (1, 1), "a refusal is an answer and tells nothing of the brokers"


async def test_the_class_is_configuration_that_a_relay_follows_as_it_runs(tmp_path: Path) -> None:
    relay = Relay(CONFIG, Files(tmp_path), "relay")
    hands = relay.delivery._hands.of(FRONT)
    most = CONFIG.delivery.prefetch
    assert (relay.scavenger.bulk, hands.limit, list(scavenger_metrics(relay.scavenger))) == (False, most, [])
    Files(tmp_path).config.parent.mkdir()
    for bulk, limit in ((True, int(most * LEAST_SHARE)), (False, most)):
        Files(tmp_path).config.write_text(dump(replace(CONFIG, bulk=bulk)))
        await relay._reload()
        assert (relay.scavenger.bulk, hands.limit) == (bulk, limit)
        assert relay.server._services.scavenger is relay.scavenger


async def test_hands_open_as_claims_come_back_in_time(tmp_path: Path) -> None:
    relay = Relay(replace(CONFIG, bulk=True), Files(tmp_path), "relay")
    witness = relay.delivery._courier.witness
    for _ in range(MOST):
        witness._claimed(relay.scavenger.now())
    assert relay.delivery._hands.of(FRONT).limit == CONFIG.delivery.prefetch
    relay.scavenger.failed(relay.scavenger.now())
    assert relay.delivery._hands.of(FRONT).limit == CONFIG.delivery.prefetch // 2
    relay.scavenger.confirmed(Way.PUT_OFF, relay.scavenger.now())
    assert values(scavenger_metrics(relay.scavenger)) == {
        "relayfleet_relay_bulk_window": LEAST,
        "relayfleet_relay_bulk_hands": pytest.approx(0.5, abs=0.01),
        "relayfleet_relay_bulk_queue_seconds": 0.0,
        "relayfleet_relay_bulk_waited_seconds_total": 0.0,
    }


def test_an_operator_of_before_says_nothing_of_classes_and_means_transactional() -> None:
    assert load(dump(CONFIG)).bulk is False
    assert load(dump(CONFIG).replace('"bulk"', '"unheard-of"')).bulk is False


def values(metrics: Iterable[Metric]) -> dict[str, float]:
    return {sample.name: sample.value for each in metrics for sample in each.samples}
