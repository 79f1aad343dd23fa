"""From the words of probers to slices, events and status: what the evidence says is done, and a change of leader moves nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from relayfleet.controllers import relaypool, relaytraffic
from relayfleet.controllers.context import Context
from relayfleet.controllers.relayhealth import Health
from relayfleet.controllers.watchedpool import LEISURE
from relayfleet.decide.health.decision import decide
from relayfleet.decide.health.evidence import Evidence
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Roster, Vantage
from relayfleet.decide.health.state import State
from relayfleet.decide.health.verdict import Decision
from relayfleet.kube.client import Object
from relayfleet.protocol.probing import Kind, Probe, Seen, Sight, Target
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool
from tests.unit.controllers.scene import context, endpoints, relay_pod

READY, LAST, OUT = (True, True, False), (False, True, True), (False, False, False)
NAMES = ("a", "b", "c")


@dataclass
class Told:
    """What goes out to the probers."""

    targets: tuple[Target, ...] = ()
    bursts: list[str] = field(default_factory=list)

    def watch(self, targets: Sequence[Target]) -> None:
        self.targets = tuple(targets)

    def burst(self, keys: Sequence[str]) -> None:
        self.bursts += keys


class Stage:
    """Three relays that serve, two vantages, and a clock that only goes when told."""

    def __init__(self, kube: FakeKube | None = None) -> None:
        self.now = 1000.0
        self.kube = kube or FakeKube(pool(), *(relay_pod(name, f"198.18.0.{n}") for n, name in enumerate(NAMES, 1)))
        self.changed: list[tuple[str, str]] = []
        self.health = Health(lambda *name: self.changed.append(name), lambda: self.now)
        self.probers = Told()
        self.health.probers = self.probers
        self.context: Context = replace(context(self.kube), health=self.health)
        self.health.present((Vantage("one", "node-1"), Vantage("two", "node-2")))

    async def direct(self) -> None:
        await relaytraffic.reconcile(self.context, "mail", "tx")
        await relaytraffic.follow(self.context, "mail", "tx")

    def hear(self, kinds: dict[str, str], seconds: float = 1.0) -> None:
        """Both vantages say the same of each relay, ten times a second; `kinds` names the relays that do not answer."""
        for step in range(round(seconds * 10)):
            self.now += 0.1
            for vantage in ("one", "two"):
                sights = [self._sight(name, kinds.get(name, "Answered"), 0.1 * (step + 1)) for name in NAMES]
                self.health.take(vantage, Seen(tuple(sights), self.now))

    def mails(self, sights: dict[str, Sight], seconds: float = 1.0) -> None:
        """Both vantages see this of probe mails, and of the other relays that envelopes are taken."""
        for _ in range(round(seconds * 5)):
            self.hear({}, 0.2)
            for vantage in ("one", "two"):
                said = [sights.get(name) or Sight(f"mail/tx/{name}", "Answered", "Transaction", 0.0) for name in NAMES]
                self.health.take(vantage, Seen(tuple(said), self.now))

    def _sight(self, name: str, kind: str, silent_for: float) -> Sight:
        key = f"mail/tx/{name}"
        if kind == "Silent":
            ages = tuple(round(silent_for - 0.1 * n, 1) for n in range(round(silent_for * 10)))[:16]
            return Sight(key, "Silent", "Dialogue", 0.0, open=ages)
        return Sight(key, "Refused" if kind == "Refused" else "Answered", "Dialogue", 0.0, latency=0.002)


async def test_relays_that_serve_are_watched_at_the_port_of_the_first_listener_without_tls_from_the_start() -> None:
    stage = Stage()
    stage.kube.put(relay_pod("d", "198.18.0.9", ready=False))
    await stage.direct()
    assert [(each.key, each.host, each.port, each.implicit_tls) for each in stage.probers.targets] == [
        (f"mail/tx/{name}", f"198.18.0.{n}", 2520, False) for n, name in enumerate(NAMES, 1)
    ]


def control_secret(word: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "mail", "name": "tx-control"},
        "data": {"discard": base64.b64encode(word.encode()).decode()},
    }


async def test_relays_are_probed_with_mails_if_the_pool_has_a_discard_address() -> None:
    stage = Stage()
    await stage.direct()
    assert {each.discard for each in stage.probers.targets} == {""}
    stage.kube.put(control_secret("w0rd"))
    successor = Stage(stage.kube)
    await successor.direct()
    assert {each.discard for each in successor.probers.targets} == {"w0rd@discard.relayfleet.invalid"}


@pytest.mark.parametrize(("kind", "code"), [("Erred", 451), ("Reset", 0)])
async def test_a_relay_that_turns_probe_mails_away_leaves_traffic_and_all_of_them_do_not(kind: Kind, code: int) -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    stage.mails({"b": Sight("mail/tx/b", kind, "Transaction", 0.0, latency=0.002, code=code)})
    await stage.direct()
    assert endpoints(stage.kube) == {"a": READY, "b": LAST, "c": READY}
    await relaypool.reconcile(stage.context, "mail", "tx")
    status = stage.kube.seen("RelayPool", "tx")["status"]
    assert [(each["name"], each["reason"]) for each in status["cordoned"]] == [("b", "Erring")]


@pytest.mark.parametrize("probe", ["Transaction", "Storage"])
async def test_when_all_relays_turn_probe_mails_away_traffic_goes_on(probe: Probe) -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    stage.mails({name: Sight(f"mail/tx/{name}", "Erred", probe, 0.0, latency=0.002, code=451) for name in NAMES})
    await stage.direct()
    assert endpoints(stage.kube) == dict.fromkeys(NAMES, READY)


@pytest.mark.parametrize(
    ("kind", "seconds", "place", "reason"),
    [("Silent", 1.0, LAST, "Silent"), ("Silent", 4.0, OUT, "Silent"), ("Refused", 0.5, OUT, "Refusing")],
)
async def test_a_relay_that_breaks_down_leaves_traffic_and_everybody_is_told_why(
    kind: str, seconds: float, place: tuple[bool, bool, bool], reason: str
) -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    assert stage.changed == []
    stage.hear({"b": kind}, seconds)
    assert set(stage.changed) == {("mail", "tx")}
    await stage.direct()
    assert endpoints(stage.kube) == {"a": READY, "b": place, "c": READY}
    await relaypool.reconcile(stage.context, "mail", "tx")
    status = stage.kube.seen("RelayPool", "tx")["status"]
    assert [(each["name"], each["reason"]) for each in status["cordoned"]] == [("b", reason)]
    assert "b" in [each.rsplit("/", 1)[1] for each in stage.probers.bursts]
    events = [obj for (what, *_), obj in stage.kube.objects.items() if what == "Event"]
    assert (reason, "b") in [(each["reason"], each["involvedObject"]["name"]) for each in events]


async def test_a_relay_that_answers_again_comes_back_and_is_told_of() -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    stage.hear({"b": "Silent"}, 1.0)
    await stage.direct()
    stage.hear({}, 15.0)
    await stage.direct()
    assert endpoints(stage.kube)["b"] == READY


async def test_the_next_leader_goes_on_where_this_one_was() -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    stage.hear({"b": "Refused"}, 0.5)
    await stage.direct()
    next_one = Stage(stage.kube)
    stage.kube.writes.clear()
    await next_one.direct()
    assert [write for write in stage.kube.writes if write[1] != "Pod"] == []
    assert endpoints(stage.kube)["b"] == OUT


async def test_a_relay_that_stays_bad_is_made_anew_and_only_that_one() -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    stage.hear({"b": "Refused"}, 55.0)
    await stage.direct()
    assert ("Pod", "mail", "b") in stage.kube.objects
    stage.hear({"b": "Refused"}, 10.0)
    await stage.direct()
    assert sorted(name for kind, _, name in stage.kube.objects if kind == "Pod") == ["a", "c"]


async def test_while_one_relay_leaves_no_other_is_made_anew() -> None:
    stage = Stage()
    stage.kube.put(relay_pod("d", "198.18.0.9", leaving=True))
    await stage.direct()
    stage.hear({})
    stage.hear({"b": "Refused"}, 65.0)
    await stage.direct()
    assert ("Pod", "mail", "b") in stage.kube.objects


async def test_a_person_keeps_a_relay_in_traffic_against_all_evidence() -> None:
    stage = Stage()
    stage.kube.put(relay_pod("b", "198.18.0.2", cordon="None"))
    await stage.direct()
    stage.hear({})
    stage.hear({"b": "Silent"}, 4.0)
    await stage.direct()
    assert endpoints(stage.kube)["b"] == READY


async def test_without_vantages_nothing_is_concluded() -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    stage.health.present(())
    stage.hear({"b": "Silent"}, 4.0)
    assert stage.changed == []


async def test_words_about_strangers_are_dropped() -> None:
    stage = Stage()
    await stage.direct()
    for name in ("", "x", "mail/tx/nobody", "mail/other/a", "a/b/c/d"):
        stage.health.take("one", Seen((Sight(name, "Refused", "Dialogue", 0.0),), 1.0))
    stage.health.take("nobody", Seen((Sight("mail/tx/a", "Refused", "Dialogue", 0.0),) * 9, 1.0))
    assert stage.changed == []


async def test_good_news_of_a_calm_pool_waits_for_more_and_bad_news_takes_it_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    sizes: list[int] = []

    def counted(policy: Policy, state: State, batch: Sequence[Evidence], roster: Roster, now: float) -> Decision:
        sizes.append(len(batch))
        return decide(policy, state, batch, roster, now)

    stage.now += LEISURE
    stage.health.tick()
    monkeypatch.setattr("relayfleet.controllers.relayhealth.decide", counted)
    stage.hear({}, 0.2)
    assert sizes == []
    stage.hear({"b": "Refused"}, 0.1)
    assert sizes == [
        2 * 2 * 3 + 3,
        3,
    ]  # two steps of two vantages, and the first word with bad news; then the second vantage's
    stage.hear({"b": "Refused"}, 0.3)
    assert stage.changed == [("mail", "tx")]


async def test_good_news_waits_no_longer_than_its_leisure() -> None:
    stage = Stage()
    await stage.direct()
    stage.hear({})
    stage.now += LEISURE
    stage.health.tick()
    before = stage.health.counts.ignored
    stage.health.take("one", Seen((Sight("mail/tx/nobody", "Answered", "Dialogue", 0.0, latency=0.002),), stage.now))
    stage.now += LEISURE - 0.01
    stage.health.tick()
    assert stage.health.counts.ignored == before
    stage.now += 0.02
    stage.health.tick()
    assert stage.health.counts.ignored == before + 1
