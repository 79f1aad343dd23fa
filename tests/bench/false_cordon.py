"""False cordons of good relays, and how fast bad ones are found: the real decision code beside thresholds and phi-accrual.

A simulation as it is cannot show one alarm in a hundred years, so rates come by importance sampling (see `_health_world`),
printed with 95 % confidence intervals. Where the answer is known exactly (k misses of k under independent loss) it stands beside
the estimate, as a check of the method.

Causes and how often they are taken to happen, per relay and year, are in CAUSES; everything else is in `_health_world`.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from relayfleet.decide.health.policy import YEAR, Policy
from relayfleet.decide.health.state import State
from relayfleet.decide.health.tail import EDGES, MOST, Tail
from tests.bench._health_detectors import Consecutive, Ours, phi_patience, rested
from tests.bench._health_world import HEALTHY, INTERVAL, VANTAGES, Chances, Detector, Outcome, World

SEED = 20261124
PROBES_PER_YEAR = len(VANTAGES) * YEAR / INTERVAL
LOSS = HEALTHY[Outcome.LOST.value]
TILTS: tuple[Chances, ...] = ((0.2, 0.78, 0.01, 0.01), (0.1, 0.1, 0.4, 0.4))
BURST = 0.2
CAUSES = {"path burst": 2 * 24 * 365.0, "link burst": 365.0, "node stall": 365.0, "prober pause": 2 * 365.0}
"""A path from one vantage loses 80 % for 200 ms on average, once an hour each; so does the relay's own link, once a day; its node
stands still for 0.5-3 s once a day; so does each prober, once a day."""


@dataclass(frozen=True)
class Rate:
    """Alarms a relay-year: estimate, and half the width of its 95 % interval."""

    value: float
    half: float
    runs: int

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.value + other.value, math.hypot(self.half, other.half), self.runs + other.runs)

    def __str__(self) -> str:
        return f"{self.value:.3g} (95 % interval {max(0.0, self.value - self.half):.3g} to {self.value + self.half:.3g}, {self.runs} runs)"


NONE = Rate(0.0, 0.0, 0)
Make = Callable[[], Detector]


def estimate(beginnings: float, runs: int, play: Callable[[], World], until: str) -> Rate:
    """Alarms a year from so many beginnings a year. With no hit at all the interval is that of the rule of three."""
    hits = []
    for _ in range(runs):
        world = play()
        ratio = world.run()
        hits.append(math.exp(ratio) if until in world.detector.alarms else 0.0)
    if not any(hits):
        return Rate(0.0, beginnings * 3.0 / runs, runs)
    return Rate(beginnings * statistics.fmean(hits), beginnings * 1.96 * statistics.stdev(hits) / math.sqrt(runs), runs)


def independent(make: Make, until: str, runs: int, rng: random.Random) -> Rate:
    """Under independent loss, refusals and resets: one beginning for each first probe that goes wrong."""
    total = NONE
    kinds: tuple[tuple[Outcome, float], ...] = ((Outcome.LOST, 0.6), (Outcome.REFUSED, 0.2), (Outcome.RESET, 0.2))
    for first, share in kinds:
        beginnings = PROBES_PER_YEAR * HEALTHY[first.value]
        total += estimate(beginnings, int(runs * share), _first(make, first, until, rng), until)
    return total


def _first(make: Make, first: Outcome, until: str, rng: random.Random) -> Callable[[], World]:
    return lambda: World(make(), rng, TILTS, until, first=first)


def shared(make: Make, until: str, runs: int, rng: random.Random) -> dict[str, Rate]:
    """Under bursts and shared causes, each by itself, with independent loss going on beside it."""

    def stretch() -> float:
        return rng.uniform(0.5, 3.0)

    def burst() -> float:
        return rng.expovariate(1 / BURST)

    plays: dict[str, Callable[[], World]] = {
        "path burst": lambda: World(make(), rng, TILTS, until, burst=burst()),
        "link burst": lambda: World(make(), rng, (), until, burst=burst(), burst_vantages=VANTAGES),
        "node stall": lambda: World(make(), rng, (), until, stalled=stretch()),
        "prober pause": lambda: World(make(), rng, TILTS, until, paused=stretch()),
    }
    return {cause: estimate(CAUSES[cause], runs, play, until) for cause, play in plays.items()}


def shared_hard(make: Make, runs: int, rng: random.Random) -> dict[str, Rate]:
    """Hard cordons by shared causes. Where all vantages hear nothing, only the corner is played in which hard is possible at all:

    silence is final after 3 s, so a stall must last for nearly all of that (up to the 50 ms of a burst gap), and a burst 2.5 s
    at least (the rest would have to be forty independent losses in a row).
    """
    corner = 0.05
    stall = CAUSES["node stall"] * corner / 2.5
    link = CAUSES["link burst"] * math.exp(-2.5 / BURST)
    plays: dict[str, tuple[float, Callable[[], World]]] = {
        "path burst": (CAUSES["path burst"], lambda: World(make(), rng, TILTS, burst=rng.expovariate(1 / BURST))),
        "link burst": (
            link,
            lambda: World(make(), rng, burst=2.5 + rng.expovariate(1 / BURST), burst_vantages=VANTAGES),
        ),
        "node stall": (stall, lambda: World(make(), rng, stalled=rng.uniform(3.0 - corner, 3.0))),
        "prober pause": (CAUSES["prober pause"], lambda: World(make(), rng, TILTS, paused=rng.uniform(0.5, 3.0))),
    }
    return {cause: estimate(beginnings, runs, play, "hard") for cause, (beginnings, play) in plays.items()}


def detection(make: Make, dead: Outcome, level: str, runs: int, rng: random.Random) -> list[float]:
    """Seconds from the fault to the alarm, sorted; infinite where there was none."""
    times = []
    for _ in range(runs):
        world = World(make(), rng, until=level, dead=dead)
        world.run()
        times.append(world.detector.alarms.get(level, math.inf))
    return sorted(times)


DEATHS = (Outcome.LOST, Outcome.REFUSED)


def measured(stalls: int) -> Tail:
    """What is known of a relay after a million answers with 1 % loss, and with so many stalls of its node."""
    answers = 2.0**20
    latencies = [0.0] * (len(EDGES) + 1)
    latencies[0], latencies[-1] = answers, answers * LOSS
    together = [answers * LOSS**count for count in range(MOST + 1)]
    together[-1] += stalls
    return Tail(tuple(latencies), tuple(together), sum(latencies), sum(together))


def at(times: list[float], share: float) -> float:
    """The quantile of sorted times."""
    return times[min(len(times) - 1, int(len(times) * share))]


def total(rates: dict[str, Rate]) -> Rate:
    return sum(rates.values(), NONE)


def row(
    name: str, value: float, unit: str, peer: str, peer_value: float | None, n: int, detail: str
) -> dict[str, object]:
    return {
        "name": f"false-cordon.{name}",
        "value": _short(value),
        "unit": unit,
        "peer": peer,
        "peer_value": None if peer_value is None else _short(peer_value),
        "n": n,
        "detail": detail,
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")


@dataclass(frozen=True)
class Rule:
    """A rival with what it costs and brings: alarms a relay-year under independent loss and under shared causes, seconds to find faults."""

    name: str
    alone: float
    bursts: float
    freeze: list[float]
    crash: list[float]


def threshold(k: int, patience: float, closer: bool, rng: random.Random) -> Rule:
    """k misses of k over both vantages' probes; exact under independent loss but for the few that are given our bursts."""

    def make() -> Detector:
        return Consecutive(k, patience, closer)

    alone = PROBES_PER_YEAR * LOSS**k * (1 - LOSS)
    if closer and k <= 6:
        alone = independent(make, "hard", 2000, rng).value
    bursts = total(shared(make, "hard", 400, rng)).value
    name = f"{k}/{k} after {patience * 1000:.0f} ms" + (" with our bursts" if closer else "")
    return Rule(name, alone, alone + bursts, *(detection(make, dead, "hard", 300, rng) for dead in DEATHS))


