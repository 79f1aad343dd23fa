"""The rules of safety as properties: never all, unknown is not bad, more bad evidence is never better, one reason, no flapping."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relayfleet.decide.health.decision import decide
from relayfleet.decide.health.evidence import (
    Answered,
    Confirms,
    Erred,
    Evidence,
    Exited,
    Intake,
    OwnReport,
    Probe,
    Refused,
    Reset,
    Silent,
)
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.pool import Case, allowed, verdicts
from relayfleet.decide.health.roster import Relay
from relayfleet.decide.health.standing import Damping
from relayfleet.decide.health.state import NEVER, Standing, State
from relayfleet.decide.health.store import dump, load
from relayfleet.decide.health.suspicion import QUIET, Suspicion, weigh
from relayfleet.decide.health.words import CAPPED, Level, Manual, Reason
from tests.unit.decide.scene import A, B, Scene, always, to

START = 5000.0
NAMES = st.sampled_from(["r0", "r1", "r2"])
VANTAGE = st.sampled_from(["A", "B"])
PROBES = st.sampled_from(list(Probe))
AGES = st.floats(0.0, 2.0)


def silent(relay: str, vantage: str, probe: Probe, age: float) -> Evidence:
    return Silent(relay, vantage, "pod", probe, START, tuple(START - age * n / 4 for n in range(4, 0, -1)))


GOOD = st.one_of(
    st.builds(
        lambda relay, vantage, probe, age: Answered(relay, vantage, "pod", probe, START - age, 0.002),
        NAMES,
        VANTAGE,
        PROBES,
        AGES,
    ),
    st.builds(lambda relay, age: Intake(relay, START - age, 5, 0), NAMES, AGES),
    st.builds(lambda relay, age: Confirms(relay, START - age, "mq", 5, 0), NAMES, AGES),
)


def bad(names: st.SearchStrategy[str]) -> st.SearchStrategy[Evidence]:
    """Evidence that speaks against a relay and for nothing."""
    return st.one_of(
        st.builds(silent, names, VANTAGE, PROBES, AGES),
        st.builds(lambda r, v, p, age: Refused(r, v, "pod", p, START - age), names, VANTAGE, PROBES, AGES),
        st.builds(lambda r, v, p, age: Reset(r, v, "pod", p, START - age), names, VANTAGE, PROBES, AGES),
        st.builds(lambda r, age: Intake(r, START - age, 0, 5), names, AGES),
        st.builds(lambda r, age: Confirms(r, START - age, "mq", 0, 5), names, AGES),
        st.builds(lambda r: OwnReport(r, START, "disk full", 0.5), names),
        st.builds(lambda r: Exited(r, START, 137), names),
    )


ERRORS = st.builds(
    lambda r, v, age: Erred(r, v, "pod", Probe.TRANSACTION, START - age, 0.002, 451), NAMES, VANTAGE, AGES
)
MIXED = st.lists(st.one_of(GOOD, bad(NAMES), ERRORS), max_size=40)
MANUAL = st.dictionaries(NAMES, st.sampled_from([Manual.NONE, Manual.UNCORDON, Manual.CORDON]))


@given(MIXED, MANUAL, st.floats(0.0, 1.0))
def test_never_all_and_never_more_than_the_cap(batch: list[Evidence], manual: dict[str, Manual], share: float) -> None:
    scene = Scene(manual=manual, now=START, policy=Policy(max_cordoned=share))
    decision = scene.hand(batch)
    free = [each for each in decision.verdicts if manual.get(each.relay, Manual.NONE) is not Manual.CORDON]
    if free:
        assert any(each.level is Level.ACTIVE for each in free)
    else:
        assert all(each.level is Level.SOFT for each in decision.verdicts)
    capped = [v for v in free if v.level is Level.HARD or (v.level is Level.SOFT and v.reason in CAPPED)]
    assert len(capped) <= allowed(3, scene.policy)


@given(st.lists(GOOD, max_size=60), st.lists(st.floats(0.0, 30.0), max_size=5))
def test_unknown_is_not_bad_however_much_is_missing(batch: list[Evidence], pauses: list[float]) -> None:
    scene = Scene(now=START)
    scene.hand(batch)
    for pause in pauses:
        scene.now += pause
        scene.hand([])
    assert set(scene.levels().values()) == {Level.ACTIVE}


@given(MIXED, bad(st.just("r0")))
def test_more_bad_evidence_never_gives_a_better_verdict(batch: list[Evidence], worse: Evidence) -> None:
    silences = (Silent,)
    if isinstance(worse, silences) and any(isinstance(each, silences) and each.relay == "r0" for each in batch):
        return  # the last word about a silence counts, so one more is not one in addition
    before, after = _suspicion(batch), _suspicion([*batch, worse])
    assert after.level.severity >= before.level.severity
    if after.level is before.level:
        assert after.total >= before.total - 1e-9


def _suspicion(batch: list[Evidence]) -> Suspicion:
    scene = Scene(now=START)
    state = decide(scene.policy, State(), batch, scene.roster, START).state
    return weigh(state, scene.roster, scene.policy, scene.roster.relays[0])


@given(MIXED)
def test_every_relay_has_one_verdict_with_one_reason_and_a_message(batch: list[Evidence]) -> None:
    decision = Scene(now=START).hand(batch)
    assert [each.relay for each in decision.verdicts] == ["r0", "r1", "r2"]
    for each in decision.verdicts:
        assert each.message
        assert 1 <= each.weight <= 4
        assert each.level is Level.ACTIVE or each.reason not in (Reason.HEALTHY, Reason.ALL_BAD, Reason.RAMPING_UP)


@given(MIXED)
def test_the_same_evidence_gives_the_same_decision(batch: list[Evidence]) -> None:
    assert Scene(now=START).hand(batch) == Scene(now=START).hand(batch)


def suspect(level: Level) -> Suspicion:
    return Suspicion(level, 99.0, ()) if level is not Level.ACTIVE else QUIET


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(list(Level)), st.floats(0.05, 40.0)), max_size=400))
def test_no_relay_is_cordoned_more_than_three_times_in_ten_minutes(moves: list[tuple[Level, float]]) -> None:
    """The evidence may do what it likes, and recover at once: the damping alone bounds the flapping."""
    damping, standing, clock = Damping(Policy(), 2), Standing(), 0.0
    cordons: list[float] = []
    for level, pause in moves:
        clock += pause
        before = standing.level
        standing = damping.follow(_recovered(standing), suspect(level), clock)
        if before is Level.ACTIVE and standing.level is not Level.ACTIVE:
            cordons.append(clock)
    assert all(later - earlier > 600.0 for earlier, later in zip(cordons, cordons[3:], strict=False))


def _recovered(standing: Standing) -> Standing:
    from dataclasses import replace

    return replace(standing, recovery=60.0)


def test_a_relay_that_toggles_every_second_is_cordoned_three_times_in_ten_minutes_at_most() -> None:
    scene = Scene(behave={"r0": lambda vantage, at: "silent" if int(at) % 2 else "answers"}).play(600.0)
    assert 1 <= len(scene.cordons("r0")) <= 3
    assert scene.cordons("r1") == scene.cordons("r2") == []


def test_a_relay_returns_after_its_dwell_time_with_a_ramp() -> None:
    scene = Scene(behave={"r0": always("refuses")}).play(2.0)
    scene.behave = {}
    scene.play(7.0)
    assert scene.levels()["r0"] is not Level.ACTIVE
    weights = []
    for _ in range(35):
        scene.play(1.0)
        weights.append(scene.verdict("r0").weight)
    assert scene.levels()["r0"] is Level.ACTIVE
    assert weights == sorted(weights)
    assert set(weights) == {1, 2, 3, 4}


def test_a_relay_without_evidence_of_recovery_stays_out() -> None:
    scene = Scene(behave={"r0": always("refuses")}).play(2.0)
    for _ in range(200):
        scene.now += 1.0
        scene.hand([])
    assert scene.levels()["r0"] is Level.HARD


def at_times(*evidence: tuple[float, Evidence]) -> Callable[[float], list[Evidence]]:
    """Each once, when its time has come."""
    left = sorted(evidence, key=lambda each: each[0])

    def due(now: float) -> list[Evidence]:
        found = []
        while left and left[0][0] <= now:
            found.append(replace(left.pop(0)[1], at=now))
        return found

    return due


def no_confirms(scene: Scene, failing: str) -> Callable[[float], list[Evidence]]:
    """Two seconds in which one relay alone gets no confirms; thereafter it publishes nothing."""
    times = [scene.now + 0.2 * turn for turn in range(10)]
    works = [each for each in scene.names if each != failing]
    return at_times(
        *((at, Confirms(failing, 0.0, "mq-0", 0, 5)) for at in times),
        *((at + 0.01, Confirms(each, 0.0, "mq-0", 5, 0)) for at in times for each in works),
    )


def test_a_relay_that_gets_no_traffic_and_so_no_proof_of_its_health_comes_back_after_its_dwell_time() -> None:
    scene = Scene().play(5.0)
    scene.also = no_confirms(scene, "r0")
    scene.play(2.5)
    assert (scene.verdict("r0").level, scene.verdict("r0").reason) == (Level.SOFT, Reason.BROKER_UNREACHABLE)
    out = scene.cordons("r0")[0]
    scene.play(Policy().dwell - (scene.now - out) - 0.1)
    assert scene.levels()["r0"] is Level.SOFT
    scene.play(3.0)
    assert scene.levels()["r0"] is Level.ACTIVE
    scene.play(120.0)
    assert len(scene.cordons("r0")) == 1


def test_failures_of_long_ago_and_a_new_one_are_no_reason_to_cordon() -> None:
    scene = Scene().play(5.0)
    fails, works = Confirms("r0", 0.0, "mq-0", 0, 5), Confirms("r1", 0.0, "mq-0", 5, 0)
    times = [scene.now, scene.now + 0.2, scene.now + 0.4, scene.now + Policy().remembered + 1.0]
    scene.also = at_times(*((at, fails) for at in times), *((at + 0.1, works) for at in times))
    scene.play(Policy().remembered + 5.0)
    assert scene.cordons("r0") == []


@pytest.mark.parametrize("beat", [400, 428, 500])
def test_a_relay_that_fails_every_whole_mail_stays_out_however_its_beat_falls(beat: int) -> None:
    scene = Scene(storage_beat=beat).play(5.0)
    scene.behave = {"r0": always("stores not")}
    scene.play(2 * Policy().remembered)
    assert (scene.levels()["r0"], len(scene.cordons("r0"))) == (Level.SOFT, 1)


def test_failures_that_come_slowly_and_always_add_up() -> None:
    scene = Scene().play(5.0)
    times = [scene.now + 25.0 * turn for turn in range(6)]
    works = [(at + 0.1, Confirms("r1", 0.0, "mq-0", 5, 0)) for at in times]
    scene.also = at_times(*((at, Confirms("r0", 0.0, "mq-0", 0, 5)) for at in times), *works)
    scene.play(80.0)
    assert (scene.verdict("r0").level, scene.verdict("r0").reason) == (Level.SOFT, Reason.BROKER_UNREACHABLE)


def wake_up(scene: Scene, relay: str, *, all_come: bool) -> None:
    """A relay slept for 0.19 s; it answers what waits, the youngest first, and both vantages see it. The others may never come."""
    scene.now += 0.2
    sent = tuple(scene.now - 0.19 + 0.04 * number for number in range(5))
    told: list[Evidence] = []
    for vantage in "AB":
        told.append(Silent(relay, vantage, "pod", Probe.DIALOGUE, scene.now, sent))
        answered = sent if all_come else sent[-1:]
        told += [
            Answered(relay, vantage, "pod", Probe.DIALOGUE, scene.now, scene.now - each) for each in reversed(answered)
        ]
    scene.hand(told)


def test_answers_that_overtake_each_other_are_no_loss() -> None:
    scene = Scene().play(5.0)
    for _ in range(20):
        wake_up(scene, "r0", all_come=True)
        scene.play(0.3)
        assert [each.late for each in scene.state.relays["r0"].probing.values() if each.late] == []
    assert scene.cordons("r0") == []


def test_probes_that_are_overtaken_and_never_answered_are_lost() -> None:
    scene = Scene().play(5.0)
    for _ in range(4):
        wake_up(scene, "r0", all_come=False)
        scene.play(0.5)
    assert (scene.verdict("r0").level, scene.verdict("r0").reason) == (Level.SOFT, Reason.SLOW)


def test_what_a_slow_beat_lost_while_a_relay_was_frozen_does_not_keep_it_out() -> None:
    """Transactions come once a second only, but each that a burst lost adds to their sum."""
    scene = Scene().play(5.0)
    frozen, thawed = scene.now, scene.now + 10.0
    scene.behave = {"r0": lambda vantage, at: "silent" if frozen < at < thawed else "answers"}
    scene.play(11.0)
    probing = scene.state.relays["r0"].probing
    assert min(each.late for source, each in probing.items() if source.probe is Probe.TRANSACTION) > 3 * Policy().soft(
        2
    )
    scene.play(Policy().dwell + 0.5)
    assert scene.levels()["r0"] is Level.ACTIVE
    assert [each.late for each in scene.state.relays["r0"].probing.values() if each.late] == []
    scene.play(60.0)
    assert len(scene.cordons("r0")) == 1


def test_new_connections_begun_while_a_vantage_saw_nothing_are_its_own_loss() -> None:
    """They stay open when the others are answered again: their first packet was lost, and the kernel sends it later and later."""
    scene = Scene().play(10.0)
    scene.blind, sees = {"A", "B"}, scene.now + 5.0
    scene.behave = {"r0": lambda vantage, at: "deaf" if at < sees + 0.45 else "answers"}
    scene.play(5.0)
    scene.blind = set()
    scene.play(20.0)
    assert [name for name in scene.names if scene.cordons(name)] == []


@pytest.mark.parametrize("moment", range(0, 40, 3))
def test_a_vantage_that_saw_nothing_blames_nobody_whenever_it_sees_again(moment: int) -> None:
    """Beats of slow probes fall differently each time, and each leaves a dark moment of its own."""
    scene = Scene().play(10.0 + moment * 0.025)
    scene.blind = {"A", "B"}
    scene.play(5.0)
    scene.blind = set()
    scene.play(20.0)
    assert [name for name in scene.names if scene.cordons(name)] == []


def test_a_relay_that_greets_new_sessions_again_comes_back() -> None:
    scene = Scene().play(10.0)
    deaf, heals = scene.now, scene.now + 20.0
    scene.behave = {"r0": lambda vantage, at: "deaf" if deaf < at < heals else "answers"}
    scene.play(20.0)
    assert scene.levels()["r0"] is Level.SOFT
    scene.play(Policy().dwell + 10.0)
    assert (scene.levels()["r0"], len(scene.cordons("r0"))) == (Level.ACTIVE, 1)


def test_an_order_to_keep_a_relay_in_traffic_forgets_what_was_held_against_it() -> None:
    scene = Scene().play(5.0)
    scene.also = no_confirms(scene, "r0")
    scene.play(2.5)
    assert scene.levels()["r0"] is Level.SOFT
    scene.manual = {"r0": Manual.UNCORDON}
    scene.play(0.1)
    scene.manual = {}
    scene.play(30.0)
    assert (scene.levels()["r0"], len(scene.cordons("r0"))) == (Level.ACTIVE, 1)


def test_slow_relays_keep_no_erring_one_in_traffic() -> None:
    """Busy nodes make good relays slow; a relay that turns mail away goes first, though it asks last."""

    def case(name: str, reason: Reason, since: float) -> Case:
        return Case(Relay(name, "n1"), Standing(level=Level.SOFT, reason=reason, since=since), 1, QUIET)

    slow = [case("r0", Reason.SLOW, 10.0), case("r1", Reason.SLOW, 11.0)]
    others = [case("r2", Reason.ERRING, 20.0), Case(Relay("r3", "n1"), Standing(), 4, QUIET)]
    found, alert = verdicts([*slow, *others], Policy(max_cordoned=0.5), 21.0)
    assert {each.relay: (each.level, each.weight) for each in found} == {
        "r0": (Level.SOFT, 1),
        "r1": (Level.ACTIVE, 1),
        "r2": (Level.SOFT, 1),
        "r3": (Level.ACTIVE, 4),
    }
    assert alert is None


def test_a_strained_relay_gets_less_at_once_and_more_only_later() -> None:
    scene = Scene().play(1.0)
    scene.hand([OwnReport("r0", scene.now, "", 0.85)])
    assert (scene.verdict("r0").weight, scene.verdict("r0").reason) == (2, Reason.STRAINED)
    scene.hand([OwnReport("r0", scene.now, "", 0.1)])
    assert scene.verdict("r0").weight == 2
    assert scene.play(11.0).verdict("r0").weight == 4


def test_a_restart_moves_no_traffic() -> None:
    scene = Scene(behave={"r0": always("refuses"), "r1": always("silent")}).play(2.0)
    before = (
        {v.relay: (v.level, v.weight, v.reason, v.message) for v in scene.decision.verdicts} if scene.decision else {}
    )
    scene.state = load(json.loads(json.dumps(dump(scene.state))))
    scene.now = 17.0  # another machine, another monotonic clock
    decision = scene.hand([])
    assert {v.relay: (v.level, v.weight, v.reason, v.message) for v in decision.verdicts} == before
    assert {level for levels in (scene.play(3.0).levels(),) for level in levels.values()} == {
        Level.ACTIVE,
        Level.HARD,
        Level.SOFT,
    }


def test_a_restart_brings_no_relay_back_whose_failures_it_forgot() -> None:
    scene = Scene(relays=4).play(1.0)
    scene.behave["r1"] = always("errs")
    scene.play(8.0)
    scene.behave["r1"] = to("A", "silent")
    scene.play(6.0)
    scene.hand([])
    before = scene.levels()
    assert before["r1"] is Level.SOFT
    scene.state = load(json.loads(json.dumps(dump(scene.state))))
    scene.hand([])
    assert scene.levels() == before


def test_a_relay_that_is_well_comes_back_after_a_restart_too() -> None:
    scene = Scene(relays=4).play(1.0)
    scene.behave["r1"] = always("errs")
    scene.play(8.0)
    del scene.behave["r1"]
    scene.state = load(json.loads(json.dumps(dump(scene.state))))
    assert scene.play(20.0).levels()["r1"] is Level.ACTIVE


def test_the_document_of_a_healthy_pool_is_nearly_empty() -> None:
    assert dump(Scene().play(3.0).state) == {"version": 1, "relays": {}}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"version": 2, "relays": {}},
        {"version": 1, "relays": []},
        {"version": 1, "relays": {"r0": {}}},
        {"version": 1, "relays": {"r0": 3}},
    ],
)
def test_a_document_that_is_none_of_ours_is_refused_with_a_reason(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="health state"):
        load(document)


@pytest.mark.parametrize(
    ("field", "value"), [("cordons", -1), ("since", "x"), ("level", "Odd"), ("recovery", float("nan"))]
)
def test_a_document_with_a_broken_field_is_refused(field: str, value: object) -> None:
    document = dump(Scene(behave={"r0": always("refuses")}).play(1.0).state)
    document["relays"]["r0"][field] = value
    with pytest.raises(ValueError):
        load(document)


@pytest.mark.parametrize(
    ("field", "value"),
    [("loss", 0.0), ("interval", -1.0), ("max_cordoned", 1.5), ("hard_alarms_per_year", 100.0), ("dwell_factor", 0.5)],
)
def test_a_policy_that_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="must"):
        Policy(**{field: value})


@pytest.mark.parametrize("pause", [0.0, 3.0])
def test_a_vantage_that_sees_again_blames_nobody_for_what_it_missed(pause: float) -> None:
    scene = Scene(relays=4, blind={"A"}).play(3.0)
    scene.blind = set()
    scene.now += pause  # nothing is heard for a while, so what the other vantage saw has lapsed
    scene._sent.clear()
    scene.play(4.0)
    assert {relay: scene.cordons(relay) for relay in scene.names} == {relay: [] for relay in scene.names}


class Pool(RuleBasedStateMachine):
    """A pool of four through faults of all kinds; `r3` always answers those who can see, and must never leave traffic."""

    @initialize()
    def begin(self) -> None:
        self.scene = Scene(relays=4).play(1.0)
        self.returns: dict[str, float] = {}

    @rule(
        relay=st.sampled_from(["r0", "r1", "r2"]),
        word=st.sampled_from(["answers", "silent", "refuses", "errs", "slow"]),
    )
    def behave(self, relay: str, word: str) -> None:
        self.scene.behave[relay] = always(word)

    @rule(relay=st.sampled_from(["r0", "r1", "r2"]), vantage=VANTAGE)
    def lose_path(self, relay: str, vantage: str) -> None:
        self.scene.behave[relay] = to(vantage, "silent")

    @rule(vantage=VANTAGE)
    def blind(self, vantage: str) -> None:
        self.scene.blind ^= {vantage}

    @rule(seconds=st.floats(0.1, 4.0))
    def go_on(self, seconds: float) -> None:
        self.scene.play(seconds)

    @rule(jump=st.sampled_from([-100.0, 3.0, 3600.0]))
    def jump(self, jump: float) -> None:
        self.scene.now += jump
        self.scene._sent.clear()

    @rule()
    def restart(self) -> None:
        self.scene.hand([])  # the last one may be a second old, and time alone may have changed something since
        before = self.scene.levels()
        self.scene.state = load(json.loads(json.dumps(dump(self.scene.state))))
        self.scene.hand([])
        assert self.scene.levels() == before

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.scene.paused = paused

    @precondition(lambda self: len(self.scene.vantages) == 2)
    @rule()
    def lose_standby(self) -> None:
        self.scene.vantages = (A,)

    @precondition(lambda self: len(self.scene.vantages) == 1)
    @rule()
    def gain_standby(self) -> None:
        self.scene.vantages = (A, B)

    @invariant()
    def never_all(self) -> None:
        if hasattr(self, "scene"):
            assert Level.ACTIVE in self.scene.levels().values()

    @invariant()
    def a_good_relay_never_leaves(self) -> None:
        if hasattr(self, "scene"):
            assert self.scene.cordons("r3") == []

    @invariant()
    def hard_cordons_are_capped(self) -> None:
        if hasattr(self, "scene"):
            hard = [relay for relay, level in self.scene.levels().items() if level is Level.HARD]
            assert len(hard) <= 2

    @invariant()
    def standings_hold_together(self) -> None:
        if hasattr(self, "scene"):
            for own in self.scene.state.relays.values():
                assert (own.standing.level is Level.ACTIVE) or own.standing.since > NEVER
                assert own.standing.cordons >= (own.standing.level is not Level.ACTIVE)


Pool.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestPool = Pool.TestCase
