"""The leader keeps what relays tell of dependencies: since when, for how long it is believed, and that no relay is judged by it."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from relayfleet.api.dependencies import Dependency
from relayfleet.controllers.evidence import own_evidence
from relayfleet.controllers.relaydependencies import STALE, Reports
from relayfleet.controllers.relaypool import UNCALM, reconcile
from relayfleet.decide.pool.facts import Word
from relayfleet.protocol import telemetry
from relayfleet.protocol.telemetry import DependencyState, Window
from relayfleet.runtime.dependencymetrics import DependencyMetrics
from tests.fakes.kube import FakeKube
from tests.unit.controllers.scene import context, relay_pod
from tests.unit.controllers.test_relaypool import condition, world

POOL = ("mail", "tx")
NOON = datetime.datetime(2026, 11, 24, 12, 0, 0, tzinfo=datetime.UTC)
DB = {"name": "db", "type": "TCP", "tcp": {"address": "db.example:5432"}, "onFailure": "TempFail"}
WEB = {"name": "web", "type": "HTTP", "http": {"url": "http://web.example/"}}
DECLARED = [Dependency.model_validate(each) for each in (DB, WEB)]


class Scene:
    """Reports with clocks that the test turns."""

    def __init__(self) -> None:
        self.at = 0.0
        self.changes: list[str] = []
        self.reports = Reports(
            lambda namespace, name: self.changes.append(name),
            lambda: self.at,
            lambda: NOON + datetime.timedelta(seconds=self.at),
        )

    def tell(self, relay: str, **states: DependencyState) -> None:
        self.reports.take(POOL, relay, window(3.0, **states))

    def words(self, *relays: str) -> dict[str, dict[str, Word]]:
        return {each.name: dict(each.words) for each in self.reports.of(POOL, DECLARED, relays)}


def window(seconds: float = 0.0, **states: DependencyState) -> Window:
    rows = (telemetry.Dependency(name, state, seconds, "why") for name, state in states.items())
    return Window(dependencies=tuple(rows))


def test_the_time_of_a_state_is_taken_once_so_that_the_status_stands_still() -> None:
    scene = Scene()
    for each in (10.0, 10.3, 11.9):
        scene.at = each
        scene.tell("a", db=DependencyState.DOWN)
        assert scene.words("a")["db"] == {"a": Word("Down", "2026-11-24T12:00:07Z", "why")}
    assert scene.changes == ["tx"]


def test_only_a_change_wakes_the_pool() -> None:
    scene = Scene()
    for state in (DependencyState.ANSWERS, DependencyState.ANSWERS, DependencyState.DOWN, DependencyState.DOWN):
        scene.tell("a", db=state, web=DependencyState.ANSWERS)
    scene.tell("a")
    assert len(scene.changes) == 3


def test_a_relay_that_tells_of_none_is_not_kept() -> None:
    scene = Scene()
    scene.tell("a")
    assert (scene.changes, scene.reports._pools) == ([], {})


def test_words_grow_stale_and_those_of_relays_that_are_gone_are_forgotten() -> None:
    scene = Scene()
    scene.tell("a", db=DependencyState.DOWN)
    scene.at = STALE
    scene.tell("b", db=DependencyState.ANSWERS)
    assert set(scene.words("a", "b")["db"]) == {"a", "b"}
    scene.at += 1
    assert set(scene.words("a", "b")["db"]) == {"b"}
    assert list(scene.reports.counts()) == [(POOL, "db", "Answers", 1)]
    assert scene.words("c")["db"] == {}
    scene.at += STALE
    scene.words("b")
    assert set(scene.reports._pools[POOL]) == {"b"}
    scene.reports.forget(POOL)
    assert scene.reports._pools == {}


def test_a_relay_that_leaves_and_still_speaks_is_no_news() -> None:
    scene = Scene()
    for _ in range(5):
        scene.tell("a", db=DependencyState.ANSWERS)
        assert scene.words("b")["db"] == {}
    assert len(scene.changes) == 1


def test_metrics_count_the_relays_by_what_they_see() -> None:
    scene = Scene()
    for relay, state in (("a", DependencyState.DOWN), ("b", DependencyState.DOWN), ("c", DependencyState.ANSWERS)):
        scene.tell(relay, db=state)
    family, _ = DependencyMetrics(scene.reports).collect()
    assert {(each.labels["dependency"], each.labels["state"]): each.value for each in family.samples} == {
        ("db", "Down"): 2,
        ("db", "Answers"): 1,
    }


A, B = "192.0.2.53:53", "192.0.2.54:53"


def asking(**states: DependencyState) -> Window:
    """A relay's word about its resolvers a and b."""
    known = {"a": A, "b": B}
    return Window(resolvers=tuple(telemetry.Dependency(known[name], each, 1.0, "why") for name, each in states.items()))


