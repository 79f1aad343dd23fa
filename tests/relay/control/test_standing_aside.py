"""A relay with real sockets on all sides but the queue's: ordered to leave it takes nothing more, ordered to serve it is as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Delivery
from relayfleet.protocol.telemetry import Attempts, Hello, Order, Stand
from relayfleet.relay.control.keys import Keys
from relayfleet.relay.control.orders import Obedience
from relayfleet.relay.control.pulse import Pulse
from relayfleet.relay.control.server import ControlServer
from relayfleet.relay.control.vitals import Vitals
from relayfleet.relay.control.windows import Windows
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.spool.interface import SpoolFull, SpoolUnavailable
from relayfleet.relay.spool.places import PLACES
from tests.fakes.leader import Authority, Leader, leading, led
from tests.fakes.peer import Talk, peer
from tests.relay.delivery.desk import Desk, a_record, desk, until
from tests.relay.server.harness import connected, serving

ZONE = {("one.test", "MX"): ["10 mx.one.test."], ("mx.one.test", "A"): ["127.0.0.1"]}
LEAVE, SERVE = Order(Stand.LEAVE, "PathSilent: probes unanswered"), Order(Stand.SERVE, "answers again")
EPOCH = 7
MAIL = b"Subject: x\r\n\r\nhi\r\n.\r\n"


@dataclass
class SlowPeer:
    """Takes mail; the answer to the dot waits for the gate."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    dots: int = 0

    async def behave(self, talk: Talk) -> None:
        await talk.greet()
        while (line := await talk.hear()) != "QUIT":
            if line != "DATA":
                talk.say(b"250 ok\r\n")
                continue
            talk.say(b"354 go on\r\n")
            await talk.hear_mail()
            self.dots += 1
            await self.gate.wait()
            talk.say(b"250 taken\r\n")


@dataclass
class Scene:
    """Everything of one relay, and its leader."""

    remote: SlowPeer
    desk: Desk
    server: SmtpServer
    control: ControlServer
    authority: Authority
    leader: Leader

    async def order(self, order: Order) -> None:
        """Give it, and hear that it is obeyed."""
        self.leader.say(order)
        async with asyncio.timeout(20):
            while (await self.leader.hear()).stand is not order.stand:
                pass


@asynccontextmanager
async def relay(folder: Path) -> AsyncIterator[Scene]:
    authority, remote, pulse = Authority(folder / "authority"), SlowPeer(), Pulse()
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(peer(remote.behave))
        delivery = Delivery(sessions_per_destination=1, prefetch=4)
        subject = await stack.enter_async_context(desk(ZONE, running.port, delivery=delivery))
        server = await stack.enter_async_context(serving(spool=subject.spool))
        obedience = Obedience(server, subject.service)
        windows = Windows(
            subject.service.pool.tally,
            lambda: (server.counters.accepted, server.deferred),
            Vitals(lambda: server.load, pulse),
            lambda: obedience.stand,
        )
        control = ControlServer(Keys(authority.mount(folder / "control")), windows, obedience.obey, "127.0.0.1")
        tasks = [asyncio.create_task(each) for each in (control.run(0), obedience.run())]
        try:
            await until(lambda: control.port != 0)
            leader = await stack.enter_async_context(led(control.port, authority.client(), EPOCH))
            yield Scene(remote, subject, server, control, authority, leader)
        finally:
            remote.gate.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            pulse.close()


async def test_ordered_to_leave_it_answers_421_and_ordered_to_serve_it_takes_mail_again(tmp_path: Path) -> None:
    async with relay(tmp_path) as scene, connected(scene.server) as idle, connected(scene.server) as sending:
        scene.remote.gate.set()
        await idle.hello()
        await sending.envelope()
        await scene.order(LEAVE)
        assert (await idle.say(b"MAIL FROM:<a@b.c>")).startswith(b"421 4.3.2 ")
        assert await idle.rest() == b""
        async with connected(scene.server, greeted=False) as late:
            assert (await late.reply()).startswith(b"421 4.3.2 "), "it listens, and says why not"
        sending.send(MAIL)
        assert (await sending.reply()).startswith(b"250"), "what was begun is finished"
        await scene.order(SERVE)
        async with connected(scene.server) as again:
            await again.envelope(b"you@one.test")
            again.send(MAIL)
            assert (await again.reply()).startswith(b"250")


async def test_records_that_nobody_began_go_back_and_the_one_at_a_peer_is_finished(tmp_path: Path) -> None:
    async with relay(tmp_path) as scene:
        spool, service = scene.desk.spool, scene.desk.service
        records = [a_record(f"{number}@one.test") for number in range(7)]
        for record in records:
            await spool.put(record)
        await until(lambda: scene.remote.dots == 1 and service.in_hand == 4)
        await scene.order(LEAVE)
        await until(lambda: service.in_hand == 1)
        assert [held.record.id for held in spool.held] == [records[0].id]
        assert {record.id for record, _ in spool.waiting} == {each.id for each in records[1:]}
        scene.remote.gate.set()
        await until(lambda: service.counters.records_settled == 1)
        await asyncio.sleep(0.05)
        assert (scene.remote.dots, len(spool.waiting), spool.held) == (1, 6, [])
        await scene.order(SERVE)
        await until(lambda: service.counters.records_settled == len(records))
        assert scene.remote.dots == len(records), "none was sent twice"


