"""What is judged how: one sentence a case, played on a stage with the real decision code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import pytest

from relayfleet.decide.health.evidence import (
    Confirms,
    Deliveries,
    Evidence,
    Exited,
    Heartbeat,
    Intake,
    Lookups,
    NodeFact,
    OwnReport,
    Probe,
    Refused,
    Reset,
    ServiceKind,
    Silent,
)
from relayfleet.decide.health.words import Level, Manual, Reason
from tests.unit.decide.scene import A, Behaviour, Scene, always, to

ACTIVE, SOFT, HARD = Level.ACTIVE, Level.SOFT, Level.HARD


def nothing(at: float) -> Iterable[Evidence]:
    return ()


def windows(*make: Callable[[float], Evidence]) -> Callable[[float], Iterable[Evidence]]:
    """Live evidence, a window each 200 ms."""
    return lambda at: [each(at) for each in make] if round(at / 0.025) % 8 == 0 else []


def delivers(relay: str, provider: str, replied: int, failed: int, source: str = "ip") -> Callable[[float], Evidence]:
    return lambda at: Deliveries(relay, at, source, provider, replied, failed, 0, 0)


def confirms(relay: str, good: int, late: int) -> Callable[[float], Evidence]:
    return lambda at: Confirms(relay, at, "mq-0", good, late)


def takes(relay: str, accepted: int, deferred: int) -> Callable[[float], Evidence]:
    return lambda at: Intake(relay, at, accepted, deferred)


def asks(relay: str, kind: ServiceKind, name: str, answered: int, failed: int) -> Callable[[float], Evidence]:
    return lambda at: Lookups(relay, at, kind, name, answered, failed)


def after(start: float, behaviour: Behaviour) -> Behaviour:
    return lambda vantage, at: behaviour(vantage, at) if at >= start else "answers"


@dataclass(frozen=True)
class Case:
    """`levels` names the relays that are not active at the end, with their reasons; `within`: seconds for r0 to leave traffic."""

    behave: dict[str, Behaviour] = field(default_factory=dict)
    also: Callable[[float], Iterable[Evidence]] = nothing
    blind: tuple[str, ...] = ()
    relays: int = 3
    seconds: float = 2.0
    levels: dict[str, tuple[Level, Reason]] = field(default_factory=dict)
    causes: set[Reason] = field(default_factory=set)
    alert: Reason | None = None
    within: float | None = None


CASES = {
    "all is well": Case(),
    "a relay that falls silent is softly cordoned within half a second": Case(
        {"r0": always("silent")}, levels={"r0": (SOFT, Reason.SILENT)}, within=0.5
    ),
    "silence is final after three seconds from two nodes": Case(
        {"r0": always("silent")}, seconds=4, levels={"r0": (HARD, Reason.SILENT)}
    ),
    "a relay that refuses is hard cordoned at once": Case(
        {"r0": always("refuses")}, levels={"r0": (HARD, Reason.REFUSING)}, within=0.3
    ),
    "a relay that answers 451 to probe mails, and others do not, is softly cordoned": Case(
        {"r0": always("errs")}, seconds=6, levels={"r0": (SOFT, Reason.ERRING)}, within=1.2
    ),
    "a relay that takes envelopes, but stores no mail while others do, is softly cordoned": Case(
        {"r0": always("stores not")}, seconds=12, levels={"r0": (SOFT, Reason.ERRING)}
    ),
    "a relay that answers, but hangs in each mail, is softly cordoned, never hard": Case(
        {"r0": always("hangs")}, seconds=6, levels={"r0": (SOFT, Reason.ERRING)}
    ),
    "a relay that answers, but breaks off each mail, is softly cordoned, never hard": Case(
        {"r0": always("breaks off")}, seconds=6, levels={"r0": (SOFT, Reason.ERRING)}
    ),
    "a queue that is down for all relays cordons nobody, though all take envelopes": Case(
        {f"r{n}": always("stores not") for n in range(3)}, seconds=25, causes={Reason.POOL_ERRING}
    ),
    "relays that all turn envelopes away cordon nobody": Case(
        {f"r{n}": always("errs") for n in range(3)}, seconds=25, causes={Reason.POOL_ERRING}
    ),
    "a relay that answers after two seconds is softly cordoned, never hard": Case(
        {"r0": always("slow")}, seconds=4, levels={"r0": (SOFT, Reason.SLOW)}
    ),
    "a relay that one vantage cannot reach stays, and the path is named": Case(
        {"r0": to("A", "silent")}, seconds=5, causes={Reason.PATH_DISPUTED}
    ),
    "a blind vantage blames nobody and is named": Case(
        blind=("A",), seconds=5, causes={Reason.VANTAGE_BLIND, Reason.PATH_DISPUTED}
    ),
    "when no vantage sees anything nobody is blamed": Case(blind=("A", "B"), seconds=6, causes={Reason.VANTAGE_BLIND}),
    "when all relays fall silent at once traffic goes on": Case(
        {f"r{n}": always("silent") for n in range(3)}, seconds=6, causes={Reason.VANTAGE_BLIND}
    ),
    "a dead ISP cordons nobody and is named": Case(
        also=windows(*(delivers(f"r{n}", "isp", 0, 9) for n in range(3)), *(delivers(f"r{n}", "ok", 9, 0) for n in range(3))),
        seconds=5,
        causes={Reason.DESTINATION_DOWN},
    ),
    "a dead ISP that only one relay sends to cordons nobody": Case(
        also=windows(delivers("r0", "isp", 0, 9), delivers("r1", "other", 9, 0)), seconds=5
    ),
    "an ISP that one relay alone does not reach is no reason to cordon it": Case(
        also=windows(delivers("r0", "isp", 0, 9), delivers("r1", "isp", 9, 0)), seconds=5
    ),
    "replies that reject count for the path: a blocking ISP cordons nobody": Case(
        also=windows(lambda at: Deliveries("r0", at, "ip", "isp", 50, 0, 0, 0), delivers("r1", "isp", 9, 0)), seconds=5
    ),
    "a relay that reaches no ISP while others reach the same ones is softly cordoned": Case(
        also=windows(
            delivers("r0", "isp-1", 0, 9),
            delivers("r0", "isp-2", 0, 9),
            delivers("r1", "isp-1", 9, 0),
            delivers("r1", "isp-2", 9, 0),
        ),
        seconds=3,
        levels={"r0": (SOFT, Reason.EGRESS_FAILING)},
    ),
    "a SendingIP that is dead for all who use it cordons nobody": Case(
        also=windows(
            delivers("r0", "isp-1", 0, 9, "dead"),
            delivers("r0", "isp-2", 0, 9, "dead"),
            delivers("r1", "isp-1", 9, 0, "live"),
            delivers("r1", "isp-2", 9, 0, "live"),
        ),
        seconds=5,
    ),
    "a dead broker cordons nobody and is named": Case(
        also=windows(*(confirms(f"r{n}", 0, 9) for n in range(3))), seconds=5, causes={Reason.BROKER_DOWN}
    ),
    "a relay that alone gets no confirms is softly cordoned": Case(
        also=windows(confirms("r0", 0, 9), confirms("r1", 9, 0), confirms("r2", 9, 0)),
        seconds=3,
        levels={"r0": (SOFT, Reason.BROKER_UNREACHABLE)},
    ),
    "a dead database that makes all relays turn mail away cordons nobody": Case(
        also=windows(
            *(takes(f"r{n}", 0, 9) for n in range(3)),
            *(asks(f"r{n}", ServiceKind.DEPENDENCY, "db", 0, 9) for n in range(3)),
        ),
        seconds=5,
        causes={Reason.DEPENDENCY_DOWN, Reason.POOL_ERRING},
    ),
    "a dead resolver cordons nobody and is named": Case(
        also=windows(*(asks(f"r{n}", ServiceKind.RESOLVER, "198.18.0.53", 0, 9) for n in range(3))),
        seconds=5,
        causes={Reason.RESOLVER_DOWN},
    ),
    "a relay whose clients alone get 4xx is softly cordoned": Case(
        also=windows(takes("r0", 0, 9), takes("r1", 9, 0)), seconds=3, levels={"r0": (SOFT, Reason.ERRING)}
    ),
    "clients are compared with clients: probe mails that pass do not make one relay the culprit": Case(
        also=windows(takes("r0", 0, 9), takes("r1", 0, 9), takes("r2", 0, 9)), seconds=5, causes={Reason.POOL_ERRING}
    ),
    "two faults at once, a dead ISP and a silent relay, are told apart": Case(
        {"r0": always("silent")},
        also=windows(*(delivers(f"r{n}", "isp", 0, 9) for n in (1, 2)), *(delivers(f"r{n}", "ok", 9, 0) for n in (1, 2))),
        seconds=2,
        levels={"r0": (SOFT, Reason.SILENT)},
        causes={Reason.DESTINATION_DOWN},
    ),
    "a blind vantage does not hide a relay that refuses the other one": Case(
        {"r0": always("refuses")}, blind=("A",), levels={"r0": (HARD, Reason.REFUSING)}, seconds=3,
        causes={Reason.VANTAGE_BLIND, Reason.PATH_DISPUTED},
    ),
    "two relays of three that refuse: one is hard cordoned, the cap keeps the other soft": Case(
        {"r0": always("refuses"), "r1": always("refuses")},
        levels={"r0": (HARD, Reason.REFUSING), "r1": (SOFT, Reason.REFUSING)},
    ),
    "a relay that answers old sessions and greets no new one is softly cordoned": Case(
        {"r0": always("deaf")}, seconds=8, levels={"r0": (SOFT, Reason.ERRING)}, within=7.0
    ),
    "relays none of which greets a new session are not cordoned": Case(
        {f"r{n}": always("deaf") for n in range(3)}, seconds=10, causes={Reason.POOL_ERRING}
    ),
    "late heartbeats alone cordon nobody": Case(
        also=lambda at: [Heartbeat("r0", "A", at, 1.0), Heartbeat("r1", "A", at, 0.0)], seconds=5
    ),
    "a container that exited is hard cordoned at once": Case(
        {"r0": always("silent")},
        also=lambda at: [Exited("r0", at, 137)] if at < 5000.03 else [],
        seconds=1,
        levels={"r0": (HARD, Reason.EXITED)},
        within=0.03,
    ),
    "a relay that calls itself unfit is hard cordoned at once": Case(
        also=lambda at: [OwnReport("r0", at, "disk full", 0.2)], levels={"r0": (HARD, Reason.UNFIT)}, within=0.03
    ),
    "a relay that praises itself is cordoned all the same when two nodes hear nothing": Case(
        {"r0": always("silent")}, also=lambda at: [Intake("r0", at, 1000, 0)], levels={"r0": (SOFT, Reason.SILENT)}
    ),
    "live traffic overrules the one vantage that hears nothing": Case(
        {"r0": to("A", "silent")}, also=lambda at: [Intake("r0", at, 10, 0)], seconds=5, causes={Reason.PATH_DISPUTED}
    ),
    "a lost node and one silent vantage are not enough for hard before three seconds": Case(
        {"r0": always("silent")},
        also=lambda at: [NodeFact("node-r0", at, lost=True)],
        seconds=2,
        levels={"r0": (SOFT, Reason.SILENT)},
    ),
    "a lost node alone cordons nobody": Case(also=lambda at: [NodeFact("node-r0", at, lost=True)], seconds=5),
    "a pool of one relay is never cordoned": Case({"r0": always("silent")}, relays=1, seconds=6, alert=Reason.ALL_BAD),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_health(case: Case) -> None:
    scene = Scene(relays=case.relays).play(5.0)
    start = scene.now
    scene.behave = {name: after(start, behaviour) for name, behaviour in case.behave.items()}
    scene.also = lambda at: _moved(case.also, at, start)
    scene.blind = set(case.blind)
    scene.play(case.seconds)
    assert scene.decision is not None
    bad = {v.relay: (v.level, v.reason) for v in scene.decision.verdicts if v.level is not ACTIVE}
    assert bad == case.levels
    assert scene.causes() == case.causes
    assert scene.decision.alert == case.alert
    if case.within is not None:
        assert scene.cordons("r0")[0] - start <= case.within + 1e-6


def _moved(also: Callable[[float], Iterable[Evidence]], at: float, start: float) -> Iterable[Evidence]:
    """Cases are written as if they began at 5000; their evidence is of now."""
    return [replace(each, at=at) for each in also(at - start + 5000.0)]


@pytest.mark.parametrize("word", ["errs", "stores not", "hangs"])
@pytest.mark.parametrize("relays", [2, 3, 6])
def test_a_queue_that_comes_back_cordons_nobody(word: str, relays: int) -> None:
    scene = Scene(relays=relays).play(5.0)
    down, back = scene.now, scene.now + 30.0
    outage: Behaviour = lambda vantage, at: word if down <= at < back else "answers"  # noqa: E731
    scene.behave = dict.fromkeys(scene.names, outage)
    scene.play(60.0)
    assert [name for name in scene.names if scene.cordons(name)] == []
    assert scene.causes() == set()


def test_evidence_about_a_relay_that_no_longer_exists_is_counted_and_left_out() -> None:
    scene = Scene().play(1.0)
    decision = scene.hand([Refused("gone", "A", "pod", Probe.DIALOGUE, scene.now), Exited("gone", scene.now, 1)])
    assert decision.ignored == 2
    assert set(decision.state.relays) <= set(scene.names)


def test_a_relay_that_left_the_roster_is_forgotten() -> None:
    scene = Scene(behave={"r2": always("refuses")}).play(2.0)
    scene.relays = 2
    scene.play(0.1)
    assert set(scene.state.relays) == {"r0", "r1"}


def test_a_vantage_that_is_gone_says_nothing_any_more() -> None:
    scene = Scene(behave={"r0": to("A", "silent")}).play(1.0)
    scene.vantages = (A,)
    assert scene.play(0.05).levels()["r0"] is ACTIVE
    decision = scene.hand([Refused("r0", "B", "pod", Probe.DIALOGUE, scene.now)])
    assert decision.ignored == 1


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9])
def test_a_clock_that_jumps_changes_no_level(jump: float) -> None:
    scene = Scene(behave={"r0": always("silent")}).play(2.0)
    before = scene.levels()
    scene.now += jump
    scene._sent.clear()
    assert scene.hand([]).state.clock - scene.state.clock == 0.0
    assert scene.levels() == before
    assert scene.play(1.0).levels() == before


def test_evidence_from_a_flood_of_telemetry_is_bounded_and_moves_nobody_else() -> None:
    scene = Scene().play(1.0)
    flood = [Deliveries("r0", scene.now, f"ip-{n}", f"isp-{n}", 0, 9, 0, 0) for n in range(5000)]
    decision = scene.hand(flood)
    assert decision.ignored >= 4700
    assert len(decision.state.relays["r0"].trials) <= 64
    assert set(scene.levels().values()) == {ACTIVE}


def test_numbers_that_are_none_are_left_out() -> None:
    scene = Scene().play(1.0)
    nan, endless = float("nan"), float("inf")
    batch: list[Evidence] = [
        Refused("r0", "A", "pod", Probe.DIALOGUE, nan),
        OwnReport("r0", scene.now, "", nan),
        Intake("r0", scene.now, -5, 3),
        Heartbeat("r0", "A", scene.now, nan),
        Silent("r0", "A", "pod", Probe.DIALOGUE, endless, ()),
    ]
    assert scene.hand(batch).ignored == len(batch)
    assert set(scene.levels().values()) == {ACTIVE}


def test_old_evidence_is_left_out() -> None:
    scene = Scene().play(1.0)
    assert scene.hand([Exited("r0", scene.now - 60.0, 1)]).ignored == 1
    assert scene.levels()["r0"] is ACTIVE


def test_a_prober_that_stops_talking_leaves_things_as_they_are() -> None:
    scene = Scene().play(1.0)
    for _ in range(20):
        scene.now += 1.0
        scene.hand([])
    assert set(scene.levels().values()) == {ACTIVE}


def test_the_first_silence_asks_for_a_burst_with_a_reference() -> None:
    scene = Scene().play(1.0)
    scene.now += 0.04
    decision = scene.hand([Silent("r0", "A", "pod", Probe.DIALOGUE, scene.now, (scene.now - 0.03,))])
    relays = {burst.relay for burst in decision.bursts}
    assert "r0" in relays
    assert len(relays) > 1
    assert decision.next_check == pytest.approx(scene.now + scene.policy.burst_gap)


def test_a_person_who_cordons_is_obeyed_and_named_as_reason() -> None:
    scene = Scene(manual={"r1": Manual.CORDON}).play(1.0)
    assert (scene.verdict("r1").level, scene.verdict("r1").reason) == (HARD, Reason.ORDERED)


def test_a_person_who_uncordons_overrules_the_evidence() -> None:
    scene = Scene(manual={"r0": Manual.UNCORDON}, behave={"r0": always("refuses")}).play(2.0)
    verdict = scene.verdict("r0")
    assert (verdict.level, verdict.reason) == (ACTIVE, Reason.KEPT_IN_TRAFFIC)
    assert "refused" in verdict.message


def test_after_a_persons_uncordon_a_relay_stands_as_if_it_had_never_been_out() -> None:
    scene = Scene(behave={"r0": always("refuses")}).play(2.0)
    assert scene.verdict("r0").level is HARD
    scene.behave, scene.manual = {}, {"r0": Manual.UNCORDON}
    scene.play(2.0)
    scene.manual = {}
    scene.play(1.0)
    assert (scene.verdict("r0").level, scene.verdict("r0").weight) == (ACTIVE, 4)
    scene.behave = {"r0": always("refuses")}
    assert scene.play(2.0).verdict("r0").level is HARD


def test_cordoning_all_by_hand_leaves_them_as_last_resort() -> None:
    scene = Scene(manual=dict.fromkeys(("r0", "r1", "r2"), Manual.CORDON)).play(0.1)
    assert set(scene.levels().values()) == {SOFT}
    assert scene.decision is not None
    assert scene.decision.alert is Reason.ALL_BAD


def test_while_paused_no_level_changes_and_afterwards_it_does() -> None:
    scene = Scene(paused=True, behave={"r0": always("refuses")}).play(3.0)
    assert set(scene.levels().values()) == {ACTIVE}
    scene.paused = False
    assert scene.play(0.5).levels()["r0"] is HARD


def test_every_verdict_explains_its_sum() -> None:
    scene = Scene(behave={"r0": always("silent")}).play(1.0)
    verdict = scene.verdict("r0")
    assert verdict.total == pytest.approx(sum(each.weight for each in verdict.findings))
    assert "no answer" in verdict.message


def test_reset_on_two_independent_sockets_at_once_is_a_soft_cordon() -> None:
    scene = Scene().play(1.0)
    scene.hand([Reset("r0", "A", "pod", Probe.DIALOGUE, scene.now)] * 2)
    scene.behave = {"r0": always("silent")}
    scene.play(0.1)
    assert (scene.verdict("r0").level, scene.verdict("r0").reason) == (SOFT, Reason.RESETTING)
