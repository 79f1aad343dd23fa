"""Moving a record to a provider lane, and new mail that goes there: which queue, which way, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.content import header_payload
from relayfleet.amqp.errors import AmqpError, ConnectionLost, Nacked, Returned
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.delivery.telling import DeliveryCounters
from relayfleet.relay.routing.providers import Providers
from relayfleet.relay.spool.interface import SpoolError, SpoolUnavailable, Successor
from relayfleet.relay.spool.places import FRONT, LANED, LOOK, PARK
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.consumer import Consumer, RabbitHeld
from relayfleet.relay.spool.rabbitmq.lane import OVERDUE, PublishLane
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.publisher import Publisher
from relayfleet.relay.spool.rabbitmq.source import Memory, Source
from relayfleet.relay.spool.rabbitmq.spool import MOST_RELEASED
from relayfleet.relay.spool.rabbitmq.topology import Lane, Topology
from relayfleet.relay.spool.rabbitmq.ways import Ways
from relayfleet.relay.spool.record import Recipient, Record, decode, encode
from relayfleet.relay.status import lane_metrics, parking_metrics

POOL = Topology("p", 3)
RECORD = Record("ID", "a@a.test", (Recipient("b@b.test"),), b"hello")


@dataclass
class Way:
    """A publishing lane that is up and confirms at once, after `confirms_after` seconds, or fails. `got`: the queues that it was given records for."""

    lane: Lane
    confirms_after: float = 0.0
    fails: AmqpError | None = None
    is_up: bool = True
    why_not: str = "down"
    overdue: bool = False
    blocked: str = ""
    got: list[str] = field(default_factory=list)
    link: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(address="x:1", why=""))

    def stalls(self) -> bool:
        """It is asked after some time only, and what confirms late does."""
        return self.confirms_after > 1.0

    def rank(self, preferred: bool) -> int:
        if not self.is_up:
            return 4
        return 3 if self.overdue else int(not preferred)

    def send(self, queue: str, body: bytes, message_id: str, expires: int | None) -> Any:
        self.got.append(queue)
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if stored.done():
                return
            if self.fails:
                stored.set_exception(self.fails)
            else:
                stored.set_result(None)

        asyncio.get_running_loop().call_later(self.confirms_after, end)
        return SimpleNamespace(stored=stored)


def spool(a: Way, b: Way, *, place: int | None = 3, usable: bool = True) -> RabbitMQSpool:
    subject = RabbitMQSpool(Broker((), queue_prefix="p"), lambda: ("", ""), lane_of=lambda recipients: place)
    subject._publisher.lanes = {"a": cast("PublishLane", a), "b": cast("PublishLane", b)}
    subject._lanes._used, subject._lanes._declared = usable, frozenset(LANED if usable else ())
    return subject


async def test_new_mail_goes_to_its_lane_by_the_connection_of_the_node_that_leads_it() -> None:
    a, b = Way("a"), Way("b")
    subject = spool(a, b)
    await subject.put(RECORD)
    assert (a.got, b.got) == ([], ["p.v1.lane.3"])
    assert (subject.uses_lanes, subject.puts_into_lanes) == (True, True)


@pytest.mark.parametrize(("place", "usable"), [(None, True), (3, False)])
async def test_mail_without_a_lane_and_of_a_pool_that_uses_none_goes_to_the_front(
    place: int | None, usable: bool
) -> None:
    a, b = Way("a"), Way("b")
    subject = spool(a, b, place=place, usable=usable)
    await subject.put(RECORD)
    assert (a.got, b.got) == (["p.v1.ready.a"], [])
    assert (subject.uses_lanes, subject.puts_into_lanes) == (usable, usable)


async def test_while_the_lanes_broker_stands_still_intake_goes_on_in_the_front() -> None:
    """The first one waits until its confirm is overdue; those after it find the lane untrusted."""
    a, b = Way("a"), Way("b", confirms_after=30.0)
    subject = spool(a, b)
    began = time.monotonic()
    await subject.put(RECORD)
    assert OVERDUE <= time.monotonic() - began < 10.0
    assert (a.got, b.got) == (["p.v1.ready.a"], ["p.v1.lane.3"])
    b.overdue = True
    await subject.put(RECORD)
    assert (a.got, b.got) == (["p.v1.ready.a"] * 2, ["p.v1.lane.3"])
    assert (subject.uses_lanes, subject.puts_into_lanes) == (False, True)


@pytest.mark.parametrize("dead", [Way("b", is_up=False), Way("b", fails=ConnectionLost("killed"))])
async def test_while_the_lanes_broker_is_gone_intake_goes_on_in_the_front(dead: Way) -> None:
    a = Way("a")
    subject = spool(a, dead)
    await subject.put(RECORD)
    assert a.got == ["p.v1.ready.a"]


async def test_a_report_that_is_due_at_once_goes_to_its_lane_too() -> None:
    a, b = Way("a"), Way("b")
    await spool(a, b)._succeed(Successor(RECORD))
    assert b.got == ["p.v1.lane.3"]


@pytest.mark.parametrize("failure", [Nacked("no"), ConnectionLost("killed")])
async def test_a_move_goes_to_its_lane_or_nowhere(failure: AmqpError) -> None:
    a, b = Way("a"), Way("b")
    subject = spool(a, b)
    await subject._move(RECORD, 5)
    b.fails = failure
    b.is_up = True
    publisher = subject._publisher
    publisher._up_at = float("-inf")
    with pytest.raises(SpoolError):
        await subject._move(RECORD, 5)
    assert a.got == []
    assert set(b.got) == {"p.v1.lane.5"}


async def test_counts_of_lanes_are_part_of_what_the_quota_knows() -> None:
    subject = spool(Way("a"), Way("b"))
    subject._lanes._there = (3, LOOK)
    assert list(subject._census._more("b")) == ["p.v1.lane.3", "p.v1.look"]
    assert list(subject._census._more("a")) == []
    subject._watermark.saw(100)
    subject._watermark.counted({"p.v1.lane.3": 7, "p.v1.look": 2, "p.v1.ready.a": 1})
    assert subject._watermark.estimate == 1000
    assert subject.laned == {3: 7, LOOK: 2}
    assert subject._has_room()


async def test_metrics_tell_of_the_lanes_that_there_are_by_their_providers_names() -> None:
    subject = spool(Way("a"), Way("b"))
    delivery = SimpleNamespace(counters=DeliveryCounters(records_moved=5), in_hands_of=lambda place: place)

    def told() -> dict[tuple[str, str], float]:
        found = lane_metrics(Providers(), cast("Any", delivery), subject)
        return {(sample.name, sample.labels.get("lane", "")): sample.value for each in found for sample in each.samples}

    assert told() == {("relayfleet_relay_lanes_used", ""): 1.0, ("relayfleet_relay_moved_total", ""): 5.0}
    subject._watermark.counted({"p.v1.lane.1": 7, "p.v1.lane.8": 0, "p.v1.look": 2, "p.v1.ready.a": 1})
    in_lanes = {key: value for key, value in told().items() if key[1]}
    assert in_lanes == {
        ("relayfleet_relay_lane_records", "microsoft"): 7,
        ("relayfleet_relay_lane_records", "shared-0"): 0,
        ("relayfleet_relay_lane_records", "look"): 2,
        ("relayfleet_relay_lane_in_hand", "microsoft"): 1,
        ("relayfleet_relay_lane_in_hand", "shared-0"): 8,
        ("relayfleet_relay_lane_in_hand", "look"): LOOK,
    }


class Channel:
    """What a consumer does to the broker."""

    def __init__(self) -> None:
        self.is_open = True
        self.acked: list[int] = []
        self.nacked: list[int] = []

    def ack(self, tag: int) -> None:
        if not self.is_open:
            raise ConnectionLost("gone")
        self.acked.append(tag)

    def nack(self, tag: int) -> None:
        if self.is_open:
            self.nacked.append(tag)


class Reading:
    """As much of a connection as memory has to do with."""

    def __init__(self) -> None:
        self.is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Scene:
    """A consumer that is handed deliveries; `move` is what storing a moved record does."""

    def __init__(self, move: Callable[[], None] = lambda: None) -> None:
        self.channel, self.moved = Channel(), list[tuple[str, int]]()
        self.move = move

        async def moves(record: Record, lane: int) -> None:
            self.move()
            self.moved.append((record.key, lane))

        async def stores(successor: Successor) -> None:
            raise AssertionError(successor)

        nobody = cast("Any", None)
        ways = Ways(lambda body, _: decode(body), stores, nobody, nobody, moves)
        self.consumer = Consumer(Target(Broker(()), lambda: ("", "")), POOL, 10, ways, lambda size: None)

    def deliver(self, tag: int, source: Source | None = None) -> None:
        delivery = Delivery(tag, False, header_payload(4, RECORD.key, "1"), encode(RECORD))
        self.consumer._deliver(cast("ConsumeChannel", self.channel), delivery, source)

    def taken(self, place: int = FRONT) -> RabbitHeld:
        held = self.consumer._buffers[place].get_nowait()
        self.consumer._unbuffer(held)
        return held


async def test_a_moved_record_is_let_go_of_after_it_is_stored_and_not_taken_for_a_finished_one() -> None:
    scene = Scene()
    scene.deliver(1)
    held = scene.taken()
    scene.move = lambda: scene.deliver(2, Source(3))  # its lane's consumer is quicker than the acknowledgement
    await held.move(3)
    assert (scene.moved, scene.channel.acked) == ([(RECORD.key, 3)], [1])
    again = scene.taken(3)
    assert again.place == 3
    await again.settle()
    assert scene.channel.acked == [1, 2]


async def test_a_move_that_fails_keeps_the_record_and_one_whose_connection_was_lost_says_so() -> None:
    def fails() -> None:
        raise SpoolUnavailable("no confirm")

    scene = Scene(fails)
    scene.deliver(1)
    held = scene.taken()
    with pytest.raises(SpoolUnavailable):
        await held.move(3)
    assert (held.is_ours, scene.channel.acked) == (True, [])

    def lost() -> None:
        scene.channel.is_open = False

    scene.move = lost
    with pytest.raises(SpoolUnavailable, match="in its lane"):
        await held.move(3)
    assert not held.is_ours
    with pytest.raises(SpoolUnavailable, match="not moved"):
        await held.move(3)
    assert scene.moved == [(RECORD.key, 3)], "and no third time"


async def test_a_copy_that_is_parked_takes_the_place_of_one_that_was_moved() -> None:
    scene = Scene()
    scene.deliver(1)
    scene.deliver(2, Source(LOOK))
    held = scene.taken()
    await held.move(3)
    copy = scene.taken(LOOK)
    scene.deliver(3, Source(3))
    await copy.settle()
    assert sorted(scene.channel.acked) == [1, 2, 3], "what was moved is dropped when it comes: it is done"


async def test_records_of_lanes_are_counted_until_they_are_let_go_of_or_handed_back() -> None:
    scene, reading = Scene(), Reading()
    size = len(encode(RECORD))
    memory = Memory(cast("Any", reading), most=size)
    scene.deliver(1, Source(3, memory))
    assert (memory.bytes, reading.is_reading) == (size, True)
    scene.deliver(2, Source(LOOK, memory))
    assert (memory.bytes, reading.is_reading) == (2 * size, False)
    held = scene.taken(3)
    held.release()
    assert (memory.bytes, reading.is_reading) == (size, False), "until there is room for some more"
    other = scene.taken(LOOK)
    await other.settle()
    assert (memory.bytes, reading.is_reading) == (0, True)
    other.release()
    assert memory.bytes == 0


def test_while_an_answer_is_waited_for_all_is_read_however_much_comes_before_it() -> None:
    reading = Reading()
    memory = Memory(cast("Any", reading), most=10)
    memory.came(20)
    states = [reading.is_reading]
    with memory.asking():
        states.append(reading.is_reading)
        memory.came(20)
        states.append(reading.is_reading)
    states.append(reading.is_reading)
    memory.gone(35)
    assert [*states, reading.is_reading] == [False, True, True, False, True]


async def test_a_relay_that_stands_aside_hands_back_what_is_in_the_buffers_of_lanes() -> None:
    scene = Scene()
    scene.deliver(1, Source(3))
    await scene.consumer.stop_taking()
    scene.deliver(2, Source(3))
    assert scene.channel.nacked == [1, 2]


def test_a_publisher_trusts_a_lane_that_confirms_in_time_or_is_due_for_a_trial() -> None:
    publisher = Publisher(Target(Broker(()), lambda: ("", "")), POOL, Tally())
    for way, trusted in ((Way("b"), True), (Way("b", overdue=True), False), (Way("b", is_up=False), False)):
        publisher.lanes["b"] = cast("PublishLane", way)
        assert publisher.trusts("b") is trusted


async def test_a_mail_is_parked_in_its_queue_and_nowhere_else_and_what_fails_is_looked_at_first() -> None:
    a, b = Way("a"), Way("b")
    subject = spool(a, b)
    subject._lanes._parks, subject._lanes._declared = True, frozenset({LOOK, PARK})
    assert (subject.parks, subject.uses_lanes) == (True, False)
    await subject._move(RECORD, PARK)
    assert (a.got, b.got) == ([], ["p.v1.park"])
    subject._watermark.counted({"p.v1.park": 7})
    assert (subject.parked, subject.laned) == (7, {})
    b.fails = Nacked("no majority")
    with pytest.raises(SpoolUnavailable):
        await subject._move(RECORD, PARK)
    assert (a.got, subject.parks) == ([], False)


async def test_a_move_to_a_queue_that_is_gone_fails_at_once_and_leaves_the_connection_to_others() -> None:
    a, b = Way("a"), Way("b", fails=Returned("no queue"))
    begun = list[str]()
    b.link.begin_again = begun.append
    subject = spool(a, b)
    subject._lanes._parks, subject._lanes._declared = True, frozenset({LOOK, PARK})
    subject._publisher._up_at = began = time.monotonic()
    with pytest.raises(SpoolUnavailable, match="no queue"):
        await subject._move(RECORD, PARK)
    assert time.monotonic() - began < 1.0
    assert (begun, b.got, subject.parks) == ([], ["p.v1.park"], False)


async def test_the_quota_hears_of_a_queue_of_parked_mail_that_is_gone() -> None:
    subject = spool(Way("a"), Way("b"))
    subject._lanes._park_is_there = True
    assert list(subject._census._more("b")) == ["p.v1.park"]
    subject._census._gone("p.v1.park")
    assert list(subject._census._more("b")) == []


async def test_parked_mail_is_let_go_as_fast_as_it_is_taken_by_what_was_counted_and_what_was_let_go_since() -> None:
    subject = spool(Way("a"), Way("b"))
    subject._watermark.counted({"p.v1.ready.a": MOST_RELEASED - 2})
    for _ in range(2):
        assert subject._has_room_for_parked()
        await subject._release("b", b"", "k.0")
    assert not subject._has_room_for_parked()
    assert subject._has_room()
    subject._watermark.counted({"p.v1.ready.a": 0})
    assert subject._has_room_for_parked()


def test_metrics_tell_of_parked_mail_and_of_trials() -> None:
    subject = spool(Way("a"), Way("b"))
    subject._watermark.counted({"p.v1.park": 7})
    subject.releaser.released = 3
    parking = SimpleNamespace(dead=2, tried={"silent": 9})
    delivery = SimpleNamespace(counters=DeliveryCounters(records_parked=5), parking=parking)
    found = parking_metrics(cast("Any", delivery), subject)
    told = {sample.name.removeprefix("relayfleet_relay_"): sample.value for each in found for sample in each.samples}
    assert told == {
        "parks": 0,
        "parked_records": 7,
        "parked_total": 5,
        "released_total": 3,
        "dead_destinations": 2,
        "trials_total": 9,
    }
