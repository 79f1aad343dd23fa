"""The management client on real sockets with TLS, where it matters which broker is asked. Real brokers: tests/relay/broker."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from relayfleet.act.authority import new_authority, new_certificate
from relayfleet.act.broker.errors import BrokerErred, BrokerFailed, BrokerUnreachable
from relayfleet.act.broker.management import Endpoint, Management

HOST = "mail-rabbitmq-0.mail-rabbitmq.mail.svc"
NOW = datetime.datetime.now(datetime.UTC)


class Broker:
    """Answers what it is told to, by method and path; `asked` tells what came. `frozen`: nothing is answered. `broken`:
    connections end instead."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], web.Response] = {}
        self.asked: list[tuple[str, str]] = []
        self.frozen = False
        self.broken = False

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.raw_path))
        if self.frozen:
            await asyncio.sleep(60)
        if self.broken and request.transport:
            request.transport.abort()
        found = self.answers.get((request.method, request.raw_path), web.Response(status=404))
        return web.Response(status=found.status, body=found.body, content_type=found.content_type)  # each is sent once


@asynccontextmanager
async def serving(folder: Path, *brokers: Broker) -> AsyncIterator[tuple[list[Endpoint], str]]:
    """Where these listen, in this order, and the certificate of their authority."""
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
        yield endpoints, authority
    finally:
        for runner in runners:
            await runner.cleanup()


@asynccontextmanager
async def management(folder: Path, *brokers: Broker, deadline: float = 5.0) -> AsyncIterator[Management]:
    """A client for these, to be asked in this order."""
    async with (
        serving(folder, *brokers) as (endpoints, authority),
        Management(endpoints, "operator", "secret", authority, deadline) as made,
    ):
        yield made


async def test_a_question_goes_to_the_next_broker_when_one_is_frozen(tmp_path: Path) -> None:
    frozen, awake = Broker(), Broker()
    frozen.frozen = True
    path = "/api/connections?disable_stats=true&columns=user"
    awake.answers["GET", path] = web.json_response([{"user": "relay@a"}, {"user": "relay@a"}, {"user": "prober"}])
    async with management(tmp_path, frozen, awake, deadline=2.0) as made:
        assert await made.connected() == {"relay@a", "prober"}


async def test_to_remove_a_queue_one_broker_is_asked_and_no_other_when_that_does_not_answer(tmp_path: Path) -> None:
    """Or nobody would know that the first one may still do it, when it goes on."""
    frozen, awake = Broker(), Broker()
    frozen.frozen = True
    async with management(tmp_path, frozen, awake, deadline=2.0) as made:
        with pytest.raises(BrokerUnreachable, match="no answer in time"):
            await made.delete_queue("/", "relayfleet.eu.mail.tx.v1.ready.a")
    assert frozen.asked == [("DELETE", "/api/queues/%2F/relayfleet.eu.mail.tx.v1.ready.a")]
    assert awake.asked == []


async def test_a_removal_is_sent_once_when_the_connection_ends_without_an_answer(tmp_path: Path) -> None:
    """Or one of two may be carried out when the queue is another one already. Other questions may be sent again."""
    broker = Broker()
    broker.broken = True
    async with management(tmp_path, broker) as made:
        with pytest.raises(BrokerUnreachable, match="the connection was lost"):
            await made.delete_queue("/", "q")
        assert broker.asked == [("DELETE", "/api/queues/%2F/q")]
        with pytest.raises(BrokerUnreachable):
            await made.version()
    assert len(broker.asked) == 3


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


COLUMNS = "columns=name,vhost,type,leader,members"
COUNTED = f"/api/queues?disable_stats=true&enable_queue_totals=true&{COLUMNS},online,messages"
LISTED = f"/api/queues?disable_stats=true&{COLUMNS}"
NOPROC = "rabbit_stream_queue,i,[online,...],{case_clause,{error,noproc}}"


NODES = ("rabbit@0", "rabbit@1", "rabbit@2")


def without_coordinator(*queues: Mapping[str, object]) -> Broker:
    """Lists these, and fails as RabbitMQ 4.0.5 does when it is to count them and its stream coordinator is gone. Like that one it has an own
    meaning of `online`, and does not leave it out."""
    broker = Broker()
    broker.answers["GET", COUNTED] = web.json_response({"error": "Internal Server Error", "reason": NOPROC}, status=500)
    listed = [{"vhost": "/", "members": list(NODES), "online": list(NODES), **each} for each in queues]
    broker.answers["GET", LISTED] = web.json_response(listed)
    return broker


async def test_queues_are_listed_without_counts_when_no_broker_can_count_them(tmp_path: Path) -> None:
    found = ({"name": "ready", "type": "quorum"}, {"name": "journal", "type": "stream"})
    brokers = [without_coordinator(*found) for _ in range(3)]
    async with management(tmp_path, *brokers) as made:
        listing = await made.listing()
        assert await made.queues() == list(listing.queues)
    assert [each["name"] for each in listing.queues] == ["ready", "journal"]
    assert not any({"messages", "online"} & each.keys() for each in listing.queues), "unknown, and not 0 or none"
    assert "500" in listing.uncounted
    assert "noproc" in listing.uncounted
    assert all(("GET", COUNTED) in each.asked for each in brokers), "another one might have known"


async def test_one_broker_that_can_count_is_enough(tmp_path: Path) -> None:
    able = Broker()
    able.answers["GET", COUNTED] = web.json_response([{"name": "ready", "messages": 3}])
    async with management(tmp_path, without_coordinator(), able) as made:
        listing = await made.listing()
    assert (listing.queues, listing.uncounted) == (({"name": "ready", "messages": 3},), "")
    assert [path for _, path in able.asked] == [COUNTED]


async def test_brokers_that_do_not_list_queues_either_have_failed(tmp_path: Path) -> None:
    broker = without_coordinator()
    broker.answers["GET", LISTED] = web.Response(status=503)
    async with management(tmp_path, broker) as made:
        with pytest.raises(BrokerErred, match="503") as caught:
            await made.listing()
    assert caught.value.status == 503


@pytest.mark.parametrize("status", [400, 405])
async def test_a_question_that_brokers_refuse_is_not_asked_in_another_way(tmp_path: Path, status: int) -> None:
    broker = without_coordinator()
    broker.answers["GET", COUNTED] = web.Response(status=status)
    async with management(tmp_path, broker) as made:
        with pytest.raises(BrokerFailed, match=str(status)):
            await made.listing()
    assert [path for _, path in broker.asked] == [COUNTED]


async def test_what_broke_in_one_broker_is_done_by_no_other(tmp_path: Path) -> None:
    """The first one may have done it all the same."""
    broken, other = Broker(), Broker()
    broken.answers["DELETE", "/api/queues/%2F/q"] = web.Response(status=500)
    async with management(tmp_path, broken, other) as made:
        with pytest.raises(BrokerErred):
            await made.delete_queue("/", "q")
    assert other.asked == []
