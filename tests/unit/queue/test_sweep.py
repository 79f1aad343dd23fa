"""Which queues of pools that are gone may be removed, and which never."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.children.relay.config import queue_prefix, queue_space
from relayfleet.decide.queue.sweep import (
    APART,
    CLOCKS,
    GONE,
    SETTLING,
    Doubt,
    Found,
    Sight,
    Step,
    Watch,
    obstacle,
    pool_of,
    pools_of,
    queues_of,
)
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.rabbitmq.journal import stream
from relayfleet.relay.spool.rabbitmq.topology import LANES, Topology
from tests.unit.children.scene import pool

SPACE = queue_space("mail", "eu")
READY = f"{SPACE}tx.v1.ready.a"


def declared(name: str = "tx") -> list[Found]:
    """What the relays of a pool declare, by the relays' own code."""
    prefix = f"{SPACE}{name}"
    topology = Topology(prefix, 3)
    made = [
        *(each for lane in LANES for each in topology.queues(lane)),
        *topology.provider_lanes(),
        *topology.parking()[1:],
    ]
    quorum = [Found(each.name) for each in made]
    return [*quorum, Found(stream(Broker((), queue_prefix=prefix)).name, kind="stream", records=7)]


EMPTY = Sight(
    queues=(*declared(), *declared("bulk"), Found("relayfleet-canary-1", records=1)),
    pools=frozenset({"bulk"}),
    writers=frozenset({"operator", "relay", "relay@bulk-1", "prober"}),
    connected=frozenset({"operator", "relay@bulk-1", "prober"}),
    ours=frozenset({"operator", "relay@bulk-1", "prober"}),
    shared="relay",
)


def changed(name: str, **what: object) -> Sight:
    """The same with one of the pool's queues being another."""
    return replace(EMPTY, queues=tuple(replace(each, **what) if each.name == name else each for each in EMPTY.queues))  # type: ignore[arg-type]


def test_every_queue_that_relays_declare_is_known_and_of_its_pool() -> None:
    assert queue_prefix(pool(), "eu") == f"{SPACE}tx"
    assert {pool_of(each.name, SPACE) for each in declared()} == {"tx"}
    assert pool_of(Topology(f"{SPACE}tx", 3).probe("0123456789ab").name, SPACE) == "tx"


@pytest.mark.parametrize(
    "name",
    [
        "relayfleet.eu.mail2.tx.v1.ready.a",
        "relayfleet.us.mail.tx.v1.ready.a",
        "relayfleet.eu.mail.tx.v2.ready.a",
        "relayfleet.eu.mail.tx.v1.ready.c",
        "relayfleet.eu.mail.tx.v1.ready.a.old",
        "relayfleet.eu.mail.tx.v1.ready.a\n",
        "relayfleet.eu.mail.tx.v1.wait.a",
        "relayfleet.eu.mail.tx.v1.lane.a",
        "relayfleet.eu.mail.tx.v1.look.0",
        "relayfleet.eu.mail.a.b.v1.ready.a",
        "relayfleet.eu.mail..v1.ready.a",
        "orders",
    ],
)
def test_names_that_are_not_of_the_scheme_are_nobodys(name: str) -> None:
    assert pool_of(name, SPACE) is None


def test_queues_that_wait_go_first_and_those_in_which_records_end_last() -> None:
    order = [each.name.removeprefix(f"{SPACE}tx.v1.").split(".")[0] for each in queues_of("tx", SPACE, EMPTY)]
    assert len(order) == 46
    assert list(dict.fromkeys(order)) == ["wait", "lane", "park", "look", "quarantine", "journal", "ready"]
    assert pools_of((each.name for each in EMPTY.queues), SPACE) == {"tx", "bulk"}


def test_nothing_is_against_an_empty_pool_that_is_gone() -> None:
    assert obstacle("tx", SPACE, EMPTY, locked=False) == ""
    without = replace(EMPTY, writers=EMPTY.writers - {"relay"})
    assert obstacle("tx", SPACE, without, locked=True) == ""


