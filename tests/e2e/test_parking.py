"""Mail for a host that is down is parked and mail for others goes on; when the host is back, what was parked goes out by itself, each mail once."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest

from relayfleet.relay.parking.known import EVERY, SPREAD, TRIALS
from relayfleet.relay.spool.rabbitmq.requeue.ramp import FIRST
from tests.e2e import receiving
from tests.e2e.fleet import USER, Fleet
from tests.e2e.mailing import send_from_outside
from tests.e2e.region import Region
from tests.e2e.relaywords import counted_at_last, logged_at_last
from tests.e2e.test_faults import broken
from tests.e2e.test_mail import outside
from tests.e2e.traffic import flowing
from tests.e2e.waiting import NotYet, wait_for
from tests.e2e.watching import STAYS, watched_pool
from tests.sink.client import Line, SinkClient
from tests.sink.manifests import SMTP_PORT
from tests.sink.zone import DOMAIN
from tests.testbed import network_faults

pytestmark = pytest.mark.timeout(1800)

Sinks = dict[str, dict[str, SinkClient]]
HOST, DESTINATION = f"mx2.{DOMAIN}", f"second.{DOMAIN}"
MAIL = f"From: sender@example.test\r\nTo: you@{DESTINATION}\r\nSubject: x\r\n\r\nhello\r\n".encode()
EARLY, LATE = 2, FIRST
"""Mails before the host is found down, which are tried, and after that. Together more than the first visit of a release lets go."""
SOON = {"first": "10s", "factorPercent": 100, "max": "10s"}
"""What was tried comes back within 18 s, and is parked then. What was not parked would go out by this as soon as the host is back: so who was released counts too."""
RATE, SOME = 2.0, 5
"""Other mails a second, and a few of them: each relay has to reach somebody else within each minute, or it finds nobody down."""
FOUND = (TRIALS + 1) * (EVERY + SPREAD)
"""Seconds from the first mail that reaches nobody: one trial more than it takes, since one that busy cores hold up does not count."""
SAID = 60.0
"""Seconds until relays say what they know or have counted, and what was tried comes back."""
DOWN = FOUND + 5 * SAID
"""Seconds after which the host is back although the test has not come that far: longer than it waits."""
BACK = 120.0
"""Seconds from the moment when the host is back until all its mail has arrived: the next trial comes within 70, then a few visits, five seconds apart."""

_PARKED = re.compile(rf"id=(\S+) attempt=(\d+) is parked, {re.escape(HOST)} is down")


async def sent(region: Region, pool: Fleet, name: str, count: int) -> dict[str, str]:
    """So many mails for the host are accepted: recipients, and the ids of their records, which the 250 names."""
    account = await outside(region, pool)
    people = [f"{name}-{number}@{DESTINATION}" for number in range(count)]
    return {each: (await send_from_outside(account, USER, [each], MAIL)).rpartition(" ")[2] for each in people}


async def parks(region: Region, pool: Fleet) -> None:
    """Return when the pool parks mail, by its status and by each of its relays."""

    async def holds() -> bool:
        found = await region.api.get("RelayPool", pool.namespace, pool.pool)
        assert found is not None
        if found["status"].get("parking") is not True:
            raise NotYet(str(found["status"]))
        return True

    await wait_for(holds, SAID, f"{pool.pool} parks mail, by its status")
    await counted_at_last(region, pool, "relayfleet_relay_parks", all_ones, SAID)


def all_ones(counts: Collection[float]) -> bool:
    return set(counts) == {1}


async def found_down(region: Region, pool: Fleet) -> None:
    """Return when one relay has found the host down, and all know it."""
    began, line = time.monotonic(), f"{HOST} is down, its mail is parked"
    await logged_at_last(region, pool, lambda log: line in log, FOUND, line)
    print(f"{HOST} is found down after {time.monotonic() - began:.0f} s")
    await counted_at_last(region, pool, "relayfleet_relay_dead_destinations", all_ones, SAID)


async def parked(region: Region, pool: Fleet, records: Collection[str]) -> dict[str, int]:
    """The attempts that each record had behind it when it was parked first, as soon as all of these are."""
    log = await logged_at_last(
        region, pool, lambda log: attempts(log).keys() >= set(records), SAID, f"{', '.join(records)} are parked"
    )
    await counted_at_last(
        region, pool, "relayfleet_relay_parked_records", lambda counts: max(counts) >= len(records), SAID
    )
    return attempts(log)


def attempts(log: str) -> dict[str, int]:
    """Of each record that was parked, by its first time."""
    found: dict[str, int] = {}
    for record, attempt in _PARKED.findall(log):
        found[record] = min(int(attempt), found.get(record, int(attempt)))
    return found


async def some_arrive(sink: SinkClient) -> None:
    """Return when more mail has come there."""
    before = len(await sink.messages())
    await sink.wait_for(before + SOME, SAID)


async def all_out(region: Region, pool: Fleet, count: int) -> None:
    """Return when nothing is parked any more, and so many mails were let go by whoever does that for the pool."""
    await counted_at_last(region, pool, "relayfleet_relay_parked_records", lambda counts: set(counts) == {0}, SAID)
    await counted_at_last(region, pool, "relayfleet_relay_released_total", lambda counts: sum(counts) >= count, SAID)


def copies(messages: Collection[Line]) -> dict[str, int]:
    """How often each recipient of this test has got mail."""
    people = [each["address"] for message in messages for each in message["recipients"]]
    return dict(Counter(each for each in people if each.endswith(f"@{DESTINATION}")))


async def test_mail_for_a_host_that_is_down_is_parked_and_goes_out_once_when_it_is_back(
    eu: Region, fleet: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    """Takes some five minutes: by design nobody is found down before three trials have failed, the first a minute after the mail that reached nobody, the
    others 60 to 70 s after the one before; and one that is back is noticed by the next trial, within 70 s. So there is one such test for all of it."""
    first, host = sinks["eu"]["mx1"], sinks["eu"]["mx2"]
    [pod] = await eu.api.list("Pod", receiving.NAMESPACE, {"app": "mx2"})
    lost = network_faults.blocked(
        "eu", receiving.NAMESPACE, pod["metadata"]["name"], directions=("in",), ports=(SMTP_PORT,), longest=DOWN
    )
    delivery = {"deadDestinations": "Park"}
    async with watched_pool(eu, fleet, delivery=delivery, retry=SOON, template=STAYS) as pool:
        await parks(eu, pool)
        async with flowing(eu, pool, tmp_path, rate=RATE) as traffic:
            await traffic.accepted(SOME)
            async with broken(lost):
                early = await sent(eu, pool, "early", EARLY)
                await found_down(eu, pool)
                late = await sent(eu, pool, "late", LATE)
                tried = await parked(eu, pool, [*early.values(), *late.values()])
                await some_arrive(first)
                assert copies(await host.messages()) == {}
            back = time.time()
        records = await host.wait_for(EARLY + LATE, BACK, lambda each: bool(copies([each])))
        lasted = max(each["time"] for each in records) - back
        print(f"{len(records)} parked mails have arrived {lasted:.0f} s after {HOST} is back; attempts before: {tried}")
        await all_out(eu, pool, EARLY + LATE)
        assert lasted <= BACK
        assert copies(await host.messages()) == dict.fromkeys([*early, *late], 1)
        assert min(tried[each] for each in early.values()) > 0
        # Not of each: one whose DNS takes a second on busy cores is tried first.
        assert min(tried[each] for each in late.values()) == 0
        assert traffic.verdict is not None
        print(traffic.verdict)
        assert traffic.verdict.accepted == traffic.sent
        assert traffic.verdict.good, traffic.verdict
