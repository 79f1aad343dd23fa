"""A Requeue tries what waits for its retry now, and leaves all else where it is; and `relayfleet find` tells the history of both."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

from relayfleet.children.rabbitmq.names import VHOST
from relayfleet.children.relay.config import queue_space
from tests.e2e import operating, waiting
from tests.e2e.fleet import USER, Fleet
from tests.e2e.mailing import greets, send_from_inside
from tests.e2e.objects import relay_pool
from tests.e2e.region import Region
from tests.e2e.relaywords import counted_at_last, logged_at_last
from tests.e2e.test_mail import MOUNTED
from tests.e2e.waiting import NotYet, wait_for
from tests.e2e.watching import STAYS, relays, watched_pool
from tests.sink.client import SinkClient
from tests.sink.zone import DOMAIN

MEANT, OTHER = f"meant.isp.{DOMAIN}", f"other.isp.{DOMAIN}"
MAIL = b"From: sender@example.test\r\nTo: you@example.test\r\nSubject: x\r\n\r\nhello\r\n"
RULE = "they-are-back"
LONG = {"first": "5m"}
"""What is put off once comes back by itself after eight minutes: that is its rung. The test waits for less in all."""
PUT_OFF = 30.0
SETTLED = 5.0
"""Seconds from the answer until the mail is put off by the relay's books, at the latest. The rule's moment lies behind that; it has to be mounted first."""
REQUEUED = 40.0
"""Seconds after that: a relay looks for the name each 20, then through one rung after the other, some three seconds for each."""
SAID = 15.0 + operating.TAKEOVER


def requeue(domain: str) -> dict[str, object]:
    """A rule for what is put off until now."""
    moment = datetime.now(UTC) + timedelta(seconds=SETTLED)
    before = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"name": RULE, "action": "Requeue", "match": {"recipientDomain": domain, "deferredBefore": before}}


async def put_off(sink: SinkClient, *people: str) -> None:
    """Return when the sink has said 451 to all of these."""

    async def holds() -> bool:
        found = {each for deed in await sink.deeds() for each in deed["recipients"]}
        if not found.issuperset(people):
            raise NotYet(f"told so: {sorted(found)}")
        return True

    await wait_for(holds, PUT_OFF, f"{', '.join(people)} are told 451")


async def arrived(sink: SinkClient) -> dict[str, int]:
    """How often each recipient of this test has got mail."""
    people = [each["address"] for message in await sink.messages() for each in message["recipients"]]
    return dict(Counter(each for each in people if each.endswith((f"@{MEANT}", f"@{OTHER}"))))


async def wait_still(region: Region, pool: Fleet, fewest: int, less_than: int) -> None:
    """Return when a broker counts so many records that wait; a late confirm leaves a second copy now and then. The command asks all brokers for what they
    lead, and they answer it by connections of their own."""
    begin = f"{queue_space(pool.namespace, region.name)}{pool.pool}.v1.wait."
    command = ("rabbitmqctl", "list_queues", "--quiet", "-p", VHOST, "--formatter", "json", "name", "messages")

    async def holds() -> bool:
        queues = json.loads(await region.execute(pool.namespace, f"{pool.queue}-rabbitmq-0", *command))
        found = {each["name"]: each["messages"] for each in queues if each["name"].startswith(begin)}
        if not fewest <= sum(found.values()) < less_than:
            raise NotYet(str({name: count for name, count in found.items() if count}))
        return True

    await wait_for(holds, SAID, f"{fewest} records wait in {begin}*")


async def found_with_history(region: Region, pool: Fleet, record: str, what: str) -> None:
    """Return when the command that the README tells of says so, in any relay's pod."""
    relay = min(await relays(region, pool))

    async def holds() -> bool:
        history = await region.execute(pool.namespace, relay, "relayfleet", "find", record)
        if what not in history:
            raise NotYet(history)
        return True

    await wait_for(holds, SAID, f"relayfleet find {record} tells: {what}")


async def test_what_a_requeue_means_is_tried_at_once_and_other_mail_waits_on(
    eu: Region, fleet: Fleet, sink: SinkClient
) -> None:
    meant, others = [f"{number}@{MEANT}" for number in range(3)], [f"0@{OTHER}"]
    async with watched_pool(eu, fleet, retry=LONG, template=STAYS) as pool:
        manifest = relay_pool(pool.namespace, pool.pool, pool.queue)
        await sink.put_rules({"stage": "rcpt", "recipient": f"*.isp.{DOMAIN}", "code": 451, "text": "4.3.0 later"})
        await greets(eu, pool.namespace, pool.inside)
        said = [
            await send_from_inside(eu, pool.namespace, pool.inside, USER, [each], MAIL) for each in (*meant, *others)
        ]
        ids = [each.rpartition(" ")[2] for each in said]
        await put_off(sink, *meant, *others)
        await sink.put_rules()
        before = await relays(eu, pool)
        await eu.api.patch("RelayPool", pool.namespace, pool.pool, {"spec": {"deliveryRules": [requeue(MEANT)]}})
        found = await waiting.condition(eu.api, manifest, "Ready", "True", SAID)
        [message] = [each["message"] for each in found["status"]["conditions"] if each["type"] == "Ready"]
        assert f"waiting mail is tried sooner: {RULE} (Requeue)" in message
        await sink.wait_for(len(meant), MOUNTED + REQUEUED, lambda each: each["recipients"][0]["address"] in meant)
        # Said when a visit is over: all that it looked at is either moved or in its place. A late confirm leaves one more now and then.
        visit = re.compile(r"of [4-9] mails that wait for 480 s [3-9] are tried now")
        await logged_at_last(eu, pool, lambda log: bool(visit.search(log)), REQUEUED, visit.pattern)
        await counted_at_last(
            eu, pool, "relayfleet_relay_requeued_total", lambda counts: sum(counts) >= len(meant), REQUEUED
        )
        await wait_still(eu, pool, len(others), len(meant) + len(others))
        assert await arrived(sink) == dict.fromkeys(meant, 1)
        assert await relays(eu, pool) == before
        await found_with_history(eu, pool, ids[0], f"attempt 1: delivered to {meant[0]}")
        await found_with_history(eu, pool, ids[-1], f"attempt 0: deferred for {others[0]}")
