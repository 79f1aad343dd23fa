"""The SMTP server alone in a process, with a queue that confirms at once. Prints its port; at the end of its input, what it cost."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from relayfleet.protocol.relay_config import Broker, Limits, Listener, RelayConfig
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.spool.record import Record
from tests.fakes.spool import MemorySpool

CONFIG = RelayConfig(
    pool="bench/bench",
    region="eu",
    broker=Broker(addresses=("none:5671",)),
    listeners=(Listener("smtp", (0,), "None"),),
    allowed_networks=("127.0.0.0/8",),
    limits=Limits(session_messages=10**9, session_seconds=1e9),
)


class NoSpool(MemorySpool):
    """Confirms and forgets."""

    async def put(self, record: Record) -> None:
        return


async def main() -> None:
    server = SmtpServer(CONFIG, NoSpool(), "relay.example", address="127.0.0.1")
    await server.start()
    print(server.ports["smtp"][0], flush=True)
    began = time.process_time()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps({"accepted": server.counters.accepted, "cpu": time.process_time() - began}), flush=True)
    await server.stop()


if __name__ == "__main__":
    uvloop.run(main())
