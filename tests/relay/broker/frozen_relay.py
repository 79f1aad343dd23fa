"""A relay's spool in a process of its own, to be frozen while it holds records, and to try its old connections the moment it is thawed.

It is told by lines and answers by lines. While it waits for `late` its loop stands still, so that it tries everything before it can notice that
the brokers have closed anything.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from relayfleet.protocol import brokeruser
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import SpoolError
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.consumer import RabbitHeld
from relayfleet.relay.spool.record import Recipient, Record, new_id
from tests.relay.spool.support import until


def say(word: str, *numbers: float) -> None:
    print(word, *(round(each, 3) for each in numbers), flush=True)


async def main() -> None:
    told = json.loads(sys.argv[1])
    user = (brokeruser.username(told["relay"]), brokeruser.password(told["relay"], told["seed"]))
    broker = Broker(tuple(told["addresses"]), server_name=told["server_name"], queue_prefix=told["prefix"])
    spool = RabbitMQSpool(broker, lambda: user, told["ca_file"], name=told["relay"])
    spool.start()
    held = [await spool.take() for _ in range(told["hold"])]
    say("holding", len(held))
    sys.stdin.readline()  # nothing of the loop goes on
    late = asyncio.create_task(put(spool))
    say("acked", acknowledge(held))
    await late
    since = time.monotonic()
    await until(lambda: spool.ready, 30)
    say("back", time.monotonic() - since)
    await put(spool)
    await spool.close()


def acknowledge(held: list[RabbitHeld]) -> int:
    """Acknowledge all on the connections that they came on, down to the socket; how many the client still took for its own."""
    ours = [each for each in held if each.is_ours]
    for each in ours:
        each.let_go()
        each._channel.connection._flush()
    return len(ours)


async def put(spool: RabbitMQSpool) -> None:
    record = Record(new_id(), "late@example.com", (Recipient("b@example.org"),), b"late\r\n")
    try:
        await spool.put(record)
        say("stored")
    except SpoolError:
        say("unstored")


asyncio.run(main())