def phi(value: float, rng: random.Random) -> Rule:
    """Phi-accrual over the answers of both vantages; all exact but for where in the beat the fault falls."""
    beat = INTERVAL / len(VANTAGES)
    gap = phi_patience(value, beat / (1 - LOSS), math.sqrt(beat**2 * LOSS / (1 - LOSS) ** 2 + 2e-6))
    alone = PROBES_PER_YEAR * LOSS ** int(gap / beat) * (1 - LOSS)
    stalls = CAUSES["node stall"] * min(1.0, max(0.0, 3.0 - gap) / 2.5)
    times = sorted(gap - rng.uniform(0, beat) for _ in range(300))
    return Rule(f"phi {value:g} ({gap:.2f} s)", alone, alone + stalls, times, times)


def rivals(rng: random.Random) -> list[Rule]:
    plain = [threshold(k, 0.03, False, rng) for k in (1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 23, 24, 25, 26)]
    kubelet = [threshold(k, 0.5, False, rng) for k in (1, 3)]
    closer = [threshold(k, 0.03, True, rng) for k in (3, 4, 5, 6, 30, 120, 124, 128)]
    return plain + kubelet + closer + [phi(value, rng) for value in (1, 3, 8, 30, 100, 300, 1000, 3000, 10000)]


def fastest(
    rules: list[Rule], rate: Callable[[Rule], float], limit: float, times: Callable[[Rule], list[float]]
) -> Rule:
    """The rule that finds the fault first (median) among those that keep within the limit."""
    return min((rule for rule in rules if rate(rule) <= limit), key=lambda rule: at(times(rule), 0.5))


