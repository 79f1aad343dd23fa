"""Which brokers are named for not answering: case by case, and what must hold whatever is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.decide.queue.looks import NEVER, Broker, Fault, Kind, Look, Sight, Step, Traffic, Trouble
from relayfleet.decide.queue.silence import (
    ALONE,
    BACK,
    HARD,
    LATELY,
    SILENT,
    SLOWEST,
    STALE,
    faults,
    in_the_dark,
    publishing,
)

NOW = 1000.0
WELL = Look(heard=NOW - 0.3, said=NOW - 0.3, confirmed=NOW - 0.3, run=50, usual=0.01)


def troubled(
    length: float, kind: Kind = Kind.SILENT, *, words: int = 6, said: float = NEVER, usual: float = 0.01
) -> Look:
    """A look whose trouble has lasted so long. `said`: how long ago the broker said anything."""
    trouble = Trouble(NOW - length, kind, "why", words)
    return Look(heard=NOW - 0.1, said=NOW - said if said > 0 else NEVER, usual=usual, trouble=trouble)


QUIET = Traffic()


def seen(*looks: Look, traffic: Traffic = QUIET, fault: Fault | None = None) -> Broker:
    return Broker({f"prober-{number}": look for number, look in enumerate(looks)}, traffic, fault)


def cluster(first: Broker, *others: Broker) -> dict[str, Broker]:
    """Three brokers; those that are not given are well."""
    rest = [*others, seen(WELL, WELL), seen(WELL, WELL)][:2]
    return {f"q-{number}": broker for number, broker in enumerate((first, *rest))}


FROZEN = seen(troubled(1.6), troubled(0.9))
FAULT = Fault(NOW - 20, Kind.SILENT, "why", 2, 2, NOW - 18)


@dataclass(frozen=True)
class Case:
    brokers: Mapping[str, Broker]
    named: str = ""


CASES: dict[str, Case] = {
    "all is well": Case(cluster(seen(WELL, WELL))),
    "nobody looks yet": Case({"q-0": Broker(), "q-1": Broker(), "q-2": Broker()}),
    "a broker stands still, both see it": Case(cluster(FROZEN), "q-0"),
    "a moment too early": Case(cluster(seen(troubled(SILENT - 0.1), troubled(0.9)))),
    "the other one has only just noticed": Case(cluster(seen(troubled(3.0), troubled(0.3)))),
    "the other one gets confirms": Case(cluster(seen(troubled(30.0), WELL))),
    "brokers that are slow at all times are given time": Case(
        cluster(seen(troubled(2.0, usual=0.2), troubled(1.5, usual=0.2)))
    ),
    "and so are those to which it takes long to connect": Case(
        cluster(seen(*[replace(troubled(2.0), connecting=0.2)] * 2))
    ),
    "and that is over, too": Case(cluster(seen(troubled(3.1, usual=0.2), troubled(1.5, usual=0.2))), "q-0"),
    "however slow it ever was": Case(
        cluster(seen(troubled(SLOWEST + 0.1, usual=9.0), troubled(5.0, usual=9.0))), "q-0"
    ),
    "killed: refused again and again": Case(
        cluster(seen(troubled(0.8, Kind.REFUSED), troubled(0.7, Kind.REFUSED))), "q-0"
    ),
    "one connection broke, and none was refused yet": Case(
        cluster(seen(troubled(0.8, Kind.RESET, words=1), troubled(0.8, Kind.RESET, words=2)))
    ),
    "refused to one, silent to the other": Case(cluster(seen(troubled(1.0, Kind.REFUSED), troubled(0.8)))),
    "a prober alone needs twice the time": Case(cluster(seen(troubled(SILENT * ALONE - 0.1)), seen(WELL), seen(WELL))),
    "and then it is enough": Case(cluster(seen(troubled(SILENT * ALONE + 0.1)), seen(WELL), seen(WELL)), "q-0"),
    "one prober is blind to all, the other sees well": Case(
        cluster(seen(troubled(9), WELL), seen(troubled(9), WELL), seen(troubled(9), WELL))
    ),
    "one prober is blind to all, the other sees one broker silent": Case(
        cluster(seen(troubled(9), troubled(3.1)), seen(troubled(9), WELL), seen(troubled(9), WELL)), "q-0"
    ),
    "both are blind: it is the looking that fails": Case(
        cluster(*(seen(troubled(9), troubled(9)) for _ in range(3)))
    ),
    "both are blind, and relays publish": Case(
        cluster(*(seen(troubled(9), troubled(9), traffic=Traffic(confirmed=NOW - 1)) for _ in range(3)))
    ),
    "both hear nothing, and relays neither": Case(
        cluster(*(seen(troubled(9), troubled(9), traffic=Traffic(NOW - 9.2, NOW - 2)) for _ in range(3))), "q-0 q-1 q-2"
    ),
    "a majority stands still: the third takes connections and cannot confirm": Case(
        cluster(FROZEN, FROZEN, seen(troubled(1.6, said=0.2), troubled(1.2, said=0.2))), "q-0 q-1 q-2"
    ),
    "a relay gets confirms from it: our way is at fault": Case(
        cluster(replace(FROZEN, traffic=Traffic(confirmed=NOW - 0.5)))
    ),
    "what a relay was told just before it stood still": Case(
        cluster(replace(FROZEN, traffic=Traffic(confirmed=NOW - 1.5))), "q-0"
    ),
    "what a relay was told long ago": Case(
        cluster(seen(troubled(90), troubled(90), traffic=Traffic(confirmed=NOW - LATELY - 1))), "q-0"
    ),
    "the other prober looks no more": Case(
        cluster(seen(troubled(3.1), replace(WELL, heard=NOW - STALE - 1))), "q-0"
    ),
    "a named broker has answered once": Case(cluster(seen(replace(WELL, run=1), replace(WELL, run=1), fault=FAULT)), "q-0"),
    "to one of two only": Case(cluster(seen(WELL, troubled(30), fault=FAULT)), "q-0"),
    "a few times to both: it is back": Case(cluster(seen(*[replace(WELL, run=BACK)] * 2, fault=FAULT))),
    "a named broker serves relays": Case(
        cluster(seen(troubled(20), troubled(20), traffic=Traffic(confirmed=NOW - 1), fault=FAULT))
    ),
    "nobody looks at a named broker any more": Case(
        cluster(seen(replace(troubled(20), heard=NOW - STALE - 1), fault=FAULT))
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_named(case: Case) -> None:
    assert " ".join(sorted(faults(case.brokers, NOW))) == case.named


def test_a_fault_says_since_when_why_and_who_saw_it() -> None:
    found = faults(cluster(FROZEN), NOW)["q-0"]
    assert found == Fault(NOW - 1.6, Kind.SILENT, "why", 2, 2, NOW)


def test_probers_in_the_dark_are_told_from_brokers_that_are_silent() -> None:
    blind = seen(troubled(9), troubled(9))
    assert in_the_dark(cluster(blind, blind, blind), NOW)
    assert not in_the_dark(cluster(blind, blind), NOW)
    assert not in_the_dark(cluster(blind, blind, seen(troubled(9, said=0.3), troubled(9))), NOW), "it heard something"
    assert not in_the_dark(cluster(*[seen(troubled(2), troubled(2))] * 3), NOW), "not long enough to tell"


def test_relays_publish_when_one_was_told_so_since_the_trouble_began() -> None:
    assert publishing(cluster(seen(WELL, traffic=Traffic(confirmed=NOW - 3))), NOW)
    assert not publishing(cluster(seen(WELL, traffic=Traffic(confirmed=NOW - LATELY - 1))), NOW)
    assert not publishing(cluster(replace(FROZEN, traffic=Traffic(confirmed=NOW - 1.5))), NOW)
    assert publishing(cluster(FROZEN, seen(WELL, traffic=Traffic(confirmed=NOW - 0.2))), NOW)


def told(kind: Kind, step: Step, at: float, **what: Any) -> Sight:
    return Sight(kind, step, at, **what)


def test_a_trouble_lasts_until_a_confirm_and_not_only_until_a_connection() -> None:
    look = Look().seeing(told(Kind.ANSWERED, Step.PUBLISH, 1.0, latency=0.02))
    look = look.seeing(told(Kind.SILENT, Step.PUBLISH, 2.5, since=2.0)).seeing(told(Kind.ANSWERED, Step.CONNECT, 3.0))
    assert look.trouble == Trouble(2.0, Kind.SILENT, "")
    assert look.said == 3.0
    look = look.seeing(told(Kind.ANSWERED, Step.PUBLISH, 4.0, latency=0.02))
    assert (look.trouble, look.run, look.confirmed) == (None, 1, 4.0)


def test_what_is_usual_is_followed_slowly_and_by_step() -> None:
    look = Look().seeing(told(Kind.ANSWERED, Step.CONNECT, 1.0, latency=0.3))
    look = look.seeing(told(Kind.ANSWERED, Step.PUBLISH, 1.1, latency=0.01))
    look = look.seeing(told(Kind.ANSWERED, Step.PUBLISH, 2.0, latency=0.11))
    assert look.connecting == 0.3
    assert look.usual == pytest.approx(0.02)


@pytest.mark.parametrize("kind", [Kind.BLOCKED, Kind.DENIED])
def test_what_is_no_fault_of_a_broker_is_no_trouble(kind: Kind) -> None:
    look = Look().seeing(told(kind, Step.PUBLISH, 1.0))
    assert look.trouble is None
    assert look.said == 1.0


ages = st.floats(0.0, 30.0)
looks = st.builds(
    lambda length, kind, words, said, heard, usual: replace(
        troubled(length, kind, words=words, said=said, usual=usual), heard=NOW - heard
    ),
    ages,
    st.sampled_from([Kind.SILENT, Kind.REFUSED, Kind.RESET, Kind.ERRED, Kind.UNREACHABLE]),
    st.integers(1, 9),
    ages,
    st.floats(0.0, 5.0),
    st.floats(0.0, 1.0),
)
any_look = st.one_of(looks, st.just(WELL))
traffics = st.builds(lambda confirmed, late: Traffic(NOW - confirmed, NOW - late), ages, ages)
brokers = st.builds(lambda a, b, traffic: seen(a, b, traffic=traffic), any_look, any_look, traffics)


@given(brokers, brokers, brokers)
def test_whoever_gets_a_confirm_from_a_broker_keeps_it_from_being_named(a: Broker, b: Broker, c: Broker) -> None:
    everybody = cluster(a, b, c)
    for name in faults(everybody, NOW):
        fresh = [look for look in everybody[name].looks.values() if NOW - look.heard <= STALE]
        assert fresh
        assert all(look.trouble and NOW - look.trouble.since >= 0.5 for look in fresh if look.trouble)
        assert not any(look.trouble is None for look in fresh)
        assert max(NOW - look.trouble.since for look in fresh if look.trouble) >= HARD


@given(st.lists(looks, min_size=6, max_size=6))
def test_probers_that_hear_nobody_name_nobody(found: list[Look]) -> None:
    deaf = [replace(each, said=NEVER) for each in found]
    assert faults(cluster(seen(*deaf[:2]), seen(*deaf[2:4]), seen(*deaf[4:])), NOW) == {}
