"""The words between leader and prober: what is said is understood, and what is not said right is refused."""

from __future__ import annotations

import json

import pytest

from relayfleet.protocol.brokerprobing import MOST_WHY, BrokerSight, BrokerTarget
from relayfleet.protocol.probing import (
    Burst,
    Hello,
    ProtocolError,
    Seen,
    Sight,
    Target,
    Watch,
    decode_order,
    decode_seen,
    encode,
)


@pytest.mark.parametrize(
    "order",
    [
        Hello("operator-1", 7),
        Watch(()),
        Watch((Target("a/b/c", "10.0.0.1", 2520, True, 1, 0.5, ("10.0.0.0/8",)),)),
        Watch((Target("a/b/c", "10.0.0.1", 2520, discard="w0rd@discard.relayfleet.invalid"),)),
        Burst(("a/b/c",)),
    ],
)
def test_an_order_arrives_as_it_was_given(order: Hello | Watch | Burst) -> None:
    assert decode_order(encode(order)) == order


TARGET = b'"key":"a","host":"h","port":25,"implicit_tls":false,"interval":1,"timeout":1,"proxy_sources":[]'


def test_a_leader_that_knows_no_discard_address_is_understood() -> None:
    assert decode_order(b'{"watch":[{%s}]}' % TARGET) == Watch((Target("a", "h", 25, interval=1, timeout=1),))


@pytest.mark.parametrize("address", [b'"a@b>\r\nRSET"', b'"a b@c"', b'"@b"', b"7", b"null"])
def test_a_discard_address_that_could_hold_commands_is_refused(address: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_order(b'{"watch":[{%s,"discard":%s}]}' % (TARGET, address))


def test_a_sight_arrives_as_it_was_seen() -> None:
    seen = Seen(
        (
            Sight("a", "Answered", "Dialogue", 0.1, latency=0.002),
            Sight("a", "Silent", "Connect", 0.0, open=(0.5, 0.25)),
            Sight("a", "Erred", "Transaction", 0.0, latency=0.01, code=451),
            Sight("a", "Silent", "Storage", 0.0, open=(2.0,)),
        ),
        now=12.5,
    )
    assert decode_seen(encode(seen)) == seen


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\n",
        b"[]",
        b'{"watch":[{"key":"a"}]}',
        b'{"watch":[{"key":"a","host":"h","port":0,"implicit_tls":false,"interval":1,"timeout":1,"proxy_sources":[]}]}',
        b'{"watch":[{"key":"a","host":"h","port":25,"implicit_tls":false,"interval":0,"timeout":1,"proxy_sources":[]}]}',
        b'{"burst":[1]}',
        b'{"hello":{"identity":"x"}}',
    ],
)
def test_what_is_no_order_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_order(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"seen":[["a","Answered","Dialogue",-1,0,0,[]]],"now":1}',
        b'{"seen":[["a","Answered","Dialogue",NaN,0,0,[]]],"now":1}',
        b'{"seen":[["a","Answered","Dialogue",Infinity,0,0,[]]],"now":1}',
        b'{"seen":[["a","Answered","Dialogue",1' + b"0" * 400 + b',0,0,[]]],"now":1}',
        b"[" * 100_000,
        b'{"seen":[["a","Silent","Dialogue",0,0,0,["x"]]],"now":1}',
        b'{"seen":[["a","Guessed","Dialogue",0,0,0,[]]],"now":1}',
        b'{"seen":[[1,"Answered","Dialogue",0,0,0,[]]],"now":1}',
        b'{"burst":[]}',
    ],
)
def test_what_is_no_sight_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_seen(line)


BROKER = BrokerTarget("mail/q/q-0/u", "198.18.0.1", 5671, "q-0.q.mail.svc", "/", 3, "PEM" * 100, "prober", "s3cret")


def test_brokers_are_named_beside_relays_and_told_of_beside_them() -> None:
    watch = Watch((Target("a/b/c", "10.0.0.1", 2520),), (BROKER,))
    assert decode_order(encode(watch)) == watch
    sights = (
        BrokerSight("mail/q/q-0/u", "Answered", "Publish", 0.0, latency=0.004),
        BrokerSight("mail/q/q-0/u", "Silent", "Connect", 0.1, since=2.5, why="a new connection gets no answer"),
    )
    seen = Seen((Sight("a", "Answered", "Dialogue", 0.1, latency=0.002),), 12.5, sights)
    assert decode_seen(encode(seen)) == seen


def test_a_side_that_does_not_know_of_brokers_is_understood() -> None:
    assert decode_order(b'{"watch":[]}') == Watch(())
    assert decode_seen(b'{"seen":[],"now":1}') == Seen((), 1.0)


def test_a_long_reason_is_cut_and_not_refused() -> None:
    sight = BrokerSight("k", "Erred", "Connect", 0.0, why="x" * 5000)
    (read,) = decode_seen(encode(Seen((), 1.0, (sight,)))).brokers
    assert len(read.why) == MOST_WHY


@pytest.mark.parametrize(
    "rows",
    [
        b"{}",
        b"[7]",
        b'[["k","Guessed","Publish",0,0,0,""]]',
        b'[["k","Silent","Dialogue",0,0,0,""]]',
        b'[["k","Silent","Publish",-1,0,0,""]]',
        b'[["k","Silent","Publish",0,NaN,0,""]]',
        b'[["k","Silent","Publish",0,0,0,7]]',
        b'[["k","Silent","Publish",0,0,0,"%s"]]' % (b"x" * (MOST_WHY + 1)),
    ],
)
def test_what_is_no_sight_of_a_broker_is_refused(rows: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_seen(b'{"seen":[],"now":1,"brokers":%s}' % rows)


@pytest.mark.parametrize(
    ("field", "value"), [("port", 0), ("port", "x"), ("replicas", 0), ("interval", 0), ("password", None), ("key", 7)]
)
def test_what_is_no_broker_to_probe_is_refused_and_its_password_is_not_told(field: str, value: object) -> None:
    body = json.loads(encode(Watch((), (BROKER,))))
    body["brokers"][0][field] = value
    with pytest.raises(ProtocolError) as refused:
        decode_order(json.dumps(body).encode())
    assert "s3cret" not in str(refused.value)


def test_a_garbled_order_tells_no_password() -> None:
    with pytest.raises(ProtocolError) as refused:
        decode_order(encode(Watch((), (BROKER,)))[:-3])
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(BROKER)