def test_resolvers_are_those_that_the_pool_names_or_all_that_its_relays_have() -> None:
    scene = Scene()
    scene.reports.take(POOL, "x", asking(a=DependencyState.DOWN))
    scene.reports.take(POOL, "y", asking(a=DependencyState.ANSWERS, b=DependencyState.ANSWERS))
    own = scene.reports.resolvers_of(POOL, (), ("x", "y"))
    assert ([each.name for each in own.seen], own.named) == ([A, B], False)
    assert {relay: word.state for relay, word in own.seen[0].words.items()} == {"x": "Down", "y": "Answers"}
    named = scene.reports.resolvers_of(POOL, (B, "192.0.2.55:53"), ("x", "y"))
    assert ([list(each.words) for each in named.seen], named.named) == ([["y"], []], True)
    scene.at = STALE + 1
    assert scene.reports.resolvers_of(POOL, (), ("x", "y")).seen == ()


def test_relays_that_each_tell_of_other_resolvers_make_no_status_without_end() -> None:
    scene = Scene()
    for number in range(300):
        row = telemetry.Dependency(f"192.0.2.{number}:53", DependencyState.DOWN, 1.0, "w" * 256)
        scene.reports.take(POOL, f"relay{number}", Window(resolvers=(row,)))
    scene.reports.take(POOL, "last", asking(a=DependencyState.DOWN))
    names = [each.name for each in scene.reports.resolvers_of(POOL, (), [*scene.reports._pools[POOL]]).seen]
    assert len(names) == telemetry.MOST_RESOLVERS
    assert A in names, "the one that most of them have"


def test_another_state_of_a_resolver_wakes_the_pool_and_is_counted() -> None:
    scene = Scene()
    for state in (DependencyState.ANSWERS, DependencyState.ANSWERS, DependencyState.DOWN):
        scene.reports.take(POOL, "x", asking(a=state))
    assert len(scene.changes) == 2
    assert scene.words("x") == {"db": {}, "web": {}}
    _, family = DependencyMetrics(scene.reports).collect()
    assert [(each.labels["resolver"], each.labels["state"], each.value) for each in family.samples] == [(A, "Down", 1)]


def test_what_is_declared_says_whether_mail_is_put_off() -> None:
    assert [(each.name, each.defers) for each in Scene().reports.of(POOL, DECLARED, ())] == [
        ("db", True),
        ("web", False),
    ]


def test_no_evidence_about_a_relay_comes_of_it() -> None:
    down = window(5.0, db=DependencyState.DOWN)
    assert list(own_evidence("a", down, 1.0)) == list(own_evidence("a", replace(down, dependencies=()), 1.0))
    dead = asking(a=DependencyState.DOWN, b=DependencyState.DOWN)
    assert list(own_evidence("a", dead, 1.0)) == list(own_evidence("a", Window(), 1.0))


def pool_world(*dependencies: dict[str, Any]) -> FakeKube:
    return world(relay_pod("a", "10.0.0.1"), relay_pod("b", "10.0.0.2"), dependencies=list(dependencies))


def events(kube: FakeKube) -> list[tuple[str, str]]:
    """Type and reason of the events about dependencies, in order."""
    found = [obj for (kind, *_), obj in kube.objects.items() if kind == "Event"]
    about = ("AllAnswer", "DependencyDown", "NotTold", "ResolverDown", "ResolversAnswer", "OneResolver")
    return [(each["type"], each["reason"]) for each in found if each["reason"] in about]


async def test_the_status_follows_what_relays_tell_and_each_change_is_an_event() -> None:
    kube = pool_world(DB)
    both = context(kube)
    assert await reconcile(both, "mail", "tx") == UNCALM
    assert condition(kube, "DependenciesReady") == ("Unknown", "NotTold")
    for relay in "ab":
        both.dependencies.take(POOL, relay, window(db=DependencyState.ANSWERS))
    await reconcile(both, "mail", "tx")
    assert condition(kube, "DependenciesReady") == ("True", "AllAnswer")
    both.dependencies.take(POOL, "a", window(db=DependencyState.DOWN))
    await reconcile(both, "mail", "tx")
    assert condition(kube, "DependenciesReady") == ("False", "DependencyDown")
    assert events(kube) == [("Normal", "NotTold"), ("Normal", "AllAnswer"), ("Warning", "DependencyDown")]


