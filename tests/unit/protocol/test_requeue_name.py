"""The name by which one relay at a time moves waiting mail: the same for all versions, and no queue with mail has one like it."""

from __future__ import annotations

from relayfleet.protocol import requeuing
from relayfleet.relay.spool.rabbitmq.topology import LANES, Topology


def test_relays_of_all_versions_take_the_same_name() -> None:
    assert requeuing.name("relayfleet.eu.mail.tx") == "relayfleet.eu.mail.tx.v1.requeue"
    assert requeuing.is_name(requeuing.name("relayfleet.eu.mail.tx"))


def test_no_queue_with_mail_is_taken_for_a_name() -> None:
    pool = Topology("relayfleet.eu.mail.requeue", 3)
    queues = [each.name for lane in LANES for each in pool.queues(lane)]
    assert len(queues) > 20 and not any(map(requeuing.is_name, queues))
