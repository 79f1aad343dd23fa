"""Reads what the parties left: the client's list, the sink's records, the journal, the queues, the relays' logs. All by id of the try."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika

from relayfleet.children.rabbitmq import names
from relayfleet.relay.spool.rabbitmq.entries import Entry as Said
from relayfleet.relay.spool.rabbitmq.entries import decode as decode_said
from relayfleet.relay.spool.rabbitmq.topology import LADDER, Topology
from relayfleet.relay.spool.record import RecordError, decode
from tests.bench._faults_brokers import CLIENT, POOL, FaultBrokers
from tests.bench._faults_judge import Step
from tests.ledger.entries import Entry
from tests.relay.broker.cluster import BROKERS
from tests.sink.client import Line

SILENCE = 3.0
"""Seconds without another entry after which the journal is read."""
_TOLD = re.compile(r"^(\S+) \S+ \S+ id=(\S+) attempt=\d+ class=(\w+) .* to=(\S+) ")
_NOT_OURS = re.compile(r"^(\S+) \S+ \S+ id=(\S+) attempt=\d+ (?:not ours|handed back)")


@dataclass
class Left:
    """What is still in the queues: ids by queue; `strange` are bodies that are no record."""

    ids: dict[str, list[str]] = field(default_factory=dict)
    strange: int = 0

    @property
    def all(self) -> set[str]:
        """Ids in any queue."""
        return {each for ids in self.ids.values() for each in ids}


def id_of(address: str) -> str:
    """The local part, as the client made it."""
    return address.rpartition("@")[0].removeprefix("from-")


def steps(deeds: Iterable[Line], messages: Iterable[Line]) -> Iterator[Step]:
    """What the sink saw."""
    for each in deeds:
        refused = each["stage"] == "rcpt" and each["deed"].startswith("reply")
        for address in each["recipients"]:
            yield Step(id_of(address), "refused" if refused else each["stage"], each["time"], each["helo"])
    for each in messages:
        if each["from"]:
            for recipient in each["recipients"]:
                yield Step(id_of(recipient["address"]), "stored", each["time"], each["helo"])


def reported(messages: Iterable[Line]) -> set[str]:
    """Ids whose sender got a report (from <>)."""
    return {id_of(to["address"]) for each in messages if not each["from"] for to in each["recipients"]}


def altered(entries: Iterable[Entry], messages: Iterable[Line]) -> set[str]:
    """Ids that did not arrive byte for byte as they were sent."""
    sent = {each.test_id: (each.headers_sha256, each.body_sha256) for each in entries if each.outcome == "accepted"}
    came = ((each["test_id"], (each["headers_sha256"], each["body_sha256"])) for each in messages if each["from"])
    return {name for name, digests in came if name in sent and sent[name] != digests}


@dataclass
class Told:
    """What the relays said of ids in their logs. `deferred`: who put it off, at what time (Unix seconds), still being its holder."""

    uncertain: set[str] = field(default_factory=set)
    deferred: dict[str, list[tuple[float, str]]] = field(default_factory=dict)


def told(logs: Mapping[str, Path]) -> Told:
    """`logs` by the relay's HELO name."""
    found = Told()
    for helo, path in logs.items():
        with path.open(errors="replace") as lines:
            _read_log(helo, lines, found)
    return found


def _read_log(helo: str, lines: Iterable[str], found: Told) -> None:
    last: dict[str, list[str]] = {}
    for line in lines:
        if match := _TOLD.match(line):
            ids = [id_of(each.strip("<>")) for each in match[4].split(",")]
            if match[3] == "Uncertain":
                found.uncertain.update(ids)
            elif match[3] == "Transient":
                last[match[2]] = ids
                for each in ids:
                    found.deferred.setdefault(each, []).append((float(match[1]), helo))
        elif match := _NOT_OURS.match(line):
            for each in last.pop(match[2], []):
                found.deferred[each].pop()


async def journal(brokers: FaultBrokers) -> list[Said]:
    """All that the relays stated, as far as the stream still has it."""
    found: list[Said] = []
    async with await _connect(brokers) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=200)
        queue = await channel.get_queue(f"{POOL}.v1.journal", ensure=False)
        arguments = {"x-stream-offset": "first"}
        async with queue.iterator(arguments=arguments, timeout=SILENCE) as messages:
            try:
                async for message in messages:
                    found += decode_said(message.body)
                    await message.ack()
            except TimeoutError:
                return found
    return found


async def left(brokers: FaultBrokers) -> Left:
    """Empty all queues of mail; with another client than the relays'."""
    topology, found = Topology(POOL, len(BROKERS), LADDER), Left()
    async with await _connect(brokers) as connection:
        channel = await connection.channel()
        for name in [queue.name for lane in ("a", "b") for queue in topology.queues(lane)]:
            queue = await channel.get_queue(name, ensure=False)
            while message := await queue.get(fail=False, timeout=10):
                try:
                    record = decode(message.body)
                except RecordError:
                    found.strange += 1
                else:
                    found.ids.setdefault(name, []).extend(id_of(each.address) for each in record.recipients)
                await message.ack()
    return found


async def _connect(brokers: FaultBrokers) -> aio_pika.abc.AbstractConnection:
    context = ssl.create_default_context(cafile=str(brokers.folder / "tls" / "ca.crt"))
    context.check_hostname = False
    failure: Exception | None = None
    for number in BROKERS:
        try:
            return await aio_pika.connect(
                host=brokers.address(number), port=names.AMQPS, login=CLIENT["username"], password=CLIENT["password"],
                ssl=True, ssl_context=context, timeout=10,
            )  # fmt: skip
        except (TimeoutError, OSError, aio_pika.exceptions.AMQPError) as error:
            failure = error
    raise RuntimeError(f"no broker answers: {failure}")