async def test_an_order_that_is_called_back_at_once_loses_no_record(tmp_path: Path) -> None:
    async with relay(tmp_path) as scene:
        scene.remote.gate.set()
        records = [a_record(f"{number}@one.test") for number in range(40)]
        for record in records:
            await scene.desk.spool.put(record)
            if record.id in {each.id for each in records[::4]}:
                await scene.order(LEAVE)
                await scene.order(SERVE)
        await until(lambda: scene.desk.service.counters.records_settled == len(records))
        assert scene.remote.dots == len(records)


@pytest.mark.parametrize("orders", [("pause",), ("pause", "resume"), ("pause", "resume", "pause")])
async def test_orders_that_come_while_a_relay_starts_count_from_the_start(orders: tuple[str, ...]) -> None:
    """Between the first word of its leader and its first record a relay looks up its keys and reads its list."""
    remote = SlowPeer()
    remote.gate.set()
    async with peer(remote.behave) as running, desk(ZONE, running.port, starts=False) as subject:
        for each in orders:
            await getattr(subject.service, each)()
        subject.service.start()
        await subject.spool.put(a_record("a@one.test"))
        if orders[-1] == "pause":
            await asyncio.sleep(0.1)
            assert (remote.dots, subject.service.in_hand) == (0, 0)
            await subject.service.resume()
        await until(lambda: subject.service.counters.records_settled == 1)
        takers = [each for each in asyncio.all_tasks() if "_take_all" in repr(each)]
        assert (remote.dots, len(takers)) == (1, len(PLACES))


async def test_a_drain_is_not_called_back(tmp_path: Path) -> None:
    async with relay(tmp_path) as scene:
        await scene.desk.spool.put(a_record("a@one.test"))
        await until(lambda: scene.remote.dots == 1)
        drains = [asyncio.create_task(each) for each in (scene.server.drain(), scene.desk.service.drain(20.0))]
        await scene.order(LEAVE)
        await scene.order(SERVE)
        await scene.desk.spool.put(a_record("b@one.test"))
        async with connected(scene.server, greeted=False) as late:
            assert (await late.reply()).startswith(b"421 4.3.2 ")
        scene.remote.gate.set()
        await asyncio.wait_for(asyncio.gather(*drains), 20)
        assert (scene.remote.dots, len(scene.desk.spool.waiting)) == (1, 1)


async def test_the_leader_hears_what_clients_and_peers_were_told(tmp_path: Path) -> None:
    async with relay(tmp_path) as scene, connected(scene.server) as client:
        scene.remote.gate.set()
        await client.envelope(b"you@one.test")
        client.send(MAIL)
        await client.reply()
        # The queue's next failures are meant for the client alone: no delivery may still have to settle.
        await until(lambda: scene.desk.service.counters.records_settled == 1)
        for error in (SpoolUnavailable("no majority"), SpoolFull("quota")):
            scene.desk.spool.fail_next.append(error)
            for line in (b"MAIL FROM:<a@b.c>", b"RCPT TO:<you@one.test>", b"DATA"):
                await client.say(line)
            client.send(MAIL)
            await client.reply()
        accepted = deferred = 0
        attempts: list[Attempts] = []
        async with asyncio.timeout(20):
            while not (accepted and deferred and attempts):
                window = await scene.leader.hear()
                accepted, deferred = accepted + window.accepted, deferred + window.deferred
                attempts += window.attempts
        assert (accepted, deferred, attempts) == (1, 1, [Attempts("pod", "one.test", replied=1)])


async def test_a_leader_whose_epoch_is_over_orders_nothing(tmp_path: Path) -> None:
    async with relay(tmp_path) as scene, connected(scene.server) as client:
        late = leading(scene.control.port, scene.authority.client(), Hello("leader", EPOCH - 1), LEAVE)
        async with late as leader:
            assert await leader.ended()
        assert scene.control.counters.refused == 1
        assert (await client.hello()).startswith(b"250")
        assert scene.desk.service.in_hand == 0
        await scene.desk.spool.put(a_record("a@one.test"))
        await until(lambda: scene.remote.dots == 1)


async def test_the_last_order_stands_while_no_leader_is_there(tmp_path: Path) -> None:
    async with relay(tmp_path) as scene:
        await scene.order(LEAVE)
        scene.leader.writer.transport.abort()
        async with connected(scene.server, greeted=False) as client:
            assert (await client.reply()).startswith(b"421 4.3.2 ")
        async with leading(scene.control.port, scene.authority.client(), Hello("next", EPOCH + 1)) as successor:
            assert (await successor.hear()).stand is Stand.LEAVE
            successor.say(SERVE)
            async with asyncio.timeout(20):
                while (await successor.hear()).stand is not Stand.SERVE:
                    pass  # a beat's window may be on its way already
        async with connected(scene.server):
            pass
