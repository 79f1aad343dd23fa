"""What we send is what an independent codec understands, and what it sends we understand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import base, commands, header
from pamqp import frame as other

from relayfleet.amqp import frames, methods
from relayfleet.amqp.content import Joiner, header_payload, properties
from relayfleet.amqp.errors import MalformedFrame


def understood(payload: bytes) -> object:
    """What the other codec reads from a method payload of ours."""
    _, _, method = other.unmarshal(frames.frame(frames.METHOD, 1, payload))
    return method


def test_the_other_codec_reads_our_methods() -> None:
    declare = understood(methods.queue_declare("q", passive=False, durable=True, arguments={"x-queue-type": "quorum"}))
    assert isinstance(declare, commands.Queue.Declare)
    assert (declare.queue, declare.passive, declare.durable, declare.exclusive, declare.auto_delete) == (
        "q",
        False,
        True,
        False,
        False,
    )
    assert declare.arguments == {"x-queue-type": "quorum"}
    publish = understood(methods.publish("", "q"))
    assert isinstance(publish, commands.Basic.Publish)
    assert (publish.exchange, publish.routing_key, publish.mandatory, publish.immediate) == ("", "q", True, False)
    nack = understood(methods.nack(7, multiple=False))
    assert isinstance(nack, commands.Basic.Nack)
    assert (nack.delivery_tag, nack.multiple, nack.requeue) == (7, False, True)
    ack = understood(methods.ack(9, multiple=True))
    assert isinstance(ack, commands.Basic.Ack)
    assert (ack.delivery_tag, ack.multiple) == (9, True)
    start = understood(methods.start_ok({"product": "x"}, "u", "p"))
    assert isinstance(start, commands.Connection.StartOk)
    assert (start.mechanism, start.response) == ("PLAIN", "\x00u\x00p")
    consume = understood(methods.consume("q", "t", {"x-priority": 1}))
    assert isinstance(consume, commands.Basic.Consume)
    assert (consume.queue, consume.consumer_tag, consume.no_ack, consume.arguments) == (
        "q",
        "t",
        False,
        {"x-priority": 1},
    )


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (commands.Connection.Tune(10, 4096, 60), methods.Tune(10, 4096, 60)),
        (commands.Connection.Close(320, "shutdown", 0, 0), methods.Close(320, "shutdown")),
        (commands.Connection.Blocked("low on disk"), methods.Blocked("low on disk")),
        (commands.Channel.Close(404, "no queue", 50, 10), methods.Close(404, "no queue")),
        (commands.Queue.DeclareOk("q", 3, 2), methods.DeclareOk("q", 3, 2)),
        (commands.Basic.Deliver("tag", 5, True, "", "q"), methods.Deliver(5, True, "tag")),
        (commands.Basic.Return(312, "NO_ROUTE", "", "q"), methods.Return(312, "NO_ROUTE")),
        (commands.Basic.Ack(4, True), methods.Ack(4, True)),
        (commands.Basic.Nack(4, True, False), methods.Nack(4, True)),
        (commands.Basic.Cancel("tag", True), methods.Cancelled("tag")),
    ],
)
def test_we_read_the_other_codecs_methods(theirs: base.Frame, ours: methods.Method) -> None:
    payload = other.marshal(theirs, 1)[7:-1]
    assert methods.parse(payload)[1] == ours


@given(st.binary(max_size=100))
def test_any_bytes_give_a_method_or_an_error(data: bytes) -> None:
    try:
        methods.parse(data)
    except MalformedFrame:
        return


def test_the_other_codec_reads_our_properties() -> None:
    payload = header_payload(2048, "01ABC.0", "17")
    _, _, read = other.unmarshal(frames.frame(frames.HEADER, 1, payload))
    assert isinstance(read, header.ContentHeader)
    assert read.body_size == 2048
    assert (read.properties.delivery_mode, read.properties.message_id, read.properties.correlation_id) == (
        2,
        "01ABC.0",
        "17",
    )


def test_the_other_codec_reads_when_a_message_expires() -> None:
    payload = header_payload(2048, "01ABC.0", "17", 2_592_000_000)
    _, _, read = other.unmarshal(frames.frame(frames.HEADER, 1, payload))
    assert isinstance(read, header.ContentHeader)
    assert read.properties.expiration == "2592000000"
    assert (read.properties.message_id, read.properties.correlation_id) == ("01ABC.0", "17")


def test_we_read_all_properties_of_the_other_codec() -> None:
    given_properties = commands.Basic.Properties(
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"x-delivery-count": 3},
        delivery_mode=2,
        priority=4,
        correlation_id="c",
        message_id="m",
        message_type="t",
        app_id="a",
    )
    payload = other.marshal(header.ContentHeader(0, 5, given_properties), 1)[7:-1]
    assert properties(payload) == {
        "content_type": "text/plain",
        "content_encoding": "utf-8",
        "headers": {"x-delivery-count": 3},
        "delivery_mode": 2,
        "priority": 4,
        "correlation_id": "c",
        "message_id": "m",
        "type": "t",
        "app_id": "a",
    }


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_body_frames_are_joined_to_the_announced_size(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    joiner = Joiner(10_000)
    message = joiner.header(header_payload(len(whole), "", ""))
    for index, chunk in enumerate(chunks):
        assert message is None, f"complete before chunk {index}"
        message = joiner.body(chunk)
    assert message is not None
    assert message[1] == whole


@pytest.mark.parametrize(("announced", "sent"), [(3, b"four"), (0, b"x")])
def test_more_body_than_announced_is_refused(announced: int, sent: bytes) -> None:
    joiner = Joiner(100)
    joiner.header(header_payload(announced, "", ""))
    with pytest.raises(MalformedFrame):
        joiner.body(sent)


def test_a_message_larger_than_any_can_be_is_refused_at_its_header() -> None:
    with pytest.raises(MalformedFrame, match="101 bytes"):
        Joiner(100).header(header_payload(101, "", ""))