OBSTACLES = {
    "the pool exists": (replace(EMPTY, pools=frozenset({"tx"})), "the pool exists"),
    "a broker is away": (replace(EMPTY, whole=False), "not all brokers"),
    "a record is ready": (changed(READY, records=1), "ready.a holds records"),
    "a record waits": (changed(f"{SPACE}tx.v1.wait.14400.b", records=1), "wait.14400.b holds records"),
    "a record is in a provider lane": (changed(f"{SPACE}tx.v1.lane.15", records=1), "lane.15 holds records"),
    "a record is parked": (changed(f"{SPACE}tx.v1.park", records=1), "park holds records"),
    "a record is looked at": (changed(f"{SPACE}tx.v1.look", records=1), "look holds records"),
    "a record is for a human": (changed(f"{SPACE}tx.v1.quarantine", records=1), "quarantine holds records"),
    "one could not be counted": (changed(READY, records=None), "could not be counted"),
    "the brokers count nothing": (replace(EMPTY, counted=False), "do not say what is in their queues"),
    "one has a member that is away": (changed(READY, whole=False), "members that are not up"),
    "one is somebody else's": (changed(READY, kind="classic"), "is a classic queue"),
    "the journal is no stream": (changed(f"{SPACE}tx.v1.journal", kind="quorum"), "is a quorum queue"),
    "one is of a newer version": (
        replace(EMPTY, queues=(*EMPTY.queues, Found(f"{SPACE}tx.v2.ready.a"))),
        "does not know",
    ),
    "one is consumed": (replace(EMPTY, consumed=frozenset({READY})), "has a consumer"),
    "a relay that is gone still has its user": (
        replace(EMPTY, writers=EMPTY.writers | {"relay@tx-1"}),
        "user relay@tx-1 may write",
    ),
    "or is still logged in without": (
        replace(EMPTY, connected=EMPTY.connected | {"relay@tx-1"}),
        "user relay@tx-1 may write",
    ),
    "somebody's user may write": (replace(EMPTY, writers=EMPTY.writers | {"ann"}), "user ann may write"),
    "the shared user is in use": (replace(EMPTY, connected=EMPTY.connected | {"relay"}), "somebody is logged in"),
    "or may be": (replace(EMPTY, sharing=frozenset({"bulk-2"})), "relay bulk-2 logs in as user relay"),
}


