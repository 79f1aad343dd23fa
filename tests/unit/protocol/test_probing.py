"""The words between leader and prober: what is said is understood, and what is not said right is refused."""

from __future__ import annotations

import pytest

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
        b'{"seen":[["a","Silent","Dialogue",0,0,0,["x"]]],"now":1}',
        b'{"seen":[["a","Guessed","Dialogue",0,0,0,[]]],"now":1}',
        b'{"seen":[[1,"Answered","Dialogue",0,0,0,[]]],"now":1}',
        b'{"burst":[]}',
    ],
)
def test_what_is_no_sight_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_seen(line)
