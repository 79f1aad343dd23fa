"""Looking after brokers that list their queues and cannot count them, on real sockets: what is not known is not taken for nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from aiohttp import web

from relayfleet.controllers import queuebrokers
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.decide.queue.facts import Cluster, Pod
from relayfleet.decide.queue.members import additions
from relayfleet.decide.queue.statements import statements
from tests.unit.act.test_management import COUNTED, NODES, Broker, management, serving, without_coordinator

READY = {"name": "ready", "type": "quorum"}
JOURNAL = {"name": "journal", "type": "stream"}
PODS = tuple(Pod(f"mail-rabbitmq-{number}", node, ready=True, age=600.0) for number, node in enumerate(NODES))


def set_up(broker: Broker) -> Broker:
    """It answers whatever else is asked."""
    answers: dict[str, object] = {
        "overview": {"rabbitmq_version": "4.0.5"},
        "nodes?columns=name,running,mem_alarm,disk_free_alarm": [{"name": each, "running": True} for each in NODES],
        "feature-flags?columns=name,state": [],
    }
    broker.answers |= {("GET", f"/api/{path}"): web.json_response(answer) for path, answer in answers.items()}
    for user in ("relay", "prober"):
        broker.answers["PUT", f"/api/users/{user}"] = web.Response(status=204)
        broker.answers["PUT", f"/api/permissions/%2F/{user}"] = web.Response(status=204)
    return broker


async def test_such_brokers_are_not_called_unreachable_and_the_status_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = QueueMemory()
    broker = set_up(without_coordinator(READY, JOURNAL))
    async with serving(tmp_path, broker) as (endpoints, authority):
        admin = {"username": "operator", "password": "secret", "ca.crt": authority}
        client = {"username": "relay", "password": "x"}
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                memory.asked_at = float("-inf")
                await queuebrokers.look_after(endpoints, admin, client, PODS, memory)
    assert memory.unreachable == ""
    assert memory.brokers
    assert [each.name for each in memory.brokers.queues] == ["ready"]
    assert memory.brokers.queues[0].messages is None
    assert len([each for each in caplog.messages if "noproc" in each]) == 1, "the brokers' own words, once"
    said = {each.type: each for each in statements(Cluster(3, 3, PODS, memory.brokers, set_up=True, served=True))}
    assert (said["Ready"].status, said["Degraded"].status) == ("True", "True")
    assert said["Degraded"].reason == "CountsUnknown"
    assert "kubectl rollout restart statefulset mail-rabbitmq." in said["Degraded"].message
    assert "noproc" not in said["Degraded"].message, "it names another process each time"


async def test_what_is_not_counted_is_not_empty(tmp_path: Path) -> None:
    """Or a QueueCluster that is deleted would take its volumes along."""
    async with management(tmp_path, without_coordinator(READY, JOURNAL)) as made:
        assert await queuebrokers.records(made) is None


async def test_not_even_if_only_the_journal_is_listed(tmp_path: Path) -> None:
    async with management(tmp_path, without_coordinator(JOURNAL)) as made:
        assert await queuebrokers.records(made) is None


async def test_queues_that_are_counted_and_asked_are_empty(tmp_path: Path) -> None:
    broker = Broker()
    broker.answers["GET", COUNTED] = web.json_response([READY | {"vhost": "/", "messages": 0}, JOURNAL])
    broker.answers["POST", "/api/queues/%2F/ready/get"] = web.json_response([])
    async with management(tmp_path, broker) as made:
        assert await queuebrokers.records(made) == 0


async def test_the_name_that_a_relay_has_for_itself_holds_no_mail_and_is_not_asked(tmp_path: Path) -> None:
    """Only its connection may."""
    broker = Broker()
    name = {"name": "relayfleet.eu.mail.tx.v1.requeue", "type": "classic", "vhost": "/", "messages": 0}
    broker.answers["GET", COUNTED] = web.json_response([READY | {"vhost": "/", "messages": 0}, name, JOURNAL])
    broker.answers["POST", "/api/queues/%2F/ready/get"] = web.json_response([])
    async with management(tmp_path, broker) as made:
        assert await queuebrokers.records(made) == 0


async def test_no_queue_grows_while_nobody_says_which_of_its_members_are_up(tmp_path: Path) -> None:
    two = READY | {"members": list(NODES[:2]), "online": list(NODES[:2])}
    async with management(tmp_path, set_up(without_coordinator(two))) as made:
        brokers = await queuebrokers.read(made)
    assert additions(brokers, NODES) == []
