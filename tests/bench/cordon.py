"""How long a bad relay still gets connections: from the fault to the last SYN that kube-proxy steers to it.

Real relays on the test bed, real kube-proxy, 50 mails a second beside a steady tracer (`traffic`) or five bare connects a second (`idle`).
The peer is hit by the same fault at the same time: the same relays behind an ordinary Service whose readiness probe asks every second and
believes the first failure. It needs root on the machine where the engine runs, for it looks into the networks of nodes and pods.

Three variants for a killed relay with traffic: `busy` (a foreign EndpointSlice changes every second), `pair` (two relays die together; the
later one counts) and `leader` (the node of the operator's leader is lost at the same moment). With `idle` load each relay sees about one connection a second, and the figure is no finer than that.

CORDON_FAULTS: faults, with commas (all). CORDON_LOADS: traffic, idle. CORDON_TRIALS: of each (40 of a crash with traffic, 10 of the
others). CORDON_PEER_TRIALS: how many of them hit the peer too (10; two that end at the bound are enough). CORDON_VARIANTS: busy, pair, leader,
with CORDON_VARIANT_TRIALS (5) each. CORDON_SEED: order of the trials. CORDON_MINUTES: no trial begins later (55).
CORDON_OPERATOR=installed: take the operator that is there. CORDON_PROXY: kube-proxy's `minSyncPeriod` meanwhile (100ms, as the README advises;
`default` leaves it alone, which is 1 s). Our Service and the peer's go through the same one.
The other region plays no part: its nodes stand still meanwhile, as they would run on machines of their own.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import defaultdict
from dataclasses import replace

from tests.bench._cordon_faults import CRASH, GRAY
from tests.bench._cordon_judge import percentile
from tests.bench._cordon_kubeproxy import syncing_each
from tests.bench._cordon_trial import Outcome, Rig, Trial, perform, rigged
from tests.bench._cordon_world import PEER, REGION, alone, world
from tests.e2e.api import ApiError
from tests.testbed.shell import TestbedError

LOADS, VARIANTS = ("traffic", "idle"), ("busy", "pair", "leader")
TRIALS, TRIALS_CRASH_TRAFFIC, PEER_TRIALS, ENOUGH_AT_BOUND, VARIANT_TRIALS = 10, 40, 10, 2, 5
MINUTES = 55.0
ATTEMPTS = 3
AFTER_SECONDS = 300.0
"""What the last trial may take."""
PROXY = os.environ.get("CORDON_PROXY", "100ms")

Results = dict[str, list[dict[str, Outcome]]]


async def run() -> list[dict[str, object]]:
    """Rows `cordon.<fault>.<load>.{p50,p95,max}` (last SYN) and `cordon.<fault>.<load>.slice.*` (the API server's word), in seconds."""
    seed = int(os.environ.get("CORDON_SEED") or random.SystemRandom().randrange(10**6))
    say(f"seed {seed}")
    results: Results = defaultdict(list)
    latest = time.monotonic() + float(os.environ.get("CORDON_MINUTES", MINUTES)) * 60
    trials = plan(random.Random(seed))
    with syncing_each(REGION, PROXY):
        await _perform_all(trials, results, latest)
    done = sum(map(len, results.values()))
    say(f"{done} of {len(trials)} trials" + ("" if done == len(trials) else "; the others were void, or time was up"))
    return [row for name, done in sorted(results.items()) if done for row in rows(f"cordon.{name}", done)]


async def _perform_all(trials: list[Trial], results: Results, latest: float) -> None:
    async with world() as built, rigged(built) as rig:
        with alone(latest - time.monotonic() + AFTER_SECONDS):
            await _perform_each(trials, results, latest, rig)


async def _perform_each(trials: list[Trial], results: Results, latest: float, rig: Rig) -> None:
    """First those that hit the peer too; then it is removed, for on one machine it costs ours what it needs."""
    others = []
    for trial in trials:
        if wants_peer(results[label(trial)]):
            await _perform_one(replace(trial, with_peer=True), results, latest, rig)
        else:
            others.append(trial)
    await rig.world.dismiss_peer()
    for trial in others:
        await _perform_one(trial, results, latest, rig)


async def _perform_one(trial: Trial, results: Results, latest: float, rig: Rig) -> None:
    """Anew when it was void, in which nothing could be measured."""
    done = results[label(trial)]
    for _ in range(ATTEMPTS):
        if time.monotonic() > latest:
            return
        try:
            done.append(await perform(rig, trial))
        except (AssertionError, OSError, TestbedError, ApiError) as error:
            say(f"{label(trial)}: this trial is void: {error}")
            continue
        say(f"{sum(map(len, results.values()))}: {label(trial)}: {words(done[-1])}")
        return


def label(trial: Trial) -> str:
    """Trials of one label are summed up together."""
    return f"{trial.variant}.{trial.fault}.{trial.load}".lstrip(".")


def plan(order: random.Random) -> list[Trial]:
    """All trials in random order."""
    faults, loads = chosen("FAULTS", CRASH + GRAY), chosen("LOADS", LOADS)
    kinds = [(fault, load, "", count(fault, load)) for fault in faults for load in loads]
    if "sigkill" in faults and "traffic" in loads:
        times = int(os.environ.get("CORDON_VARIANT_TRIALS", VARIANT_TRIALS))
        kinds += [("sigkill", "traffic", variant, times) for variant in chosen("VARIANTS", VARIANTS)]
    trials = [
        Trial(fault, load, order.randrange(1000), variant)
        for fault, load, variant, times in kinds
        for _ in range(times)
    ]
    order.shuffle(trials)
    return trials


def chosen(what: str, known: tuple[str, ...]) -> list[str]:
    """From the environment; all when it says nothing."""
    wanted = [each for each in os.environ.get(f"CORDON_{what}", ",".join(known)).split(",") if each]
    if unknown := set(wanted) - set(known):
        raise SystemExit(f"CORDON_{what}: no {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    return wanted


def count(fault: str, load: str) -> int:
    """How many trials."""
    usual = TRIALS_CRASH_TRAFFIC if fault in CRASH and load == "traffic" else TRIALS
    return int(os.environ.get("CORDON_TRIALS", usual))


def wants_peer(done: list[dict[str, Outcome]]) -> bool:
    """Whether the next trial hits the peer too. What it never notices need not be shown often: each time costs the whole bound."""
    peers = [each[PEER] for each in done if PEER in each]
    at_bound = sum(each.ended == "bound" for each in peers)
    return len(peers) < int(os.environ.get("CORDON_PEER_TRIALS", PEER_TRIALS)) and at_bound < ENOUGH_AT_BOUND


def rows(name: str, done: list[dict[str, Outcome]]) -> list[dict[str, object]]:
    """Of one fault under one load. Where two relays were hit, the later one counts."""
    ours = [max((out for word, out in each.items() if word != PEER), key=lambda out: out.last_syn) for each in done]
    peers = [each[PEER] for each in done if PEER in each]
    detail = details(ours, peers)
    times, peer_times = [each.last_syn for each in ours], [each.last_syn for each in peers]
    outs, peer_outs = listed_out(ours), listed_out(peers)
    return [*_three(name, times, peer_times, detail), *_three(f"{name}.slice", outs, peer_outs, {})]


def listed_out(outcomes: list[Outcome]) -> list[float]:
    """When the API server knew, in those trials where it came to know."""
    return [each.slice_out for each in outcomes if each.slice_out is not None]


def details(ours: list[Outcome], peers: list[Outcome]) -> dict[str, object]:
    """What the value does not say: how the trials ended, what the clients felt, when people were told."""
    told = [each.event for each in ours if each.event is not None]
    return {
        "ended": _tally([each.ended for each in ours]),
        "peer_ended": _tally([each.ended for each in peers]),
        "last_failure": _summary([each.last_failure for each in ours]),
        "failures": _summary([float(each.failures) for each in ours]),
        "steered": _summary([float(each.steered) for each in ours]),
        "held": _summary([each.held for each in ours if each.held is not None]),
        "event": _summary(told) | {"n": len(told)},
        "reasons": _tally([each.reason for each in ours if each.reason]),
        "peer_n": len(peers),
        "min_sync_period": PROXY,
    }


def _three(
    name: str, times: list[float], peer_times: list[float], detail: dict[str, object]
) -> list[dict[str, object]]:
    mine, theirs = _summary(times), _summary(peer_times)
    return [
        {
            "name": f"{name}.{which}",
            "value": value,
            "unit": "s",
            "peer": "readiness probe 1 s" if theirs else None,
            "peer_value": theirs.get(which),
            "n": len(times),
            "detail": detail,
        }
        for which, value in mine.items()
    ]


def _summary(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "p50": round(percentile(values, 0.5), 3),
        "p95": round(percentile(values, 0.95), 3),
        "max": round(max(values), 3),
    }


def _tally(words_: list[str]) -> dict[str, int]:
    return {each: words_.count(each) for each in sorted(set(words_))}


def words(outcomes: dict[str, Outcome]) -> str:
    """One trial in a line."""
    return "; ".join(
        f"{name} last SYN {each.last_syn:.3f} s ({each.steered}, {each.ended}, under way for {_seconds(each.held)}), {each.failures} failures until {each.last_failure:.3f}"
        f", slice {_seconds(each.slice_out)}"
        f", event {'-' if each.event is None else f'{each.event:.3f} {each.reason}'}"
        for name, each in outcomes.items()
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def say(text: str) -> None:
    """Progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)
