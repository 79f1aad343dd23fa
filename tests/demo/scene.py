"""One region of the demo: the operator by Helm, the samples as they are, and the flows of mail through them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.demo.timeline import Tally, Timeline
from tests.e2e import operating, waiting
from tests.e2e.api import Object
from tests.e2e.fleet import NAMESPACE as FLEET
from tests.e2e.fleet import PASSWORD, USER, Fleet
from tests.e2e.mailing import POD, Account, NotAccepted, client_pod, send_from_inside
from tests.e2e.objects import certificate, relay_pool, submitters
from tests.e2e.region import Region
from tests.e2e.traffic import flowing
from tests.e2e.waiting import NotYet, wait_for
from tests.testbed.settings import ROOT

NAMESPACE, POOL, BULK, QUEUE = "mail", "transactional", "bulk", "mail"
SAMPLES = [ROOT / "manifests" / "samples" / f"{name}.yaml" for name in ("namespace", "queue", "sendingips", "pool")]
READY_SECONDS, ACCEPTED_SECONDS, ARRIVE_SECONDS, TRY_AGAIN_SECONDS = 300.0, 120.0, 300.0, 3.0
TEST_NETWORK = "198.18.0.0/15"

MESSAGE = b"From: sender@example.test\r\nTo: first@example.test\r\nSubject: the first mail\r\n\r\nhello\r\n"


class Scene:
    """What the demo does in a region."""

    def __init__(self, region: Region, images: Mapping[str, str], timeline: Timeline) -> None:
        self.region = region
        self._images = images
        self._timeline = timeline

    def say(self, text: str) -> None:
        self._timeline.say(f"{self.region.name}: {text}")

    async def install(self) -> float:
        """From nothing to the first delivered mail; returns the seconds."""
        await self.region.api.delete("Namespace", None, FLEET)  # of the tests: the machine is too small for both
        began = time.monotonic()
        await operating.install(self.region, self._images)
        self.say("operator installed by Helm, two replicas ready")
        await self.region.apply(SAMPLES[0].read_text(), *self._secrets(), *(each.read_text() for each in SAMPLES[1:]))
        await self.region.apply(client_pod(NAMESPACE, self._images["mailclient"]), self._bulk_pool())
        for kind, name in (("QueueCluster", QUEUE), ("RelayPool", POOL)):
            found = await waiting.ready(self.region.api, _named(kind, name), budget=READY_SECONDS)
            self.say(f"{kind} {name} is Ready: {_message(found[0])}")
        await self._client()
        await self._send_first()
        await self.region.sinks["mx1"].wait_for(1, 60, lambda each: _to(each, "first@example.test"))
        took = time.monotonic() - began
        self.say(f"first mail (swaks, STARTTLS, AUTH) delivered {took:.1f} s after helm install began")
        await waiting.ready(self.region.api, _named("RelayPool", BULK), budget=READY_SECONDS)
        return took

    async def whole(self) -> None:
        """Return when all brokers and relays are up. Mail is taken before that, but now and then put off, and smtp-source tries nothing again."""
        for kind, name in (("QueueCluster", QUEUE), ("RelayPool", POOL), ("RelayPool", BULK)):
            await waiting.condition(self.region.api, _named(kind, name), "Degraded", "False", READY_SECONDS)
        self.say("all brokers and relays are up")

    async def pods(self) -> str:
        """How many pods there are, by what they are."""
        found = [*await self.region.api.list("Pod", NAMESPACE), *await operating.replicas(self.region)]
        kinds = Counter(each["metadata"]["labels"].get("app.kubernetes.io/component") for each in found)
        return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=str) if kind)

    async def quiet_flow(self, count: int) -> Tally:
        """Mails by smtp-source. Each has a recipient of its own, so that the sink can tell what is missing and what came twice."""
        mark = f"q{int(time.time())}n"  # smtp-source puts its number behind it
        command = (
            "smtp-source",
            "-m",
            str(count),
            "-s",
            "8",
            "-l",
            "2048",
            "-N",
            "-f",
            USER,
            "-t",
            f"{mark}@example.test",
            f"{BULK}:2525",
        )
        began = time.monotonic()
        await self.region.execute(NAMESPACE, POD, *command, seconds=300)
        accepted_in = time.monotonic() - began

        async def arrived() -> Counter[str]:
            copies = await self._copies(mark)
            if len(copies) < count:
                raise NotYet(f"{len(copies)} of {count}")
            return copies

        try:
            copies = await wait_for(arrived, ARRIVE_SECONDS, f"{count} mails delivered in {self.region.name}")
        except AssertionError:
            copies = await self._copies(mark)
        delivered_in = time.monotonic() - began
        self.say(
            f"{count} mails by smtp-source: accepted in {accepted_in:.1f} s, the last delivered after {delivered_in:.1f} s"
        )
        twice = sum(number - 1 for number in copies.values())
        return Tally(count, count, len(copies), count - len(copies), twice)

    async def _copies(self, mark: str) -> Counter[str]:
        records = [each for sink in self.region.sinks.values() for each in await sink.messages()]
        names = [each["address"] for record in records for each in record["recipients"]]
        return Counter(name for name in names if name.startswith(mark))

    async def flow_with(self, fault: Callable[[], Awaitable[str]], count: int, rate: float) -> Tally:
        """Mails by an independent client that goes on when a relay dies under it, and a fault in the middle."""
        fleet = Fleet(NAMESPACE, POOL, QUEUE)
        with TemporaryDirectory() as folder:
            async with flowing(self.region, fleet, Path(folder), count=count, rate=rate) as traffic:
                await traffic.accepted(count // 4)
                self.say(await fault())
                await traffic.accepted(count, budget=180)
                self.say(
                    f"{count} accepted; waiting for the last to arrive (what was in the dead one's hands may wait ten minutes)"
                )
            verdict = traffic.verdict
            longest = max((entry.seconds for entry in traffic.entries if entry.outcome == "accepted"), default=0.0)
        assert verdict is not None
        self.say(f"{verdict.accepted} accepted, slowest answer {longest:.2f} s; {verdict.delivered} delivered")
        return Tally(count, verdict.accepted, verdict.delivered, len(verdict.lost), len(verdict.duplicates))

    async def kill_relay(self) -> str:
        """SIGKILL, without a word to anybody."""
        pods = await self.region.api.list("Pod", NAMESPACE, {"relayfleet.io/pool": POOL})
        await operating.kill(self.region, pods[0])
        return f"relay {pods[0]['metadata']['name']} killed (SIGKILL)"

    def _secrets(self) -> list[Object]:
        """What a user makes with htpasswd and a certificate authority."""
        return [submitters(NAMESPACE, {USER: PASSWORD}), certificate("smtp.example.test").secret(NAMESPACE)]

    def _bulk_pool(self) -> Object:
        """A second pool on the same queue, for smtp-source, which can neither AUTH nor TLS: open to the test network alone."""
        spec: dict[str, Any] = {
            "sendingIPSelector": {"matchLabels": {"pool": POOL}},
            "service": {"type": "ClusterIP"},
            "listeners": [{"name": "inside", "port": 2525, "tls": "None"}],
            "allowedNetworks": [TEST_NETWORK],
        }
        return relay_pool(NAMESPACE, BULK, QUEUE, 2, **spec)

    async def _client(self) -> None:
        async def running() -> bool:
            pod = await self.region.api.get("Pod", NAMESPACE, POD)
            return pod is not None and pod["status"].get("phase") == "Running"

        await wait_for(running, 60, f"Pod {NAMESPACE}/{POD} runs")

    async def _send_first(self) -> None:
        """As mail clients do: what is put off (4xx, as while brokers still find each other) is tried again, and told."""
        account = Account(POOL, 587, USER, PASSWORD)

        async def accepted() -> str:
            try:
                return await send_from_inside(self.region, NAMESPACE, account, USER, ["first@example.test"], MESSAGE)
            except NotAccepted as answer:
                if answer.code >= 500:
                    raise
                self.say(f"the first mail is put off ({_short(answer)}): the client tries again")
                await asyncio.sleep(TRY_AGAIN_SECONDS)
                raise NotYet(_short(answer)) from answer

        await wait_for(accepted, ACCEPTED_SECONDS, f"the first mail is accepted in {self.region.name}")


def _named(kind: str, name: str) -> Object:
    return {"kind": kind, "metadata": {"namespace": NAMESPACE, "name": name}}


def _short(answer: NotAccepted) -> str:
    """The server's words, or the last of the client's when there was no answer."""
    return str(answer).strip().splitlines()[-1][:120]


def _message(obj: Object) -> str:
    return next(str(each["message"]) for each in obj["status"]["conditions"] if each["type"] == "Ready")


def _to(record: Mapping[str, Any], address: str) -> bool:
    return any(each["address"] == address for each in record["recipients"])


async def together(*work: Awaitable[Tally]) -> Tally:
    """The sum of flows that run at the same time."""
    return sum(await asyncio.gather(*work), Tally())
