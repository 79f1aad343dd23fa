"""The delivery of a Bulk pool: what it stores and claims tells it how slow brokers are, while no new mail comes."""

from __future__ import annotations

from relayfleet.protocol.relay_config import DeliveryRule, RuleTerm
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.scavenger.window import LEAST, LEAST_SHARE, MOST
from relayfleet.relay.spool.places import FRONT
from tests.relay.delivery.desk import a_record, desk

HOLD = DeliveryRule("hold", "Hold", (RuleTerm("recipientDomain", "there.test"),))


async def test_mail_that_is_put_off_opens_the_window_and_more_hands_take_from_the_queue() -> None:
    """By a clock that stands, so that nothing is late."""
    scavenger = Scavenger(bulk=True, clock=float)
    async with desk({}, 9, rules=(HOLD,), scavenger=scavenger) as scene:
        front = scene.service._hands.of(FRONT)
        assert front.limit == int(front.most * LEAST_SHARE)
        await scene.deliver(*(a_record(f"{each}@there.test") for each in range(MOST // 2)))
        assert len(scene.later) == MOST // 2
        assert scavenger.window.size == LEAST + MOST // 2
        assert front.limit == front.most * (LEAST + MOST // 2) // MOST
