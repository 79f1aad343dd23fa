"""The delivery of a Bulk pool: what it stores and claims tells it how slow brokers are, while no new mail comes."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.protocol.relay_config import Delivery, DeliveryRule, RuleTerm
from relayfleet.relay.delivery import patience
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.scavenger.window import LEAST, LEAST_SHARE, MOST
from relayfleet.relay.spool.interface import Seen, SpoolUnavailable
from relayfleet.relay.spool.places import FRONT
from tests.relay.delivery.desk import a_record, desk, until

HOLD = DeliveryRule("hold", "Hold", (RuleTerm("recipientDomain", "there.test"),))


async def test_mail_that_is_put_off_opens_the_hands_and_not_the_window_for_new_mail() -> None:
    """By a clock that stands, so that nothing is late."""
    scavenger = Scavenger(bulk=True, clock=float)
    async with desk({}, 9, rules=(HOLD,), scavenger=scavenger) as scene:
        front = scene.service._hands.of(FRONT)
        assert front.limit == int(front.most * LEAST_SHARE)
        await scene.deliver(*(a_record(f"{each}@there.test") for each in range(MOST // 2)))
        assert len(scene.later) == MOST // 2
        assert (scavenger.window.hands, scavenger.window.size) == (LEAST + MOST // 2, LEAST)
        assert front.limit == front.most * (LEAST + MOST // 2) // MOST


async def test_what_was_put_off_late_since_brokers_failed_is_judged_from_its_first_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", (0.0,))
    now = [0.0]
    scavenger, began = Scavenger(bulk=True, clock=lambda: now[0]), list[float]()
    monkeypatch.setattr(scavenger, "confirmed", lambda way, at, size=0: began.append(at))
    async with desk({}, 9, rules=(HOLD,), scavenger=scavenger) as scene:
        settling = asyncio.create_task(scene.deliver(a_record("a@there.test")))
        scene.spool.pause = 0.1
        await until(lambda: scene.service.in_hand == 1)
        await asyncio.sleep(0.02)
        now[0] = 60.0
        scene.spool.fail_next.append(SpoolUnavailable("no majority"))
        await settling
        assert (len(scene.later), began) == (1, [0.0])


async def test_a_fault_in_what_hands_go_by_keeps_no_mail_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    scavenger = Scavenger(bulk=True)

    def fault(*told: object, **more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(scavenger.window), "confirmed", fault)
    async with desk({}, 9, rules=(HOLD,), scavenger=scavenger) as scene:
        await scene.deliver(a_record("a@there.test"))
        assert (len(scene.later), scene.service.counters.records_settled) == (1, 1)


async def test_with_half_of_the_hands_as_many_records_as_ever_wait_for_the_claims_of_others() -> None:
    scavenger, uncertain = Scavenger(bulk=True, clock=float), Seen(uncertain=frozenset({"b@there.test"}))
    async with desk({}, 9, rules=(HOLD,), delivery=Delivery(prefetch=4), scavenger=scavenger) as scene:
        records = [a_record("b@there.test") for _ in range(2)]
        for each in records:
            scene.journal.known[each.key] = uncertain
        delivering = asyncio.create_task(scene.deliver(*records))
        front = scene.service._hands.of(FRONT)
        await until(lambda: front.taken == 2)
        await asyncio.sleep(0.1)
        assert front.looking == 2
        scene.journal.known.clear()
        await delivering
