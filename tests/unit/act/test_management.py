"""The management client on real sockets with TLS, where it matters which broker is asked. Real brokers: tests/relay/broker."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from relayfleet.act.authority import new_authority, new_certificate
from relayfleet.act.broker.errors import BrokerFailed, BrokerUnreachable
from relayfleet.act.broker.management import Endpoint, Management

HOST = "mail-rabbitmq-0.mail-rabbitmq.mail.svc"
NOW = datetime.datetime.now(datetime.UTC)


class Broker:
    """Answers what it is told to, by method and path; `asked` tells what came. `frozen`: nothing is answered."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], web.Response] = {}
        self.asked: list[tuple[str, str]] = []
        self.frozen = False

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.raw_path))
        if self.frozen:
            await asyncio.sleep(60)
        return self.answers.get((request.method, request.raw_path), web.Response(status=404))


@asynccontextmanager
async def management(folder: Path, *brokers: Broker, deadline: float = 5.0) -> AsyncIterator[Management]:
    """A client for these, to be asked in this order."""
    authority, key = new_authority("mail", NOW)
    for name, text in zip(("crt", "key"), new_certificate(authority, key, "mail", [HOST], NOW), strict=True):
        (folder / name).write_text(text)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "crt", folder / "key")
    runners, endpoints = [], []
    for each in brokers:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", each.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        runners.append(runner)
        endpoints.append(Endpoint("127.0.0.1", HOST, runner.addresses[0][1]))
    try:
        async with Management(endpoints, "operator", "secret", authority, deadline) as made:
            yield made
    finally:
        for runner in runners:
            await runner.cleanup()


async def test_a_question_goes_to_the_next_broker_when_one_is_frozen(tmp_path: Path) -> None:
    frozen, awake = Broker(), Broker()
    frozen.frozen = True
    path = "/api/connections?disable_stats=true&columns=user"
    awake.answers["GET", path] = web.json_response([{"user": "relay@a"}, {"user": "relay@a"}, {"user": "prober"}])
    async with management(tmp_path, frozen, awake, deadline=0.5) as made:
        assert await made.connected() == {"relay@a", "prober"}


async def test_to_remove_a_queue_one_broker_is_asked_and_no_other_when_that_does_not_answer(tmp_path: Path) -> None:
    """Or nobody would know that the first one may still do it, when it goes on."""
    frozen, awake = Broker(), Broker()
    frozen.frozen = True
    async with management(tmp_path, frozen, awake, deadline=0.5) as made:
        with pytest.raises(BrokerUnreachable, match="no answer in time"):
            await made.delete_queue("/", "relayfleet.eu.mail.tx.v1.ready.a")
    assert frozen.asked == [("DELETE", "/api/queues/%2F/relayfleet.eu.mail.tx.v1.ready.a")]
    assert awake.asked == []


async def test_whether_there_was_a_queue_to_remove(tmp_path: Path) -> None:
    broker = Broker()
    broker.answers["DELETE", "/api/queues/%2F/there"] = web.Response(status=204)
    broker.answers["DELETE", "/api/queues/%2F/refused"] = web.json_response({"reason": "locked"}, status=400)
    async with management(tmp_path, broker) as made:
        assert await made.delete_queue("/", "there")
        assert not await made.delete_queue("/", "gone")
        with pytest.raises(BrokerFailed, match="locked"):
            await made.delete_queue("/", "refused")


async def test_which_queues_are_consumed(tmp_path: Path) -> None:
    broker = Broker()
    found = [
        {"queue": {"name": "a"}, "channel_details": {"name": "1"}},
        {"queue": {"name": "a"}, "channel_details": {"name": "2"}},
        {"queue": {"name": "stream"}, "channel_details": []},
    ]
    broker.answers["GET", "/api/consumers/%2F?columns=queue.name,channel_details"] = web.json_response(found)
    async with management(tmp_path, broker) as made:
        assert await made.consumed("/") == {"a"}
