"""Connections to all the other nodes: all of them, or none that stays."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.dial import Address
from relayfleet.amqp.errors import Unreachable
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.rabbitmq.link import Target


class Nodes(Target):
    """`a` is asked, `b` answers at once, `c` as `last` says: never, or not at all."""

    made: Connection
    last: str

    async def dial(self, address: Address, purpose: str) -> Connection:
        if address.host == "b":
            return self.made
        if self.last == "refuses":
            await asyncio.sleep(0)
            raise Unreachable("c is away")
        await asyncio.Event().wait()
        raise AssertionError


def nodes(last: str) -> tuple[Nodes, Connection]:
    target = Nodes(Broker(("a:1", "b:1", "c:1")), lambda: ("", ""))
    target.made, target.last = Connection(), last
    asked = Connection()
    asked.peer = "a:1"
    return target, asked


async def test_when_one_cannot_be_reached_the_others_are_dropped() -> None:
    target, asked = nodes("refuses")
    with pytest.raises(Unreachable, match="c is away"):
        await target.dial_others(asked, "look")
    assert target.made.lost.done()


async def test_who_is_cancelled_leaves_none_behind() -> None:
    target, asked = nodes("hangs")
    dialing = asyncio.create_task(target.dial_others(asked, "look"))
    await asyncio.sleep(0.01)
    assert not target.made.lost.done()
    dialing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialing
    assert target.made.lost.done()
