"""A pool's children follow its spec, and its status says how it is."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import pytest

from relayfleet.api.labels import CONFIG_DIGEST, DELETION_COST, FOLLOWS, INPUTS, PAUSED, TEMPLATE
from relayfleet.children.relay import broker
from relayfleet.controllers import relaytraffic
from relayfleet.controllers.queuememory import of
from relayfleet.controllers.relaypool import CALM, UNCALM, reconcile
from relayfleet.controllers.relaywords import SigningWords, SuppressionWords
from relayfleet.decide import rollout
from relayfleet.decide.queue.sweep import Doubt
from relayfleet.kube.client import Object
from relayfleet.kube.errors import KubeInvalid
from relayfleet.protocol.telemetry import Usage, Usages, Window
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool, pool_spec, queue, resource
from tests.unit.controllers.scene import context, operators_authority, relay_pod

CHILDREN = {
    ("ConfigMap", "tx-relay"),
    ("Deployment", "tx-relay"),
    ("NetworkPolicy", "tx-relay"),
    ("PodDisruptionBudget", "tx-relay"),
    ("Secret", "tx-control"),
    ("Service", "tx"),
    ("ServiceAccount", "tx-relay"),
}


def ready(obj: Object, status: str = "True") -> Object:
    conditions = [{"type": "Ready", "status": status, "reason": "x", "message": "x"}]
    return obj | {"status": {"conditions": conditions}}


def sending_ip(name: str, region: str = "eu") -> Object:
    obj = ready(resource("SendingIP", name, address="203.0.113.10", region=region, heloName="a.mail.example.com"))
    obj["metadata"]["labels"] = {"pool": "tx"}
    return obj


def world(*more: Object, **spec: Any) -> FakeKube:
    return FakeKube(pool(**spec), ready(queue()[0]), sending_ip("eu-1"), operators_authority(), *more)


def condition(kube: FakeKube, type_: str = "Ready") -> tuple[str, str]:
    found = {each["type"]: each for each in kube.seen("RelayPool", "tx")["status"]["conditions"]}[type_]
    return found["status"], found["reason"]


def children(kube: FakeKube) -> set[tuple[str, str]]:
    return {(kind, name) for kind, _, name in kube.objects} & CHILDREN


def config(kube: FakeKube) -> Any:
    return json.loads(kube.seen("ConfigMap", "tx-relay")["data"]["relay.json"])


async def test_all_children_are_made_and_made_again_when_they_are_deleted() -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    assert children(kube) == CHILDREN
    for kind, name in CHILDREN:
        del kube.objects[kind, "mail", name]
        await reconcile(both, "mail", "tx")
        assert children(kube) == CHILDREN


async def test_children_that_are_as_they_were_left_are_not_written_again() -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    kube.writes.clear()
    await reconcile(both, "mail", "tx")
    assert kube.writes == []


async def test_an_edited_child_is_put_right_and_only_that_one() -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    kube.seen("Deployment", "tx-relay")["spec"]["replicas"] = 1
    kube.writes.clear()
    await reconcile(both, "mail", "tx")
    assert kube.writes == [("apply", "Deployment", "tx-relay")]
    assert kube.seen("Deployment", "tx-relay")["spec"]["replicas"] == 3


async def test_a_new_operator_restarts_no_relay_until_the_user_changes_something() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    before = kube.seen("Deployment", "tx-relay")["spec"]["template"]
    newer = context(kube, image="relayfleet:2")
    await reconcile(newer, "mail", "tx")
    assert kube.seen("Deployment", "tx-relay")["spec"]["template"] == before
    kube.seen("RelayPool", "tx")["spec"]["template"] = {"priorityClassName": "high"}
    await reconcile(newer, "mail", "tx")
    after = kube.seen("Deployment", "tx-relay")["spec"]["template"]
    assert after["spec"]["containers"][0]["image"] == "relayfleet:2"


async def test_relays_of_an_operator_that_knew_no_orders_are_left_as_they_are() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    deployment = kube.seen("Deployment", "tx-relay")
    older = json.loads(deployment["metadata"]["annotations"][TEMPLATE])
    older["spec"]["volumes"] = [each for each in older["spec"]["volumes"] if each["name"] != "control"]
    deployment["metadata"]["annotations"][TEMPLATE] = json.dumps(older)
    deployment["spec"]["template"] = older
    del kube.objects["Secret", "mail", "tx-control"]
    await reconcile(context(kube), "mail", "tx")
    assert kube.seen("Deployment", "tx-relay")["spec"]["template"] == older
    assert ("Secret", "tx-control") in children(kube)


async def test_the_secret_of_the_relays_is_there_before_they_are() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    written = [(kind, name) for _, kind, name in kube.writes]
    assert written.index(("Secret", "tx-control")) < written.index(("Deployment", "tx-relay"))


async def test_relays_get_the_configuration_without_a_new_template_and_are_told_to_look() -> None:
    kube = world(relay_pod("a", "198.18.0.1"))
    both = context(kube)
    await reconcile(both, "mail", "tx")
    template = kube.seen("Deployment", "tx-relay")["spec"]["template"]
    digest = kube.seen("Pod", "a")["metadata"]["annotations"][CONFIG_DIGEST]
    kube.put(sending_ip("eu-2"))
    await reconcile(both, "mail", "tx")
    assert [each["name"] for each in config(kube)["sources"]] == ["eu-1", "eu-2"]
    assert kube.seen("Deployment", "tx-relay")["spec"]["template"] == template
    assert kube.seen("Pod", "a")["metadata"]["annotations"][CONFIG_DIGEST] != digest


async def test_only_sending_ips_of_this_region_that_match_and_hold_their_claim_are_used() -> None:
    other_label, unclaimed = sending_ip("eu-3"), ready(sending_ip("eu-4"), "False")
    other_label["metadata"]["labels"] = {"pool": "other"}
    kube = world(sending_ip("us-1", region="us"), other_label, unclaimed)
    await reconcile(context(kube), "mail", "tx")
    assert [each["name"] for each in config(kube)["sources"]] == ["eu-1"]
    assert kube.seen("RelayPool", "tx")["status"]["sendingIPs"] == ["eu-1"]


async def test_a_cordoned_relay_goes_first_and_no_more_when_it_is_taken_back() -> None:
    kube = world(relay_pod("a", "198.18.0.1", cordon="Hard"))
    both = context(kube)
    await reconcile(both, "mail", "tx")
    annotations = kube.seen("Pod", "a")["metadata"]["annotations"]
    assert int(annotations[DELETION_COST]) < 0
    kube.put(relay_pod("a", "198.18.0.1"))
    await reconcile(both, "mail", "tx")
    assert DELETION_COST not in kube.seen("Pod", "a")["metadata"]["annotations"]


async def test_a_pod_that_was_marked_is_known_before_the_watch_tells_of_it() -> None:
    """Or it would be marked again at each look until then."""
    kube = world(relay_pod("a", "198.18.0.1", cordon="Hard"))
    surroundings = context(kube)
    await relaytraffic.reconcile(surroundings, "mail", "tx")
    kube.mirrors.clear()
    await reconcile(surroundings, "mail", "tx")
    kube.writes.clear()
    await reconcile(surroundings, "mail", "tx")
    assert [each for each in kube.writes if each[1] == "Pod"] == []


async def test_without_a_queue_what_depends_on_it_waits_and_the_rest_is_made() -> None:
    kube = FakeKube(pool(), sending_ip("eu-1"), operators_authority())
    both = context(kube)
    assert await reconcile(both, "mail", "tx") == UNCALM
    assert CHILDREN - children(kube) == {(kind, "tx-relay") for kind in ("ConfigMap", "Deployment", "NetworkPolicy")}
    assert condition(kube) == ("False", "QueueNotFound")
    kube.put(ready(queue()[0]))
    await reconcile(both, "mail", "tx")
    assert children(kube) == CHILDREN


async def test_relays_that_wait_until_queues_of_an_older_pool_are_gone_say_so() -> None:
    kube = world()
    both = context(kube)
    sweep = of(both.memory, "mail", "mail").sweep
    sweep.pool = "tx"
    assert await reconcile(both, "mail", "tx") == UNCALM
    assert condition(kube) == ("False", "QueuesBeingRemoved")
    assert condition(kube, "Degraded") == ("False", "AsAsked")
    sweep.doubt = Doubt("q.v1.ready.a", "quorum", "mail-rabbitmq-1", datetime.datetime.now(datetime.UTC))
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("True", "QueuesBeingRemoved")
    assert "mail-rabbitmq-1" in str(kube.seen("RelayPool", "tx")["status"]["conditions"])
    sweep.pool, sweep.doubt = "another", None
    await reconcile(both, "mail", "tx")
    assert condition(kube) == ("False", "NoRelayReady")


async def test_a_queue_that_goes_takes_no_relay_with_it() -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    del kube.objects["QueueCluster", "mail", "mail"]
    await reconcile(both, "mail", "tx")
    assert children(kube) == CHILDREN
    assert condition(kube) == ("False", "QueueNotFound")


async def test_a_refused_child_is_told_of_and_keeps_no_other_from_being_made() -> None:
    kube = world()

    def refuse(obj: Object) -> None:
        if obj["kind"] == "Service":
            raise KubeInvalid("nodePort 31000 is taken", 422)

    kube.refuse = refuse
    await reconcile(context(kube), "mail", "tx")
    assert children(kube) == CHILDREN - {("Service", "tx")}
    assert condition(kube, "Stalled") == ("True", "ApplyFailed")


async def test_somebody_elses_object_of_the_same_name_is_not_touched() -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": "mail", "name": "tx"},
        "spec": {"selector": {"app": "theirs"}},
    }
    kube = world(theirs)
    await reconcile(context(kube), "mail", "tx")
    assert kube.seen("Service", "tx")["spec"] == theirs["spec"]
    assert condition(kube, "Stalled") == ("True", "ApplyFailed")


async def test_a_paused_pools_children_are_left_alone() -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    kube.seen("RelayPool", "tx")["metadata"]["annotations"] = {PAUSED: "true"}
    del kube.objects["ConfigMap", "mail", "tx-relay"]
    await reconcile(both, "mail", "tx")
    assert ("ConfigMap", "tx-relay") not in children(kube)
    assert condition(kube)[1] == "Paused"


async def test_a_spec_that_cannot_be_read_is_said_and_nothing_is_changed() -> None:
    kube = world(listeners=[{"name": "submission", "port": 587, "tls": "SomethingNew"}])
    await reconcile(context(kube), "mail", "tx")
    assert children(kube) == set()
    assert condition(kube, "Stalled") == ("True", "SpecInvalid")


async def test_a_missing_secret_is_seen_from_the_events_of_the_pods() -> None:
    waiting = relay_pod("a", "198.18.0.1", ready=False)
    waiting["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ContainerCreating"}}}]
    message = 'MountVolume.SetUp failed for volume "auth" : secret "submitters" not found'
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "mail", "name": "a.1"},
        "involvedObject": {"uid": "uid-of-a"},
        "reason": "FailedMount",
        "message": message,
        "lastTimestamp": "2026-11-24T12:01:00Z",
    }
    kube = world(waiting, event)
    await reconcile(context(kube), "mail", "tx")
    assert condition(kube) == ("False", "SecretNotFound")


async def test_a_pool_that_is_as_asked_says_so_and_rests() -> None:
    relays = [relay_pod(name, f"198.18.0.{number}") for number, name in enumerate("abc")]
    for each in relays:
        each["status"]["conditions"].append({"type": "relayfleet.io/listed", "status": "True"})
    kube = world(*relays)
    assert await reconcile(context(kube), "mail", "tx") == CALM
    status = kube.seen("RelayPool", "tx")["status"]
    assert condition(kube) == ("True", "Serving")
    assert (status["replicas"], status["readyReplicas"], status["relays"]) == (3, 3, "3/3")
    assert status["selector"] == "relayfleet.io/pool=tx"


async def test_one_cause_is_one_event() -> None:
    kube = world()
    both = context(kube)
    for _ in range(3):
        await reconcile(both, "mail", "tx")
    events = [obj["reason"] for (kind, _, _), obj in kube.objects.items() if kind == "Event"]
    assert events == ["NoRelayReady"]


@pytest.mark.parametrize("going", [True, False], ids=["going", "gone"])
async def test_a_pool_that_is_gone_is_forgotten(going: bool) -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    if going:
        kube.seen("RelayPool", "tx")["metadata"]["deletionTimestamp"] = "2026-11-24T13:00:00Z"
    else:
        del kube.objects["RelayPool", "mail", "tx"]
    kube.writes.clear()
    assert await reconcile(both, "mail", "tx") is None
    assert (kube.writes, dict(both.memory)) == ([], {})


def listed_pods(names: str = "abc") -> list[Object]:
    relays = [relay_pod(name, f"198.18.0.{number}") for number, name in enumerate(names)]
    for each in relays:
        each["status"]["conditions"].append({"type": "relayfleet.io/listed", "status": "True"})
    return relays


async def test_a_key_that_a_relay_cannot_use_is_told_until_it_can() -> None:
    kube = world(*listed_pods())
    both = context(kube)
    both.signing.take_window(("mail", "tx"), "b", Window(signing="mail of a.test is kept back: make a key"))
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("True", "SigningKeyUnavailable")
    assert condition(kube) == ("True", "Serving")
    both.signing.take_window(("mail", "tx"), "b", Window())
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("False", "AsAsked")


async def test_a_key_that_is_not_in_dns_is_told_until_it_is() -> None:
    kube = world(*listed_pods())
    both = context(kube)
    both.signing.take_window(("mail", "tx"), "b", Window(unpublished="publish it"))
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("True", "SigningKeyNotPublished")
    assert condition(kube) == ("True", "Serving")
    both.signing.take_window(("mail", "tx"), "b", Window())
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("False", "AsAsked")


def test_only_news_of_keys_wake_a_pool_and_relays_that_left_are_forgotten() -> None:
    woken: list[tuple[str, str]] = []
    news = SigningWords(lambda *pool: woken.append(pool))
    for text in ("", "a", "a", "b"):
        news.take_window(("mail", "tx"), "gone", Window(signing=text))
    for text in ("", "a", "a"):
        news.take_window(("mail", "tx"), "gone", Window(signing="b", unpublished=text))
    assert woken == [("mail", "tx")] * 3
    assert news.of(("mail", "tx"), "gone") == ("b", "a")
    news.keep(("mail", "tx"), {"other"})
    assert news.of(("mail", "tx"), "gone") == ("", "")


def test_only_news_of_the_suppression_list_wake_a_pool_and_relays_that_left_are_forgotten() -> None:
    woken: list[tuple[str, str]] = []
    news, pool = SuppressionWords(lambda *pool: woken.append(pool)), ("mail", "tx")
    for text, withholds in (("", False), ("a", True), ("a", True), ("a", False)):
        news.take_window(pool, "gone", Window(suppression=text, withholds=withholds))
    assert woken == [pool] * 2
    news.keep(pool, {"other"})
    assert news.of(pool, "gone") == ("", False)


async def test_dkim_that_is_not_stated_changes_no_template_of_an_older_operator() -> None:
    """The digest that decides on rollouts must not know of a field that old pools do not have."""
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    before = kube.seen("Deployment", "tx-relay")["metadata"]["annotations"][INPUTS]
    volume = broker.access(*queue(), prefix="p", quota_bytes=1).volume
    spec = pool_spec(pool())
    stated = {"template": spec.template.as_dict(), "auth": "submitters", "tls": "smtp-tls", "grace": "60s"}
    assert before == rollout.digest({**stated, "broker": volume})
    kube.objects["RelayPool", "mail", "tx"]["spec"]["dkim"] = [
        {"domain": "a.test", "keys": [{"selector": "s", "secretRef": {"name": "a-keys"}}]}
    ]
    await reconcile(context(kube), "mail", "tx")
    assert kube.seen("Deployment", "tx-relay")["metadata"]["annotations"][INPUTS] != before


async def test_a_suppression_list_that_is_stated_replaces_the_relays_and_its_order_does_not() -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    inputs = [kube.seen("Deployment", "tx-relay")["metadata"]["annotations"][INPUTS]]
    refs = [{"name": "bounced", "key": "addresses.txt"}, {"name": "left", "key": "addresses.txt"}]
    for stated in (refs, refs[::-1]):
        kube.objects["RelayPool", "mail", "tx"]["spec"]["suppressionList"] = {"secretRefs": stated}
        await reconcile(both, "mail", "tx")
        told = [{"secret": each["name"], "entry": each["key"]} for each in refs]
        assert config(kube)["suppression"] == told
        inputs.append(kube.seen("Deployment", "tx-relay")["metadata"]["annotations"][INPUTS])
    assert inputs[0] != inputs[1] == inputs[2]


RULE = {"name": "incident", "match": {"credential": "news"}, "action": "Hold"}


async def test_a_delivery_rule_is_configuration_and_replaces_no_relay() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    before = kube.seen("Deployment", "tx-relay")["spec"]["template"]
    newer = context(kube, image="relayfleet:2")
    for rules in ([RULE], [RULE, RULE | {"name": "other"}], []):
        kube.objects["RelayPool", "mail", "tx"]["spec"]["deliveryRules"] = rules
        await reconcile(newer, "mail", "tx")
        assert [each["name"] for each in config(kube)["delivery_rules"]] == [each["name"] for each in rules]
        assert kube.seen("Deployment", "tx-relay")["spec"]["template"] == before


async def test_the_first_delivery_rule_replaces_relays_that_know_of_none_and_no_other_does() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    annotations = kube.seen("Deployment", "tx-relay")["metadata"]["annotations"]
    older = json.loads(annotations[TEMPLATE])
    del older["metadata"]["annotations"]
    annotations[TEMPLATE] = json.dumps(older)
    images = []
    for version, rules in ((2, []), (2, [RULE]), (3, [RULE]), (3, []), (4, [RULE])):
        kube.objects["RelayPool", "mail", "tx"]["spec"]["deliveryRules"] = rules
        await reconcile(context(kube, image=f"relayfleet:{version}"), "mail", "tx")
        images.append(kube.seen("Deployment", "tx-relay")["spec"]["template"]["spec"]["containers"][0]["image"])
    assert images == ["relayfleet:1", *["relayfleet:2"] * 4]


AGAIN = {
    "name": "again",
    "match": {"credential": "news", "deferredBefore": "2026-11-28T16:00:00Z"},
    "action": "Requeue",
}


async def test_relays_that_follow_rules_but_know_no_requeue_are_replaced_by_the_first_one_and_by_no_other_rule() -> (
    None
):
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    annotations = kube.seen("Deployment", "tx-relay")["metadata"]["annotations"]
    older = json.loads(annotations[TEMPLATE])
    older["metadata"]["annotations"][FOLLOWS] = "DeliveryRules"
    annotations[TEMPLATE] = json.dumps(older)
    images = []
    for version, rules in ((2, [RULE]), (3, [RULE, AGAIN]), (4, [AGAIN]), (5, [RULE])):
        kube.objects["RelayPool", "mail", "tx"]["spec"]["deliveryRules"] = rules
        await reconcile(context(kube, image=f"relayfleet:{version}"), "mail", "tx")
        images.append(kube.seen("Deployment", "tx-relay")["spec"]["template"]["spec"]["containers"][0]["image"])
    assert images == ["relayfleet:1", *["relayfleet:3"] * 3]


async def test_the_class_of_a_pool_is_configuration_and_replaces_only_relays_that_know_nothing_of_it_once() -> None:
    kube = world()
    await reconcile(context(kube), "mail", "tx")
    assert config(kube)["bulk"] is False
    annotations = kube.seen("Deployment", "tx-relay")["metadata"]["annotations"]
    older = json.loads(annotations[TEMPLATE])
    older["metadata"]["annotations"][FOLLOWS] = "DeliveryRules,Requeue,ProviderLanes,Parking"
    annotations[TEMPLATE] = json.dumps(older)
    images = []
    for version, stated in ((2, "Transactional"), (3, "Bulk"), (4, "Transactional"), (5, "Bulk")):
        kube.objects["RelayPool", "mail", "tx"]["spec"]["class"] = stated
        await reconcile(context(kube, image=f"relayfleet:{version}"), "mail", "tx")
        assert config(kube)["bulk"] is (stated == "Bulk")
        images.append(kube.seen("Deployment", "tx-relay")["spec"]["template"]["spec"]["containers"][0]["image"])
    assert images == ["relayfleet:1", *["relayfleet:3"] * 3]


async def test_delivery_rules_are_told_as_long_as_they_are_there() -> None:
    kube = world(*listed_pods(), deliveryRules=[RULE | {"name": "z", "action": "Purge"}, RULE])
    await reconcile(context(kube), "mail", "tx")
    (found,) = (each for each in kube.seen("RelayPool", "tx")["status"]["conditions"] if each["type"] == "Ready")
    assert found["message"].endswith("; by deliveryRules some mail is not tried: incident (Hold), z (Purge)")
    assert condition(kube) == ("True", "Serving")


async def test_a_suppression_list_of_no_use_is_told_until_it_is_good() -> None:
    kube = world(*listed_pods())
    both = context(kube)
    for name in "abc":
        both.suppression.take_window(("mail", "tx"), name, Window(suppression="mail is kept back: x", withholds=True))
    await reconcile(both, "mail", "tx")
    assert condition(kube) == ("False", "SuppressionListUnavailable")
    both.suppression.take_window(("mail", "tx"), "a", Window())
    both.suppression.take_window(("mail", "tx"), "b", Window())
    await reconcile(both, "mail", "tx")
    assert condition(kube) == ("True", "Serving")
    assert condition(kube, "Degraded") == ("True", "SuppressionListUnavailable")
    both.suppression.take_window(("mail", "tx"), "c", Window())
    await reconcile(both, "mail", "tx")
    assert condition(kube, "Degraded") == ("False", "AsAsked")


async def test_submitters_that_are_stated_first_need_relays_that_know_of_them_and_then_are_configuration() -> None:
    kube = world()
    both = context(kube)
    await reconcile(both, "mail", "tx")
    inputs = [kube.seen("Deployment", "tx-relay")["metadata"]["annotations"][INPUTS]]
    for domains in (["a.test"], ["a.test", "b.test"]):
        kube.objects["RelayPool", "mail", "tx"]["spec"]["submitters"] = [{"name": "ann", "domains": domains}]
        await reconcile(both, "mail", "tx")
        assert config(kube)["submitters"] == [{"name": "ann", "domains": domains}]
        inputs.append(kube.seen("Deployment", "tx-relay")["metadata"]["annotations"][INPUTS])
    assert inputs[0] != inputs[1] == inputs[2]


async def test_limits_that_are_stated_first_need_relays_that_know_of_them_and_then_are_configuration() -> None:
    kube = world()
    both = context(kube)
    inputs = []
    for stated in ({"domains": ["a.test"]}, {"domains": ["a.test"], "recipientsPerDay": 5}, {"recipientsPerMinute": 3}):
        kube.objects["RelayPool", "mail", "tx"]["spec"]["submitters"] = [{"name": "ann", **stated}]
        await reconcile(both, "mail", "tx")
        inputs.append(kube.seen("Deployment", "tx-relay")["metadata"]["annotations"][INPUTS])
    assert inputs[0] != inputs[1] == inputs[2]
    assert config(kube)["submission_limits"] == [{"credential": "ann", "per_minute": 3, "per_day": None}]
    assert config(kube)["submitters"] == [], "a relay that knows no limits would let it send as nobody"


async def test_what_was_submitted_to_a_pool_is_forgotten_with_it() -> None:
    kube = world()
    both = context(kube)
    usage = Usages(int(time.time() // 86400), "run", (Usage("ann", 3),))
    both.usage.take(("mail", "tx"), "a", Window(usage=usage))
    await reconcile(both, "mail", "tx")
    assert both.usage.told(("mail", "tx"), "a", usage) == (Usage("ann", 3, 3),)
    del kube.objects["RelayPool", "mail", "tx"]
    await reconcile(both, "mail", "tx")
    assert both.usage.told(("mail", "tx"), "a", usage) == ()
