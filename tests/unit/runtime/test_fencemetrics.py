"""What fencing tells Prometheus, and which pools are woken by it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from relayfleet.controllers.relayfences import Fences
from relayfleet.runtime.fencemetrics import FenceMetrics

QUEUE, TX, BULK = ("mail", "q"), ("mail", "tx"), ("mail", "bulk")


def test_fences_returns_and_failures_are_counted_by_the_words_of_cordons() -> None:
    fences = Fences()
    fences.say(QUEUE, [TX], {"a": TX}, "")
    fences.counts.fences["mail", "tx", "Silent"] += 2
    fences.counts.returns[TX] += 1
    fences.counts.failures[QUEUE] += 3
    registry = CollectorRegistry()
    registry.register(FenceMetrics(fences))
    lines = generate_latest(registry).decode().splitlines()
    assert 'relayfleet_fenced_relays{namespace="mail",pool="tx"} 1.0' in lines
    assert 'relayfleet_fences_total{namespace="mail",pool="tx",reason="Silent"} 2.0' in lines
    assert 'relayfleet_fence_returns_total{namespace="mail",pool="tx"} 1.0' in lines
    assert 'relayfleet_fence_failures_total{namespace="mail",queue="q"} 3.0' in lines


def test_a_pool_is_looked_at_again_when_something_else_is_to_be_said_of_it_and_no_other_is() -> None:
    woken: list[tuple[str, str]] = []
    fences = Fences(lambda *name: woken.append(name))
    fences.say(QUEUE, [TX, BULK], {}, "")
    assert woken == []
    fences.say(QUEUE, [TX, BULK], {"a": TX}, "")
    fences.say(QUEUE, [TX, BULK], {"a": TX}, "")
    assert woken == [TX]
    fences.say(QUEUE, [TX, BULK], {"a": TX}, "no answer in time")
    assert sorted(woken) == sorted([TX, TX, BULK])
    fences.say(QUEUE, [TX, BULK], {"a": TX}, "refused")
    assert len(woken) == 3, "its words are read at the pool's next look"
    fences.say(QUEUE, [TX, BULK], {}, "")
    assert len(woken) == 5
    fences.forget(QUEUE)
    assert (fences.why_not(QUEUE), dict(fences.fenced(QUEUE))) == ("", {})