@pytest.mark.parametrize(("sight", "why"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_keeps_all_queues_of_a_pool(sight: Sight, why: str) -> None:
    assert why in obstacle("tx", SPACE, sight, locked=False)


def test_a_lock_that_does_not_hold_is_none() -> None:
    assert "made again" in obstacle("tx", SPACE, EMPTY, locked=True)


def test_another_pools_mail_keeps_nothing() -> None:
    sight = replace(EMPTY, queues=(*declared(), *(replace(each, records=9) for each in declared("bulk"))))
    assert obstacle("tx", SPACE, sight, locked=False) == ""


names = st.sampled_from(["tx", "tx-2", "t", "bulk"])
suffixes = st.sampled_from(["v1.ready.a", "v1.wait.60.b", "v1.quarantine", "v1.journal", "v2.ready.a", "x"])
users = st.frozensets(st.sampled_from(["operator", "relay", "relay@a", "relay@b", "ann"]))
queues = st.builds(
    Found,
    name=st.builds(lambda pool, suffix: f"{SPACE}{pool}.{suffix}", names, suffixes),
    kind=st.sampled_from(["quorum", "stream"]),
    records=st.sampled_from([0, 0, 0, 1, None]),
)
sights = st.builds(
    Sight,
    queues=st.lists(queues, max_size=6).map(tuple),
    pools=st.frozensets(names, max_size=2),
    consumed=st.just(frozenset()),
    whole=st.booleans(),
    counted=st.booleans(),
    writers=users,
    connected=users,
    ours=users,
    shared=st.just("relay"),
)


@given(names, sights, st.booleans())
def test_what_is_removed_is_the_pools_own_and_empty_and_out_of_everybodys_reach(
    gone: str, sight: Sight, locked: bool
) -> None:
    due = queues_of(gone, SPACE, sight)
    assert all(each.name.startswith(f"{SPACE}{gone}.v1.") for each in due)
    if obstacle(gone, SPACE, sight, locked=locked):
        return
    assert gone not in sight.pools
    assert sight.whole
    assert sight.counted
    assert not any(each.records != 0 for each in due if not each.name.endswith("journal"))
    assert not sight.connected - sight.ours
    assert not sight.writers - sight.ours - {"relay"}
    assert not (locked and "relay" in sight.writers - sight.ours)
    assert not any("v2" in each.name for each in sight.queues if each.name.startswith(f"{SPACE}{gone}."))


looks = st.lists(st.tuples(st.floats(0.5, 90.0), st.booleans(), st.booleans()), max_size=30)


@given(looks, st.floats(0.0, GONE + 200.0))
def test_nothing_is_removed_but_after_ten_minutes_of_absence_one_of_emptiness_and_a_lock_that_has_settled(
    looks: list[tuple[float, bool, bool]], head_start: float
) -> None:
    """Whatever the looks find, and whenever they come. Each: seconds since the one before, whether the pool exists, whether something is in the way."""
    watch, now, locked = Watch(), 1000.0, None
    watch.saw(["tx"], now)
    gone_since: float | None = now
    empty_since: float | None = None
    now += head_start
    for pause, exists, blocked in looks:
        now += pause
        watch.saw([] if exists else ["tx"], now)
        gone_since = None if exists else (gone_since or now)
        if watch.due(now):
            watch.judged("tx", "why" if blocked else "", now)
            empty_since = None if blocked else (empty_since or now)
        empty_since = None if exists else empty_since
        step = watch.step("tx", now, locked)
        if step is not Step.KEEP:
            assert gone_since is not None
            assert now - gone_since >= GONE
            assert empty_since is not None
            assert now - empty_since >= APART
        if step is Step.REMOVE:
            assert locked is not None
            assert now - locked >= SETTLING
        if step is Step.LOCK:
            assert locked is None
            locked = now
        if step is Step.KEEP:
            locked = None


def stepped(watch: Watch, now: float, locked: float | None = None, pools: tuple[str, ...] = ("tx",)) -> Step:
    """A look that finds nothing in the way."""
    watch.saw(pools, now)
    for each in watch.due(now):
        watch.judged(each, "", now)
    return watch.step("tx", now, locked)


def test_it_does_come_to_an_end() -> None:
    watch = Watch()
    looks = ((0.0, None), (GONE, None), (GONE + APART, None), (GONE + 65.0, 660.0), (700.0, 660.0))
    steps = [stepped(watch, now, locked) for now, locked in looks]
    assert steps == [Step.KEEP, Step.KEEP, Step.LOCK, Step.WAIT, Step.REMOVE]


def test_what_was_seen_of_a_pool_before_it_came_back_counts_for_nothing() -> None:
    watch = Watch()
    assert [stepped(watch, now) for now in (0.0, GONE, GONE + APART)][-1] is Step.LOCK
    stepped(watch, 700.0, pools=())
    assert stepped(watch, 800.0) is Step.KEEP
    assert stepped(watch, 800.0 + GONE) is Step.KEEP, "one look is not two"
    assert stepped(watch, 800.0 + GONE + APART) is Step.LOCK


ASKED = datetime.datetime(2026, 11, 28, 12, tzinfo=datetime.UTC)
DOUBT = Doubt(READY, "quorum", "mail-rabbitmq-0", ASKED)
AWAY = replace(EMPTY, whole=False)


def test_a_deletion_is_over_when_the_queue_is_gone_or_all_brokers_are_back() -> None:
    assert not DOUBT.over(AWAY)
    assert DOUBT.over(EMPTY)
    assert DOUBT.over(replace(AWAY, queues=tuple(each for each in AWAY.queues if each.name != READY)))


def test_the_program_that_was_asked_has_ended_when_another_began_later_by_any_clock() -> None:
    second = datetime.timedelta(seconds=1)
    assert not DOUBT.ended(None)
    assert not DOUBT.ended(ASKED - second)
    assert not DOUBT.ended(ASKED + CLOCKS)
    assert DOUBT.ended(ASKED + CLOCKS + second)
    assert not replace(DOUBT, kind="stream").ended(ASKED + CLOCKS + second)


def test_it_has_to_be_over_in_all_looks_for_a_while() -> None:
    doubt = DOUBT.seen(True, 100.0)
    assert not doubt.gone(100.0)
    assert doubt.seen(True, 110.0).gone(100.0 + SETTLING)
    assert not doubt.seen(False, 110.0).seen(True, 115.0).gone(100.0 + SETTLING)
