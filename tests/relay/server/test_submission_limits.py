"""Credentials with limits: what is over them is refused before the message is taken, and only what is accepted counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Limits, RelayConfig, SubmissionLimit
from relayfleet.protocol.telemetry import PoolUsage, Usage
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.server.allowances import Allowances, Clocks
from relayfleet.relay.spool.interface import Spool, SpoolFull
from relayfleet.relay.spool.record import Record
from relayfleet.relay.status import allowance_metrics
from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import trusting
from tests.relay.server.harness import Client, GateSpool, config, connected, eventually, serving
from tests.relay.server.test_authentication import PLAIN, secured

TOO_FAST = b"451 4.7.1 Your credential sends to too many recipients a minute, try again later\r\n"
CLAIMED = b"451 4.7.1 Other mail of your credential may use up its recipients of today, try again later\r\n"
SPENT = b"550 5.7.1 More recipients than your credential may still send to today, until 24:00 UTC\r\n"


def settings(per_minute: int | None = None, per_day: int | None = None, message_bytes: int = 10_000) -> RelayConfig:
    limits = Limits(message_bytes=message_bytes)
    return replace(
        config(tls="StartTLS", limits=limits), submission_limits=(SubmissionLimit("ann", per_minute, per_day),)
    )


@dataclass
class Scene:
    """A relay to which clients come as `ann`."""

    server: SmtpServer
    tls_folder: Path

    @asynccontextmanager
    async def ann(self) -> AsyncIterator[Client]:
        async with connected(self.server) as client:
            await secured(client, trusting(self.tls_folder))
            assert (await client.say(PLAIN)).startswith(b"235")
            yield client

    def counted(self, name: str, **labels: str) -> float:
        """A metric of the credential."""
        for metric in allowance_metrics(self.server.allowances):
            for sample in metric.samples:
                if sample.name == f"relayfleet_relay_{name}" and sample.labels == {"credential": "ann", **labels}:
                    return sample.value
        raise AssertionError(f"no metric {name} {labels}")

    @property
    def used(self) -> float:
        """Recipients of today."""
        return self.counted("submitted_today")


@dataclass
class Folders:
    tls: Path
    auth: Path

    @asynccontextmanager
    async def relay(self, limits: RelayConfig, spool: Spool | None = None) -> AsyncIterator[Scene]:
        allowances = Allowances(
            clocks=Clocks(lambda: 0.0, lambda: 2e9)
        )  # a machine that is busy, or midnight, changes nothing
        async with serving(limits, spool, auth_folder=self.auth, tls_folder=self.tls, allowances=allowances) as server:
            yield Scene(server, self.tls)


@pytest.fixture
def folders(tls_folder: Path, auth_folder: Path) -> Folders:
    return Folders(tls_folder, auth_folder)


async def envelope(client: Client, recipients: int) -> bytes:
    """The answer to DATA, or to MAIL when that is no 250."""
    if not (answer := await client.say(b"MAIL FROM:<me@here.example>")).startswith(b"250"):
        return answer
    for number in range(recipients):
        assert (await client.say(b"RCPT TO:<you%d@there.example>" % number)).startswith(b"250")
    return await client.say(b"DATA")


async def mail(client: Client, recipients: int = 1, body: bytes = b"hi") -> bytes:
    """The first answer that is no 250, or the last one."""
    answer = await envelope(client, recipients)
    if not answer.startswith(b"354"):
        return answer
    client.send(body + b"\r\n.\r\n")
    return await client.reply()


async def test_what_is_over_the_rate_is_put_off_at_mail_and_the_session_goes_on(folders: Folders) -> None:
    spool = MemorySpool()
    async with folders.relay(settings(per_minute=2), spool) as scene, scene.ann() as client:
        assert (await mail(client, 2)).startswith(b"250")
        assert await client.say(b"MAIL FROM:<me@here.example>") == TOO_FAST
        assert (await client.say(b"RCPT TO:<you@there.example>")).startswith(b"503")
        assert (await client.say(b"NOOP")).startswith(b"250")
        assert scene.server.counters.refused["451 4.7.1 rate"] == 1
        assert scene.server.deferred == 0, "it is no fault of the relay"
        assert scene.counted("limited_total", limit="Rate") == 1
        assert scene.counted("limited_total", limit="Cap") == 0
    assert len(spool.stored) == 1


async def test_a_mail_beyond_the_day_is_refused_whole_before_its_message_and_a_smaller_one_is_taken(
    folders: Folders,
) -> None:
    spool = MemorySpool()
    async with folders.relay(settings(per_day=3), spool) as scene, scene.ann() as client:
        assert (await mail(client, 2)).startswith(b"250")
        assert await mail(client, 2) == SPENT
        assert (await mail(client, 1)).startswith(b"250"), "without RSET"
        assert await client.say(b"MAIL FROM:<me@here.example>") == SPENT
        assert (scene.counted("submitted_total"), scene.counted("limited_total", limit="Cap"), scene.used) == (3, 2, 3)
    assert [len(each.recipients) for each in spool.stored] == [2, 1]


@dataclass
class FullSpool(MemorySpool):
    """Takes nothing while it is full."""

    full: bool = True

    async def put(self, record: Record) -> None:
        if self.full:
            raise SpoolFull("full")
        await MemorySpool.put(self, record)


async def test_a_mail_that_cannot_be_stored_does_not_count(folders: Folders) -> None:
    spool = FullSpool()
    async with folders.relay(settings(2, 2), spool) as scene, scene.ann() as client:
        for _ in range(3):
            assert (await mail(client, 2)).startswith(b"452 4.3.1")
        spool.full = False
        assert scene.used == 0
        assert (await mail(client, 2)).startswith(b"250")
        assert scene.used == 2


@pytest.mark.parametrize(
    "body", [b"x" * 2000, b"From: a@b.test\r\nFrom: c@d.test\r\n\r\nhi"], ids=["too large", "two authors"]
)
async def test_a_message_that_is_refused_does_not_count(folders: Folders, body: bytes) -> None:
    async with (
        folders.relay(settings(2, 2, message_bytes=1000)) as scene,
        scene.ann() as client,
    ):
        for _ in range(3):
            assert (await mail(client, 2, body)).startswith(b"55")
        assert (await mail(client, 2)).startswith(b"250")
        assert scene.used == 2


async def test_a_client_that_leaves_before_its_message_is_there_took_nothing(folders: Folders) -> None:
    async with folders.relay(settings(2, 2)) as scene:
        async with scene.ann() as leaving, scene.ann() as other:
            assert (await envelope(leaving, 2)).startswith(b"354")
            leaving.send(b"half a ")
            assert await mail(other, 1) == CLAIMED, "it is set aside for the other one"
            assert scene.counted("limited_total", limit="Pending") == 1
        await eventually(lambda: scene.server.counters.sessions_open == 0, "both are gone")
        async with scene.ann() as client:
            assert (await mail(client, 2)).startswith(b"250")


async def test_a_client_that_does_not_wait_for_354_took_nothing(folders: Folders) -> None:
    async with folders.relay(settings(2, 2)) as scene:
        async with scene.ann() as client:
            await client.say(b"MAIL FROM:<me@here.example>")
            await client.say(b"RCPT TO:<you@there.example>")
            client.send(b"DATA\r\nhi\r\n.\r\n")
            assert (await client.reply()).startswith(b"503 5.5.0")
        await eventually(lambda: scene.server.counters.sessions_open == 0, "it is gone")
        async with scene.ann() as client:
            assert (await mail(client, 2)).startswith(b"250")


async def test_a_client_that_leaves_while_its_mail_is_stored_has_used_it_up(folders: Folders) -> None:
    spool = GateSpool()
    async with folders.relay(settings(per_day=1), spool) as scene:
        async with scene.ann() as client:
            assert (await envelope(client, 1)).startswith(b"354")
            client.send(b"hi\r\n.\r\n")
            await spool.asked.wait()
        spool.opened.set()
        await eventually(lambda: scene.used == 1, "the mail is accepted")
        async with scene.ann() as client:
            assert await mail(client) == SPENT


async def test_mails_at_the_same_time_get_no_more_than_there_is(folders: Folders) -> None:
    spool = GateSpool()
    async with folders.relay(settings(per_day=3), spool) as scene, scene.ann() as first, scene.ann() as second:
        assert (await envelope(first, 2)).startswith(b"354")
        first.send(b"hi\r\n.\r\n")
        await spool.asked.wait()
        assert await envelope(second, 2) == CLAIMED
        spool.opened.set()
        assert (await first.reply()).startswith(b"250")
        assert await envelope(second, 2) == SPENT
        assert (await mail(second, 1)).startswith(b"250")


async def test_what_other_relays_took_counts(folders: Folders) -> None:
    async with folders.relay(settings(per_day=10)) as scene, scene.ann() as client:
        assert (await mail(client, 2)).startswith(b"250")
        usages = scene.server.allowances.usages()
        assert usages is not None
        assert usages.rows == (Usage("ann", 2),)
        scene.server.allowances.hear(PoolUsage(usages.day, (Usage("ann", 2, 9), Usage("stranger", 0, 50))))
        assert await mail(client, 2) == SPENT
        assert (await mail(client, 1)).startswith(b"250")
        assert (scene.used, scene.counted("submitted_total")) == (10, 3)


async def test_who_has_no_limits_is_held_to_none_and_a_client_of_a_network_neither(folders: Folders) -> None:
    limits = replace(settings(), submission_limits=(SubmissionLimit("bob", 1, 1),))
    async with folders.relay(limits) as scene, scene.ann() as client, connected(scene.server) as near:
        await near.hello()
        for each in (client, near):
            for _ in range(3):
                assert (await mail(each)).startswith(b"250")


async def test_other_limits_are_taken_up_by_open_sessions_and_what_was_taken_counts(folders: Folders) -> None:
    async with folders.relay(settings(per_day=2)) as scene, scene.ann() as client:
        assert (await mail(client, 2)).startswith(b"250")
        assert await mail(client) == SPENT
        await scene.server.reload(settings(per_day=3))
        assert (await mail(client)).startswith(b"250")
        assert await mail(client) == SPENT
        await scene.server.reload(replace(settings(), submission_limits=()))
        assert (await mail(client)).startswith(b"250")
        assert _credentials(scene.server) == []


async def test_limits_that_change_while_a_message_is_under_way_spoil_nothing(folders: Folders) -> None:
    async with folders.relay(settings(5, 5)) as scene, scene.ann() as client:
        for limits in (settings(5, 4), replace(settings(), submission_limits=()), settings(5, 5)):
            assert (await envelope(client, 1)).startswith(b"354")
            await scene.server.reload(limits)
            client.send(b"hi\r\n.\r\n")
            assert (await client.reply()).startswith(b"250")
        assert scene.used == 0, "who was forgotten begins anew"


async def test_a_client_that_goes_on_and_on_beyond_its_day_is_closed(folders: Folders) -> None:
    async with folders.relay(settings(per_day=1)) as scene, scene.ann() as client:
        assert (await mail(client)).startswith(b"250")
        answers = [await mail(client) for _ in range(19)]
        assert set(answers) == {SPENT}
        client.send(b"MAIL FROM:<me@here.example>\r\n")
        assert b"421 4.7.0" in await client.rest()


def _credentials(server: SmtpServer) -> Sequence[str]:
    return [name for name, _, _ in server.allowances.entries()]
