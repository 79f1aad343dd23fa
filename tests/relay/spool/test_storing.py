"""A put that returns is on the disks of a majority; everything else raises, in time and in words."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import suppress

import pytest

from relayfleet.relay.spool.interface import SpoolFull, SpoolTooLarge, SpoolUnavailable, Successor
from relayfleet.relay.spool.rabbitmq import publisher
from tests.relay.rabbitmq import certificates
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.spool.support import (
    both_lanes,
    by_key,
    new_prefix,
    new_record,
    put_at_last,
    read_all,
    ready_queues,
    spool,
    traffic,
    until,
)

pytestmark = pytest.mark.broker


async def test_another_client_reads_what_ours_wrote_byte_for_byte(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    records = [new_record(size) for size in (0, 2048, 50 * 1024, 3 * 1024**2)]
    async with spool(rabbitmq, prefix) as queue:
        await asyncio.gather(*map(queue.put, records))
    assert by_key(await read_all(rabbitmq, ready_queues(prefix))) == by_key(records)


async def test_without_a_majority_put_raises_within_its_deadline_and_goes_on_when_the_majority_is_back(
    rabbitmq: Cluster,
) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix, broker=rabbitmq.broker(prefix, publish_timeout=2.0)) as queue:
        await queue.put(new_record())
        rabbitmq.kill(2)
        rabbitmq.kill(3)
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(SpoolUnavailable):
                await queue.put(new_record())
            assert time.monotonic() - began < 4.5, "and not at the usual one of five seconds"
        rabbitmq.mend()
        await rabbitmq.healthy()
        await put_at_last(queue, new_record())


async def test_confirmed_records_survive_the_death_of_all_nodes_at_once(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        async with traffic(queue) as seen:
            await until(lambda: len(seen.confirmed) > 500, 30)
            for node in rabbitmq.nodes:
                rabbitmq.kill(node)
        rabbitmq.mend()
        await rabbitmq.healthy()
        await until(lambda: queue.ready, 30, lambda: queue.why_not_ready)
    stored = {each.key for each in await read_all(rabbitmq, ready_queues(prefix))}
    assert seen.confirmed.keys() <= stored


async def test_a_record_that_the_broker_does_not_take_is_called_too_large_and_the_others_go_on(
    rabbitmq: Cluster,
) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        async with traffic(queue) as seen:
            for _ in range(2):
                with pytest.raises(SpoolTooLarge, match="16777216"):
                    await queue.put(new_record(17 * 1024**2))
        assert seen.confirmed
        assert not seen.failures
    assert seen.confirmed.keys() <= {each.key for each in await read_all(rabbitmq, ready_queues(prefix))}


async def test_at_the_quota_new_mail_is_refused_while_retries_and_acknowledgements_go_on(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix, broker=rabbitmq.broker(prefix, quota_bytes=200_000)) as queue:
        with pytest.raises(SpoolFull, match="quota is reached"):
            for _ in range(200):
                await queue.put(new_record())
        assert "quota" in queue.why_not_ready
        held = await queue.take()
        await held.settle([Successor(dataclasses.replace(held.record, attempt=1), delay=3)])
        while not queue.ready:
            held = await queue.take()
            await held.settle()
        await queue.put(new_record())


async def test_records_of_other_relays_count_towards_the_quota(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    small = rabbitmq.broker(prefix, quota_bytes=200_000)
    async with spool(rabbitmq, prefix) as generous, spool(rabbitmq, prefix, broker=small) as strict:
        await strict.put(new_record())
        for _ in range(150):
            await generous.put(new_record())
        await until(lambda: not strict.ready, 10)
        with pytest.raises(SpoolFull):
            await strict.put(new_record())


async def test_a_queue_deleted_under_us_is_made_again(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        await queue.put(new_record())
        for name in ready_queues(prefix):
            rabbitmq.control(1, "delete_queue", name)
        record = new_record()
        await put_at_last(queue, record)
        await both_lanes(queue)
    stored = await read_all(rabbitmq, ready_queues(prefix))
    assert stored, "it was put at last"
    assert all(each == record for each in stored), "twice, if the first confirm came too late"


async def test_a_broker_that_would_drop_dead_letters_is_not_used(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    policy = '{"overflow": "drop-head"}'
    rabbitmq.control(1, "set_policy", prefix, f"^{prefix}", policy, "--apply-to", "quorum_queues")
    async with spool(rabbitmq, prefix, wait=False) as queue:
        await until(lambda: "dead-letter" in queue.why_not_ready, 20, lambda: queue.why_not_ready)
        assert "remove the policy" in queue.why_not_ready
        with pytest.raises(SpoolUnavailable, match="remove the policy"):
            await queue.put(new_record())
        rabbitmq.control(1, "clear_policy", prefix)
        await until(lambda: queue.ready, 20, lambda: queue.why_not_ready)


async def test_at_the_brokers_own_alarm_new_mail_is_refused_and_accepted_again_when_it_is_over(
    rabbitmq: Cluster,
) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix, broker=rabbitmq.broker(prefix, publish_timeout=1.0)) as queue:
        await queue.put(new_record())
        rabbitmq.control(1, "set_vm_memory_high_watermark", "absolute", "1")
        try:
            with pytest.raises(SpoolFull, match="takes no more records"):
                while True:
                    with suppress(SpoolUnavailable):
                        await queue.put(new_record())
            held = await queue.take()
            await held.settle()
        finally:
            rabbitmq.control(1, "set_vm_memory_high_watermark", "0.4")
        await until(lambda: queue.ready, 20, lambda: queue.why_not_ready)
        await queue.put(new_record())


async def test_addresses_and_quota_that_change_are_used_without_a_restart(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    broker = rabbitmq.broker(prefix)
    wrong = dataclasses.replace(broker, addresses=("127.0.0.1:1",))
    async with spool(rabbitmq, prefix, broker=wrong, wait=False) as queue:
        await until(lambda: "cannot be reached" in queue.why_not_ready, 20, lambda: queue.why_not_ready)
        queue.reconfigure(broker)
        await until(lambda: queue.ready, 20, lambda: queue.why_not_ready)
        queue.reconfigure(dataclasses.replace(broker, quota_bytes=1000))
        await queue.put(new_record())
        with pytest.raises(SpoolFull):
            await queue.put(new_record())


async def test_a_wrong_password_is_said_and_heals_when_it_is_corrected(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix, wait=False, password="wrong") as queue:
        await until(lambda: "wrong password" in queue.why_not_ready, 20, lambda: queue.why_not_ready)
        with pytest.raises(SpoolUnavailable, match="wrong password"):
            await queue.put(new_record())
        rabbitmq.control(1, "change_password", "relay", "wrong")
        try:
            await until(lambda: queue.ready, 20, lambda: queue.why_not_ready)
        finally:
            rabbitmq.control(1, "change_password", "relay", "secret")


async def test_a_wrong_ca_is_said(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    other = rabbitmq.folder / "other-ca"
    certificates.write(other, ["other.test"], [])
    async with spool(rabbitmq, prefix, wait=False, ca_file=str(other / "ca.crt")) as queue:
        await until(lambda: "certificate" in queue.why_not_ready, 20, lambda: queue.why_not_ready)


async def test_a_wrong_name_in_the_certificate_is_said(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    broker = dataclasses.replace(rabbitmq.broker(prefix), server_name="elsewhere.test")
    async with spool(rabbitmq, prefix, broker=broker, wait=False) as queue:
        await until(lambda: "not valid for elsewhere.test" in queue.why_not_ready, 20, lambda: queue.why_not_ready)


async def test_a_relay_that_starts_before_its_broker_says_so_and_connects_when_it_comes(
    rabbitmq: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "RETURN_WAIT", 60.0)
    for node in rabbitmq.nodes:
        rabbitmq.kill(node)
    prefix = new_prefix()
    patient = rabbitmq.broker(prefix, publish_timeout=60.0)
    async with spool(rabbitmq, prefix, wait=False, broker=patient) as queue:
        await until(lambda: "cannot be reached" in queue.why_not_ready, 20, lambda: queue.why_not_ready)
        began = time.monotonic()
        with pytest.raises(SpoolUnavailable, match="cannot be reached"):
            await queue.put(new_record())
        assert time.monotonic() - began < 20.0, "it does not wait for the return of what never was"
        rabbitmq.mend()
        await until(lambda: queue.ready, 90, lambda: queue.why_not_ready)
        await queue.put(new_record())
