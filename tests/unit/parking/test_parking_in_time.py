"""What parking does in virtual time for a destination that is down, and for all other mail, beside the same relays without (docs/decisions/0028).

200 hands a relay; a mail each two seconds for another destination; the record's figures are these tests' own.
"""

from __future__ import annotations

import pytest

from relayfleet.relay.parking.known import EVERY, SPREAD
from relayfleet.relay.spool.rabbitmq.requeue.ramp import FIRST
from relayfleet.relay.spool.rabbitmq.topology import LANE_SECONDS
from tests.fakes.clock import in_virtual_time
from tests.fakes.parked import Mail, Peer, Pool, arrive

HOUR = 3600.0
MAILS = 1000


def down(until: float = HOUR, addresses: tuple[str, ...] = ("a", "b"), silent: tuple[str, ...] = ()) -> Peer:
    """Nobody answers until then, and at the `silent` addresses nobody ever does."""
    return Peer("down.test", addresses, up=lambda now, relay, address: now >= until and address not in silent)


def played(pool: Pool, quick: Peer, dead: Peer, seconds: float, rate: float = 0.2) -> None:
    async def work() -> None:
        pool.put(dead, MAILS)
        coming = [arrive(pool, quick, 0.5, seconds - 60.0), arrive(pool, dead, rate, seconds / 2, seed=6)]
        await pool.run(*coming, seconds=seconds)

    in_virtual_time(work())


def each_once(pool: Pool, peer: Peer) -> bool:
    """All of its mail was delivered, none twice."""
    found = [mail for mail, _ in pool.delivered if mail.peer is peer]
    return len(found) == len(set(map(id, found))) == pool.accepted[peer]


def longest_wait(pool: Pool, peer: Peer) -> float:
    """Of mail that came when it was known who is down; in the first minutes hands are full of the others'."""
    return max(at - mail.put_at for mail, at in pool.delivered if mail.peer is peer and mail.put_at > 600.0)


@pytest.mark.parametrize("relays", [1, 3])
def test_one_that_is_down_is_called_once_a_minute_whatever_mail_it_has_and_by_all_relays_together(relays: int) -> None:
    quick, dead = Peer("quick.test"), down()
    pool = Pool(quick, dead, relays=relays)
    played(pool, quick, dead, HOUR)
    minutes = 40
    calls = pool.calls(dead, HOUR - minutes * 60, HOUR) / len(dead.addresses)
    print(f"{relays} relays: {calls / minutes:.2f} trials a minute; {pool.moves} moves, {pool.deferred} put off")
    assert minutes * 60 / (EVERY + SPREAD) - 2 <= calls <= minutes * 1.1
    assert each_once(pool, quick)
    assert longest_wait(pool, quick) < 1.0
    assert len(pool.park) > 0.9 * pool.accepted[dead]


def test_without_parking_each_mail_is_tried_again_and_again() -> None:
    quick, dead = Peer("quick.test"), down()
    pool, without = Pool(quick, dead), Pool(quick, dead, parks=False)
    played(pool, quick, dead, HOUR)
    played(without, quick, dead, HOUR)
    print(f"put off: {pool.deferred} with, {without.deferred} without")
    assert pool.deferred < without.deferred / 2
    assert (without.moves, len(without.park)) == (0, 0)


@pytest.mark.parametrize("relays", [1, 3])
def test_when_it_answers_again_its_mail_goes_on_few_at_first_and_each_once(relays: int) -> None:
    quick, dead = Peer("quick.test"), down(until=1800.0)
    pool = Pool(quick, dead, relays=relays)
    played(pool, quick, dead, HOUR)
    counts = [gone for _, gone in pool.released if gone]
    last = max(at for mail, at in pool.delivered if mail.peer is dead and mail.put_at < 1800.0)
    print(f"{relays} relays: released {counts}, the last of its mail {last - 1800:.0f} s after it was up")
    assert counts[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert each_once(pool, dead)
    assert last - 1800.0 < EVERY + SPREAD + 120.0
    assert longest_wait(pool, quick) < 1.0


def test_a_host_that_stays_silent_hides_no_other_that_is_back() -> None:
    quick, dead = (
        Peer("quick.test"),
        down(1800.0, ("a", "b", "c", "d", "e", "f", "g", "h"), ("a", "b", "c", "d", "e", "f", "g")),
    )
    pool = Pool(quick, dead)
    played(pool, quick, dead, 2400.0, rate=0.01)
    assert {address for name, address, _ in pool.dials if name == dead.name} == set(dead.addresses)
    up = next(at for at, gone in pool.released if gone)
    assert up - 1800.0 <= EVERY + SPREAD + 10.0


def test_a_release_stops_when_it_fails_again_and_its_mail_is_not_lost() -> None:
    quick = Peer("quick.test")
    dead = Peer("down.test", up=lambda now, relay, address: 1800.0 <= now < 1885.0 or now >= 5400.0)
    pool = Pool(quick, dead)
    played(pool, quick, dead, 3 * HOUR, rate=0.01)
    between = sum(gone for at, gone in pool.released if 1900.0 < at < 5400.0)
    print(f"let go while it was down again: {between}")
    assert between <= 0.1 * MAILS
    assert each_once(pool, dead)


def test_while_nothing_at_all_is_reached_nobody_is_down() -> None:
    quick = Peer("quick.test", up=lambda now, relay, address: not 600.0 <= now < 3000.0)
    dead = Peer("other.test", up=lambda now, relay, address: not 600.0 <= now < 3000.0)
    pool = Pool(quick, dead)
    played(pool, quick, dead, HOUR)
    assert (pool.moves, len(pool.park)) == (0, 0)


def test_relays_that_disagree_cost_writes_and_no_mail() -> None:
    """Relay 1 cannot reach it, relay 0 can."""
    quick, apart = Peer("quick.test"), Peer("apart.test", up=lambda now, relay, address: relay == 0)
    pool = Pool(quick, apart, relays=2)

    async def work() -> None:
        coming = [arrive(pool, quick, 0.5, HOUR), arrive(pool, apart, 0.2, HOUR, seed=6)]
        await pool.run(*coming, seconds=3 * HOUR)

    in_virtual_time(work())
    print(f"{pool.accepted[apart]} mails, {pool.moves} moves, {pool.deferred} put off")
    got = [id(mail) for mail, _ in pool.delivered if mail.peer is apart]
    assert len(got) == len(set(got))
    assert len(got) > 0.9 * pool.accepted[apart], "the others wait for a retry"
    assert pool.moves < 0.1 * pool.accepted[apart]


def test_switched_off_or_with_relays_that_know_nothing_of_it_what_is_parked_gets_out_by_itself() -> None:
    quick, dead = Peer("quick.test"), down(until=1800.0)
    pool = Pool(quick, dead)

    async def work() -> None:
        pool.put(dead, MAILS)
        await pool.run(arrive(pool, quick, 0.5, 1500.0), seconds=1500.0)
        assert len(pool.park) == MAILS
        pool.relays[0].stop_parking()
        left: list[Mail] = list(pool.park)
        await pool.run(seconds=300.0 + LANE_SECONDS + 4 * HOUR)
        assert not pool.park
        assert {id(mail) for mail, _ in pool.delivered if mail.peer is dead} == set(map(id, left))

    in_virtual_time(work())
    assert each_once(pool, dead)
