"""Brokers of somebody else: who answers as AMQP does is there, and whoever does not costs little time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pamqp import commands
from pamqp import frame as codec

from relayfleet.api.queuecluster import QueueClusterSpec
from relayfleet.controllers import queueexternal
from relayfleet.kube.client import Object
from relayfleet.observe import greeting
from relayfleet.observe.greeting import Greeting, greet
from tests.fakes import ports
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import context

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]
heard: list[bytes] = []


async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if await reader.readexactly(8) == b"AMQP\x00\x00\x09\x01":
        writer.write(codec.marshal(commands.Connection.Start(), 0))
    heard.append(await reader.read())


async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 smtp.example.test\r\n" * 9)
    await reader.read()


async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"\x08\x00\x00\x00\x00\x00\x00\xce" * 512)
        await writer.drain()


async def leaves(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    return


@contextlib.asynccontextmanager
async def listening(behaviour: Behaviour) -> AsyncIterator[str]:
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await behaviour(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for each in writers:
            each.transport.abort()
        await asyncio.sleep(0.05)


async def test_a_broker_is_greeted_and_left_without_a_login() -> None:
    heard.clear()
    async with listening(broker) as address:
        assert await greet(address, 5, tls=False) == Greeting()
        async with asyncio.timeout(5):
            while not heard:  # noqa: ASYNC110 - the other side's doing
                await asyncio.sleep(0.01)
    assert heard == [b""]


@pytest.mark.parametrize(
    ("behaviour", "tls", "words"),
    [
        (mute, False, "no answer"),
        (mute, True, "no answer"),
        (garbage, False, "does not"),
        (garbage, True, "TLS"),
        (endless, False, "far more than was asked for"),
        (leaves, False, "break"),
        (leaves, True, "break"),
    ],
)
async def test_whoever_does_not_answer_as_a_broker_costs_the_deadline_at_most(
    behaviour: Behaviour, tls: bool, words: str
) -> None:
    async with listening(behaviour) as address:
        began = time.monotonic()
        assert words in (await greet(address, 0.5 if behaviour is mute else 10.0, tls=tls)).failure
        assert time.monotonic() - began < 10


async def test_an_address_that_is_none_or_leads_nowhere_says_so() -> None:
    assert await greet(f"127.0.0.1:{ports.unused()[0]}", 5, tls=False) == Greeting("connections are refused")
    assert "host:port" in (await greet("nowhere", 5, tls=False)).failure


@pytest.mark.parametrize(
    ("properties", "version"),
    [
        ({"product": "RabbitMQ", "version": "4.0.5"}, "4.0.5"),
        ({"product": "RabbitMQ", "version": "4.2.0-rc.1"}, "4.2.0"),
        ({"product": "RabbitMQ", "version": "3.13.7+5.gabc"}, "3.13.7"),
        ({"product": "RabbitMQ", "version": "4.0.5 <b>" * 9}, "4.0.5"),
        ({"product": "RabbitMQ", "version": "newest"}, ""),
        ({"product": "RabbitMQ", "version": 4}, ""),
        ({"product": "RabbitMQ"}, ""),
        ({"product": "Another", "version": "2.1.0"}, ""),
        ({"version": "4.0.5"}, ""),
    ],
)
async def test_a_rabbitmq_tells_its_version_and_nothing_else_gets_into_it(
    properties: dict[str, Any], version: str
) -> None:
    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(codec.marshal(commands.Connection.Start(server_properties=properties), 0))
        await reader.read()

    async with listening(says) as address:
        assert await greet(address, 5, tls=False) == Greeting(version=version)


def queue(*addresses: str) -> Object:
    return {
        "apiVersion": "relayfleet.io/v1alpha1",
        "kind": "QueueCluster",
        "metadata": {"namespace": "mail", "name": "ext", "generation": 1},
        "spec": {"type": "External", "external": {"addresses": list(addresses), "credentialsRef": {"name": "x"}}},
    }


async def test_only_the_second_failure_in_a_row_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(queue("a:5671"))
    made = context(kube)
    answers: list[str] = []

    async def asked(*_: Any, **__: Any) -> Greeting:
        return Greeting(answers.pop(0))

    monkeypatch.setattr(greeting, "greet", asked)

    async def look(answer: str) -> tuple[float, str]:
        answers.append(answer)
        spec = QueueClusterSpec.model_validate(queue("a:5671")["spec"])
        assert spec.external
        wait = await queueexternal.reconcile(made, kube.seen("QueueCluster", "ext"), spec, spec.external)
        conditions = kube.seen("QueueCluster", "ext")["status"]["conditions"]
        return wait, next(each["status"] for each in conditions if each["type"] == "Ready")

    assert await look("") == (queueexternal.CALM, "True")
    assert await look("refused") == (queueexternal.UNCALM, "True")
    assert await look("refused") == (queueexternal.UNCALM, "False")
    assert await look("") == (queueexternal.CALM, "True")


async def test_the_oldest_version_is_told_and_stays_told_while_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(queue("a:5671", "b:5671", "c:5671"))
    made = context(kube)
    answers = {"a:5671": Greeting(version="4.1.5"), "b:5671": Greeting(version="4.0.4"), "c:5671": Greeting()}

    async def asked(address: str, *_: Any, **__: Any) -> Greeting:
        return answers[address]

    monkeypatch.setattr(greeting, "greet", asked)

    async def look() -> tuple[str, dict[str, tuple[str, str]]]:
        spec = QueueClusterSpec.model_validate(queue("a:5671", "b:5671", "c:5671")["spec"])
        assert spec.external
        await queueexternal.reconcile(made, kube.seen("QueueCluster", "ext"), spec, spec.external)
        status = kube.seen("QueueCluster", "ext")["status"]
        return status["version"], {each["type"]: (each["reason"], each["message"]) for each in status["conditions"]}

    version, said = await look()
    assert version == "4.0.4" and said["Ready"][0] == "Serving"
    assert said["Degraded"][0] == "VersionUnsupported" and said["Degraded"][1].startswith("b:5671: RabbitMQ 4.0.4 ")
    answers.update(dict.fromkeys(answers, Greeting("connections are refused")))
    version, said = await look()
    assert version == "4.0.4" and said["Degraded"][0] == "VersionUnsupported"  # one lost answer is no news
    version, said = await look()
    assert version == "4.0.4" and said["Degraded"][0] == "BrokerUnreachable"
