"""What a publishing lane says of itself."""

from __future__ import annotations

from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.rabbitmq.lane import PublishLane
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.topology import Topology


def lane() -> PublishLane:
    return PublishLane("a", Target(Broker(()), lambda: ("", "")), Topology("pool", 3), lambda: None)


def test_a_lane_without_a_connection_gives_the_links_reason() -> None:
    assert lane().why_not == "not connected yet"


def test_a_lane_that_was_lost_before_its_link_knows_blames_no_full_buffer() -> None:
    subject = lane()
    subject.link.why = ""
    assert "lost" in subject.why_not