@dataclass(frozen=True)
class Judged:
    """The decision code under one policy."""

    soft: Rate
    hard: Rate
    soft_bursts: dict[str, Rate]
    hard_bursts: dict[str, Rate]


def judge(policy: Policy, runs: int, rng: random.Random) -> Judged:
    calm, rough = rested(policy, measured(0)), rested(policy, measured(3))
    soft, hard = (independent(ours(policy, calm), level, runs, rng) for level in ("soft", "hard"))
    return Judged(
        soft,
        hard,
        shared(ours(policy, rough), "soft", runs // 6, rng),
        shared_hard(ours(policy, rough), runs // 16, rng),
    )


def ours(policy: Policy, state: State) -> Make:
    return lambda: Ours(policy, state)


def rate_rows(judged: Judged, rules: list[Rule]) -> Iterator[dict[str, object]]:
    """The four goals. The peer is what Kubernetes users would set: three failures of three."""
    peer = next(rule for rule in rules if rule.name == "3/3 after 500 ms")
    unit = "alarms/relay-year"
    soft_bursts, hard_bursts = total(judged.soft_bursts) + judged.soft, total(judged.hard_bursts) + judged.hard
    for name, rate, peer_rate, why in (
        ("hard.per-relay-year", judged.hard, peer.alone, ""),
        ("soft.per-relay-year", judged.soft, peer.alone, ""),
        ("hard.bursts.per-relay-year", hard_bursts, peer.bursts, _causes(judged.hard_bursts)),
        ("soft.bursts.per-relay-year", soft_bursts, peer.bursts, _causes(judged.soft_bursts)),
    ):
        yield row(name, rate.value, unit, peer.name, peer_rate, rate.runs, f"{rate}{why}; seed {SEED}")


def _causes(rates: dict[str, Rate]) -> str:
    return "".join(f"; {cause} ({CAUSES[cause]:.0f} a year): {rate}" for cause, rate in rates.items())


def detection_rows(policy: Policy, rules: list[Rule], rng: random.Random) -> Iterator[dict[str, object]]:
    """How fast, beside the fastest rule that keeps the same rates."""
    calm, rough = rested(policy, measured(0)), rested(policy, measured(3))
    for fault, dead in zip(("freeze", "crash"), DEATHS, strict=True):
        for level, rate, limit in (
            ("soft", _alone, policy.soft_alarms_per_year),
            ("hard", _bursts, 0.1),
        ):
            beside, runs = _of(fault), 300 if level == "soft" else 100
            peer = fastest([rule for rule in rules if "our bursts" not in rule.name], rate, limit, beside)
            closer = fastest(rules, rate, limit, beside)
            times = detection(ours(policy, calm), dead, level, runs, rng)
            later = detection(ours(policy, rough), dead, level, runs, rng)
            detail = (
                f"fastest rule with at most {limit:g} alarms a relay-year"
                f"{' under bursts and shared causes' if rate is _bursts else ' under independent loss'}; of all rules, also those "
                f"that are given our bursts: {closer.name} with p50 {at(beside(closer), 0.5):.3f} s; ours on a relay that has often "
                f"stalled: p50 {at(later, 0.5):.3f} s, p95 {at(later, 0.95):.3f} s; seed {SEED}"
            )
            for label, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
                yield row(
                    f"detect.{fault}.{level}.{label}",
                    at(times, share),
                    "s",
                    peer.name,
                    at(beside(peer), share),
                    runs,
                    detail,
                )


def _alone(rule: Rule) -> float:
    return rule.alone


def _bursts(rule: Rule) -> float:
    return rule.bursts


def _of(fault: str) -> Callable[[Rule], list[float]]:
    return (lambda rule: rule.freeze) if fault == "freeze" else (lambda rule: rule.crash)


def curve_rows(rules: list[Rule], rng: random.Random) -> Iterator[dict[str, object]]:
    """Detection time of a freeze against false alarms: one point a row."""
    for allowed in (1e5, 1e3, 12.0, 0.1, 0.001):
        policy = Policy(soft_alarms_per_year=allowed, hard_alarms_per_year=min(0.01, allowed))
        state = rested(policy, measured(0))
        rate = independent(ours(policy, state), "soft", 1200, rng)
        times = detection(ours(policy, state), Outcome.LOST, "soft", 200, rng)
        detail = f"soft alarms a relay-year: {rate}; p95 {at(times, 0.95):.3f} s"
        yield row(f"curve.cusum.{allowed:g}", at(times, 0.5), "s", "", None, rate.runs, detail)
    for rule in rules:
        detail = f"alarms a relay-year: {rule.alone:.3g} alone, {rule.bursts:.3g} with bursts and shared causes; "
        detail += f"p95 {at(rule.freeze, 0.95):.3f} s, crash p50 {at(rule.crash, 0.5):.3f} s"
        yield row(f"curve.{rule.name.replace(' ', '-')}", at(rule.freeze, 0.5), "s", "", None, len(rule.freeze), detail)


def check_rows(rng: random.Random) -> Iterator[dict[str, object]]:
    """The method beside exact results: k misses of k under independent loss. Answers to later probes refute here, hence a little less."""
    for k in (1, 2, 3, 4):
        rate = independent(partial(Consecutive, k, 0.03), "soft", 6000, rng)
        exact = PROBES_PER_YEAR * LOSS**k * (1 - LOSS)
        yield row(
            f"check.{k}-of-{k}", rate.value, "alarms/relay-year", "exact", exact, rate.runs, f"{rate}; seed {SEED}"
        )


async def run() -> list[dict[str, object]]:
    """All rows, goals first. About three minutes on one idle core; progress on stderr."""
    rng, start = random.Random(SEED), time.monotonic()
    print(f"false-cordon: seed {SEED}", file=sys.stderr)
    rules = rivals(rng)
    print(f"false-cordon: {len(rules)} rival rules done, {time.monotonic() - start:.0f} s", file=sys.stderr)
    judged = judge(Policy(), 6000, rng)
    print(f"false-cordon: rates of the decision code done, {time.monotonic() - start:.0f} s", file=sys.stderr)
    rows = [*rate_rows(judged, rules), *detection_rows(Policy(), rules, rng)]
    return [*rows, *curve_rows(rules, rng), *check_rows(rng)]


def main() -> None:
    for each in asyncio.run(run()):
        print(json.dumps(each))


if __name__ == "__main__":
    main()