async def test_the_status_is_not_written_again_while_nothing_changes() -> None:
    kube = pool_world(DB)
    both = context(kube)
    for _ in range(3):
        both.dependencies.take(POOL, "a", window(4.0, db=DependencyState.DOWN))
        await reconcile(both, "mail", "tx")
        written, kube.writes = kube.writes, []
    assert written == []


async def test_what_is_no_longer_declared_leaves_the_status() -> None:
    kube = pool_world(DB)
    both = context(kube)
    await reconcile(both, "mail", "tx")
    kube.seen("RelayPool", "tx")["spec"]["dependencies"] = []
    await reconcile(both, "mail", "tx")
    types = [each["type"] for each in kube.seen("RelayPool", "tx")["status"]["conditions"]]
    assert "DependenciesReady" not in types


def template(kube: FakeKube) -> Any:
    return kube.seen("Deployment", "tx-relay")["spec"]["template"]


async def test_a_declaration_restarts_relays_only_when_they_need_another_secret() -> None:
    kube = pool_world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    before = template(kube)
    kube.seen("RelayPool", "tx")["spec"]["dependencies"] = [DB]
    await reconcile(both, "mail", "tx")
    assert template(kube) == before
    assert '"db.example:5432"' in kube.seen("ConfigMap", "tx-relay")["data"]["relay.json"]
    written = [(kind, name) for _, kind, name in kube.writes]
    policy, told = ("NetworkPolicy", "tx-relay"), ("ConfigMap", "tx-relay")
    assert written[::-1].index(policy) > written[::-1].index(told), "open before it is asked for"
    login = {"address": "db:5432", "database": "mail", "credentialsSecretRef": {"name": "asker"}}
    kube.seen("RelayPool", "tx")["spec"]["dependencies"] = [{"name": "db", "type": "PostgreSQL", "postgresql": login}]
    await reconcile(both, "mail", "tx")
    assert "dependencies" in [each["name"] for each in template(kube)["spec"]["volumes"]]


async def test_a_dead_resolver_is_said_and_that_it_is_back_and_nothing_while_all_is_well() -> None:
    kube = world(relay_pod("a", "10.0.0.1"), relay_pod("b", "10.0.0.2"), resolvers=["192.0.2.53", "192.0.2.54"])
    both = context(kube)

    async def told(first: DependencyState) -> tuple[str, str]:
        for relay in "ab":
            both.dependencies.take(POOL, relay, asking(a=first, b=DependencyState.ANSWERS))
        await reconcile(both, "mail", "tx")
        return condition(kube, "ResolversReady")

    await reconcile(both, "mail", "tx")
    assert condition(kube, "ResolversReady") == ("Unknown", "NotTold")
    assert await told(DependencyState.ANSWERS) == ("True", "ResolversAnswer")
    assert events(kube) == []
    assert await told(DependencyState.DOWN) == ("False", "ResolverDown")
    assert condition(kube, "Degraded") != ("True", "ResolverDown"), "the other one is enough"
    assert await told(DependencyState.ANSWERS) == ("True", "ResolversAnswer")
    assert events(kube) == [("Warning", "ResolverDown"), ("Normal", "ResolversAnswer")]


async def test_named_resolvers_reach_relays_without_a_restart_and_pools_that_name_none_say_what_they_have() -> None:
    kube = pool_world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    types = [each["type"] for each in kube.seen("RelayPool", "tx")["status"]["conditions"]]
    assert "ResolversReady" not in types, "relays of an older image tell nothing"
    before = template(kube)
    both.dependencies.take(POOL, "a", asking(a=DependencyState.ANSWERS))
    await reconcile(both, "mail", "tx")
    assert condition(kube, "ResolversReady") == ("True", "OneResolver")
    kube.seen("RelayPool", "tx")["spec"]["resolvers"] = ["192.0.2.53", "2001:db8::53"]
    await reconcile(both, "mail", "tx")
    assert template(kube) == before
    assert '"[2001:db8::53]:53"' in kube.seen("ConfigMap", "tx-relay")["data"]["relay.json"]
