"""Replicas know each other by their own certificates, and a leader hears those that are there."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from relayfleet.api.labels import COMPONENT, NAME
from relayfleet.decide.health.roster import Vantage
from relayfleet.kube.client import Kube, Object
from relayfleet.protocol import probing
from relayfleet.protocol.brokerprobing import BrokerTarget
from relayfleet.protocol.probing import Burst, Hello, Order, Seen, Sight, Target, Watch
from relayfleet.runtime import vantages as module
from relayfleet.runtime.control import SECRET, Identity, identity
from relayfleet.runtime.vantages import Ears, Vantages
from tests.fakes.kube import FakeKube
from tests.fakes.relay import FakeRelay
from tests.unit.controllers.scene import SETTINGS

SIGHT = Sight("mail/tx/a", "Answered", "Dialogue", 0.0, latency=0.001)


def replica(name: str, phase: str = "Running") -> Object:
    labels = {NAME: "relayfleet", COMPONENT: "operator"}
    metadata = {"namespace": SETTINGS.namespace, "name": name, "labels": labels}
    status = {"phase": phase, "podIP": "127.0.0.1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "node"}, "status": status}


async def known(kube: FakeKube, folder: Path, name: str) -> Identity:
    (folder / name).mkdir()
    return await identity(cast("Kube", kube), SETTINGS, folder / name)


class Listener:
    """A prober that says one sight again and again and keeps what it is told."""

    def __init__(self, files: Identity) -> None:
        self.heard: list[Order] = []
        self.mute = False
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(files.certificate, files.key)
        self._tls.load_verify_locations(files.authority)
        self._tls.verify_mode = ssl.CERT_REQUIRED

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=self._tls)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking = asyncio.create_task(self._say(writer))
        try:
            while line := await reader.readline():
                self.heard.append(probing.decode_order(line))
        finally:
            talking.cancel()
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter) -> None:
        while True:
            if not self.mute:
                writer.write(probing.encode(Seen((SIGHT,))))
            await asyncio.sleep(0.02)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is awaited is another task's doing
            await asyncio.sleep(0.01)


async def test_the_secret_is_made_once_and_shared(tmp_path: Path) -> None:
    kube = FakeKube()
    one, two = await asyncio.gather(known(kube, tmp_path, "one"), known(kube, tmp_path, "two"))
    assert one.authority.read_text() == two.authority.read_text()
    assert one.key.read_text() != two.key.read_text()
    assert oct(one.key.stat().st_mode & 0o777) == "0o600"


async def test_a_leader_hears_a_prober_tells_it_what_to_watch_and_notices_when_it_falls_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube(replica("one"), replica("two", phase="Pending"))
    listener = Listener(await known(kube, tmp_path, "prober"))
    taken: list[tuple[str, Seen]] = []
    present: list[tuple[Vantage, ...]] = []
    async with listener.listening() as port:
        monkeypatch.setattr(probing, "PORT", port)
        monkeypatch.setattr(
            module, "SILENCE", 30.0
        )  # a prober that talks is no silent one, however busy this machine is
        tls = (await known(kube, tmp_path, "leader")).client()
        ears = Ears(lambda *each: taken.append(each), present.append)
        hello = Hello("leader", 7)
        links = Vantages(cast("Kube", kube), SETTINGS.namespace, hello, tls, ears)
        running = asyncio.create_task(links.run())
        await until(lambda: bool(taken))
        links.watch([Target("mail/tx/a", "198.18.0.1", 2520)])
        links.burst(["mail/tx/a"])
        await until(lambda: Burst(("mail/tx/a",)) in listener.heard)
        assert listener.heard[:2] == [hello, Watch(())]
        assert Watch((Target("mail/tx/a", "198.18.0.1", 2520),)) in listener.heard
        assert (taken[0], present) == (("one", Seen((SIGHT,))), [(Vantage("one", "node"),)])
        monkeypatch.setattr(module, "SILENCE", 0.3)
        heard = len(taken)
        await until(lambda: len(taken) > heard + 1)  # the limit of the next word is the new one
        listener.mute = True
        await until(lambda: present[-1] == ())
        monkeypatch.setattr(module, "SILENCE", 30.0)
        listener.mute = False
        await until(lambda: present[-1] == (Vantage("one", "node"),))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_to_be_watched_may_change_before_the_first_word_of_a_prober(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube(replica("one"))
    listener = Listener(await known(kube, tmp_path, "prober"))
    listener.mute = True
    async with listener.listening() as port:
        monkeypatch.setattr(probing, "PORT", port)
        tls = (await known(kube, tmp_path, "leader")).client()
        ears = Ears(lambda *_: None, lambda _: None)
        links = Vantages(cast("Kube", kube), SETTINGS.namespace, Hello("leader", 7), tls, ears)
        running = asyncio.create_task(links.run())
        await until(lambda: Watch(()) in listener.heard)
        target = Target("mail/tx/a", "198.18.0.1", 2520)
        links.watch([target])
        listener.mute = False
        await until(lambda: Watch((target,)) in listener.heard)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_relays_and_brokers_are_named_together_whichever_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube(replica("one"))
    listener = Listener(await known(kube, tmp_path, "prober"))
    async with listener.listening() as port:
        monkeypatch.setattr(probing, "PORT", port)
        tls = (await known(kube, tmp_path, "leader")).client()
        ears = Ears(lambda *_: None, lambda _: None)
        links = Vantages(cast("Kube", kube), SETTINGS.namespace, Hello("leader", 7), tls, ears)
        running = asyncio.create_task(links.run())
        relay = Target("mail/tx/a", "198.18.0.1", 2520)
        broker = BrokerTarget("mail/q/q-0/u", "198.18.0.2", 5671, "q-0.q.mail.svc", "/", 3, "PEM", "prober", "secret")
        links.watch([relay])
        links.watch_brokers([broker])
        await until(lambda: Watch((relay,), (broker,)) in listener.heard)
        links.watch([])
        await until(lambda: Watch((), (broker,)) in listener.heard)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def turns_of_words(words: int) -> list[int]:
    """In which turn of the loop each of so many words was taken, that all are here at the beginning."""
    turns, taken = 0, list[int]()
    reader, writer = asyncio.StreamReader(), SimpleNamespace(write=lambda _: None, close=lambda: None)
    for _ in range(words):
        reader.feed_data(probing.encode(Seen((SIGHT,), 1.0)))
    reader.feed_eof()

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ears = Ears(lambda *_: taken.append(turns), lambda _: None)
    links = Vantages(cast("Any", None), "", Hello("leader", 7), cast("Any", None), ears)
    other = asyncio.create_task(other_work())
    with pytest.raises(ConnectionError):
        await links._talk("one", reader, cast("Any", writer))
    other.cancel()
    assert len(taken) == words
    return taken


async def test_other_work_has_its_turn_when_words_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that fell behind reads for seconds; others wait for their answers meanwhile."""
    monkeypatch.setattr(module, "TURN", 0.0)
    assert all(later > earlier for earlier, later in pairwise(await turns_of_words(20)))


async def test_who_fell_behind_takes_many_words_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what it hears would be ever older where a turn is longer than words are apart."""
    monkeypatch.setattr(module, "TURN", 60.0)
    assert len(set(await turns_of_words(20))) == 1


async def test_who_has_no_certificate_of_ours_is_not_talked_to(tmp_path: Path) -> None:
    listener = Listener(await known(FakeKube(), tmp_path, "prober"))
    async with listener.listening() as port:
        tls = (await known(FakeKube(), tmp_path, "leader")).client()
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    assert listener.heard == []


async def test_a_relay_cannot_pass_for_a_prober(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(replica("one"))
    files = await known(kube, tmp_path, "leader")
    relay = FakeRelay(kube.objects["Secret", SETTINGS.namespace, SECRET], tmp_path)
    async with relay.listening() as port:
        monkeypatch.setattr(probing, "PORT", port)
        ears = Ears(lambda *_: None, lambda _: None)
        links = Vantages(cast("Kube", kube), SETTINGS.namespace, Hello("leader", 7), files.client(), ears)
        running = asyncio.create_task(links.run())
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert relay.heard == []
