"""What a RelayPool's children look like."""

from __future__ import annotations

from typing import Any

import pytest

from relayfleet.api.deliveryrules import Match
from relayfleet.api.labels import FOLLOWS, LISTED, MANAGED_BY, MANAGER, POOL
from relayfleet.children.rabbitmq import names as rabbitmq
from relayfleet.children.relay import (
    account,
    broker,
    config,
    control,
    dependencies,
    deployment,
    disruption,
    names,
    networkpolicy,
    pod,
    service,
    slices,
)
from relayfleet.decide.weights import QUARTERS, Condition
from relayfleet.protocol import brokeruser, telemetry
from relayfleet.protocol.dependency import DnsTarget, HttpTarget, PostgreSQLTarget, Target, Trust
from relayfleet.protocol.relay_config import DeliveryRule, RuleTerm, SubmissionLimit, Submitter, load
from relayfleet.relay.delivery.ruling import DeliveryRules
from relayfleet.relay.files import Files
from relayfleet.relay.routing.servers import parse_servers, written
from tests.unit.children.scene import pool, pool_spec, queue, sending_ip

EXTERNAL = {
    "type": "External",
    "external": {
        "addresses": ["a.example:5671", "b.example:5672"],
        "credentialsRef": {"name": "creds"},
        "tls": {"caSecretRef": {"name": "authority"}, "serverName": "broker.example"},
    },
}


DKIM: list[dict[str, Any]] = [
    {
        "domain": "b.example",
        "keys": [
            {"selector": "r", "secretRef": {"name": "shared"}},
            {"selector": "e", "secretRef": {"name": "shared", "key": "ed.pem"}},
        ],
    },
    {"domain": "a.example", "keys": [{"selector": "r", "secretRef": {"name": "a-keys"}}]},
    {"domain": "c.example", "keys": [{"selector": "r", "secretRef": {"name": "shared"}}], "verifyDNS": False},
]


NOT_SENT_TO = {
    "secretRefs": [{"name": "left"}, {"name": "bounced", "key": "b.txt"}, {"name": "bounced", "key": "a.txt"}]
}


def access(**spec: Any) -> broker.Access:
    return broker.access(*queue(**spec), prefix="p", quota_bytes=1)


def template(**spec: Any) -> dict[str, Any]:
    obj = pool(**spec)
    return pod.template(obj, pool_spec(obj), access().volume, "relayfleet:1", "eu")


def every_child() -> list[dict[str, Any]]:
    obj = pool()
    spec = pool_spec(obj)
    return [
        account.service_account(obj),
        config.config_map(obj, "{}"),
        control.secret(obj, dict.fromkeys(control.KEYS, "x")),
        deployment.deployment(obj, 3, template(), {}),
        disruption.disruption_budget(obj),
        networkpolicy.network_policy(obj, 2, "mail", (), "relayfleet-system"),
        service.service(obj, spec.service, spec.listeners),
        slices.endpoint_slice(obj, spec.listeners, "IPv4", 0, 0, []),
    ]


@pytest.mark.parametrize("child", every_child(), ids=lambda child: child["kind"])
def test_every_child_is_owned_found_by_label_and_copies_nothing_from_its_parent(child: dict[str, Any]) -> None:
    metadata = child["metadata"]
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("RelayPool", "tx", "uid-of-tx", True)
    assert metadata["namespace"] == "mail"
    assert (metadata["labels"][MANAGED_BY], metadata["labels"][POOL]) == (MANAGER, "tx")
    assert "argo" not in str(metadata)


def test_relays_run_restricted_and_without_a_token() -> None:
    body = template()["spec"]
    (container,) = body["containers"]
    assert body["automountServiceAccountToken"] is False
    assert account.service_account(pool())["automountServiceAccountToken"] is False
    assert body["securityContext"]["runAsNonRoot"] and body["securityContext"]["runAsUser"] == 65532
    assert body["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_files_are_mounted_where_relays_look_for_them() -> None:
    (container,) = template(dkim=DKIM, suppressionList=NOT_SENT_TO)["spec"]["containers"]
    files = Files()
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    secrets = (files.auth, files.key.parent, files.broker_ca.parent, files.control, files.dkim, files.sealing)
    folders = (files.config.parent, *secrets, files.suppression)
    assert mounted == {str(each) for each in folders}


def test_a_relay_starts_without_its_control_secret_and_gets_nothing_else_under_that_name() -> None:
    (found,) = (each["secret"] for each in template()["spec"]["volumes"] if each["name"] == "control")
    assert (found["secretName"], found["optional"], found["defaultMode"]) == ("tx-control", True, 0o440)
    assert [each["key"] for each in found["items"]] == ["tls.crt", "tls.key", "ca.crt", "discard"]


def dkim_volume(stated: list[dict[str, Any]]) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = template(dkim=stated)["spec"]["volumes"]
    (found,) = (each for each in volumes if each["name"] == "dkim")
    return found


def test_dkim_keys_are_mounted_by_name_and_each_once() -> None:
    (first, second) = dkim_volume(DKIM)["projected"]["sources"]
    assert first["secret"] == {"name": "a-keys", "items": [{"key": "private.pem", "path": "a-keys/private.pem"}]}
    assert [each["path"] for each in second["secret"]["items"]] == ["shared/ed.pem", "shared/private.pem"]
    # A Secret that is missing stops the new pod, which the pool's status tells.
    assert not any("optional" in each["secret"] for each in (first, second))


def test_the_order_of_domains_and_keys_makes_no_other_template() -> None:
    turned = [each | {"keys": each["keys"][::-1]} for each in DKIM[::-1]]
    assert dkim_volume(turned) == dkim_volume(DKIM)


def test_relays_are_told_who_signs_and_where_the_key_is() -> None:
    obj = pool(dkim=DKIM)
    document = config.document(obj, pool_spec(obj), [], access().broker, "eu")
    told = load(config.rendered(document)[0]).dkim
    assert [(each.domain, [key.selector for key in each.keys]) for each in told] == [
        ("b.example", ["r", "e"]),
        ("a.example", ["r"]),
        ("c.example", ["r"]),
    ]
    assert [each.verify_dns for each in told] == [True, True, False]
    assert (told[0].keys[1].secret, told[0].keys[1].entry) == ("shared", "ed.pem")


def test_the_suppression_list_is_mounted_where_relays_are_told_that_it_is_whatever_its_order() -> None:
    for stated in (NOT_SENT_TO, {"secretRefs": NOT_SENT_TO["secretRefs"][::-1]}):
        obj = pool(suppressionList=stated)
        (volume,) = (
            each for each in template(suppressionList=stated)["spec"]["volumes"] if each["name"] == "suppression"
        )
        sources = [each["secret"] for each in volume["projected"]["sources"]]
        assert not any("optional" in each for each in sources), "a Secret that is missing stops the new pod"
        paths = [item["path"] for each in sources for item in each["items"]]
        document = config.document(obj, pool_spec(obj), [], access().broker, "eu")
        told = load(config.rendered(document)[0]).suppression
        assert paths == [f"{each.secret}/{each.entry}" for each in told]
        assert paths == ["bounced/a.txt", "bounced/b.txt", "left/addresses.txt"]


def test_relays_are_told_of_delivery_rules_whatever_their_order() -> None:
    rules = [
        {"name": "b", "match": {"sender": "<>", "acceptedBefore": "2026-11-28T16:00:00Z"}, "action": "Purge"},
        {"name": "a", "match": {"recipientDomain": "a.test", "credential": "ann"}, "action": "Hold"},
    ]
    for stated in (rules, rules[::-1]):
        obj = pool(deliveryRules=stated)
        document = config.document(obj, pool_spec(obj), [], access().broker, "eu")
        assert load(config.rendered(document)[0]).delivery_rules == (
            DeliveryRule("a", "Hold", (RuleTerm("credential", "ann"), RuleTerm("recipientDomain", "a.test"))),
            DeliveryRule("b", "Purge", (RuleTerm("acceptedBefore", "2026-11-28T16:00:00Z"), RuleTerm("sender", "<>"))),
        )


@pytest.mark.parametrize(
    "newer",
    [
        {"match": {"senderDomain": "a.test", "recipient": "bob@b.test"}, "action": "Purge"},
        {"match": {"senderDomain": "a.test", "recipients": ["bob@b.test"], "largerThan": 7}, "action": "Purge"},
        {"match": {"senderDomain": "a.test"}, "action": "Defer"},
    ],
)
def test_a_rule_with_a_word_that_only_a_newer_operator_knows_means_nobody(newer: dict[str, Any]) -> None:
    known = {"name": "b", "match": {"senderDomain": "a.test"}, "action": "Hold"}
    obj = pool(deliveryRules=[{"name": "a", **newer}, known])
    document = config.document(obj, pool_spec(obj), [], access().broker, "eu")
    told = load(config.rendered(document)[0]).delivery_rules
    assert [each.name for each in told] == ["a", "b"]
    assert DeliveryRules(told).unknown == ("a",)


@pytest.mark.parametrize("word", Match.model_json_schema()["properties"])
def test_relays_know_each_word_of_a_match(word: str) -> None:
    action = "Requeue" if word == "deferredBefore" else "Hold"
    told = DeliveryRule("r", action, (RuleTerm(word, "2026-11-28T16:00:00Z"), RuleTerm("sender", "<>")))
    assert DeliveryRules([told]).unknown == ()


def test_relays_are_told_of_limits_apart_from_domains_whatever_their_order() -> None:
    """A relay from before limits must find nothing among the domains that it would misread."""
    ann = {"name": "ann", "domains": ["a.test"], "recipientsPerMinute": 60, "recipientsPerDay": 1000}
    bob, cid = {"name": "bob", "recipientsPerDay": 5}, {"name": "cid", "domains": ["c.test"]}
    for stated in ([ann, bob, cid], [bob, ann, cid]):
        obj = pool(submitters=stated)
        document = config.document(obj, pool_spec(obj), [], access().broker, "eu")
        assert document.submitters == (Submitter("ann", ("a.test",)), Submitter("cid", ("c.test",)))
        assert document.submission_limits == (SubmissionLimit("ann", 60, 1000), SubmissionLimit("bob", None, 5))


def test_what_is_not_asked_for_is_not_mounted() -> None:
    volumes = template(authSecretRef=None, tlsSecretRef=None)["spec"]["volumes"]
    assert [each["name"] for each in volumes] == ["relay", "sealing", "control", "broker"]


def test_a_relay_has_time_to_drain_before_it_is_killed() -> None:
    grace = template(drain={"gracePeriod": "5m"})["spec"]["terminationGracePeriodSeconds"]
    assert grace > names.UNLIST + 300


def test_a_pod_is_ready_only_while_it_is_listed() -> None:
    assert template()["spec"]["readinessGates"] == [{"conditionType": LISTED}]


def test_a_rollout_never_takes_a_relay_before_its_successor_serves() -> None:
    strategy = deployment.deployment(pool(), 3, template(), {})["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_template_says_what_the_user_states_and_nothing_empty() -> None:
    stated = {
        "image": "registry.example/relay:7",
        "imagePullSecrets": [{"name": "pull"}],
        "annotations": {"a": "b"},
        "resources": {"requests": {"cpu": "2"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "mail", "operator": "Exists"}],
        "priorityClassName": "high",
    }
    found = template(template=stated)
    (container,) = found["spec"]["containers"]
    assert (container["image"], container["resources"]) == (stated["image"], stated["resources"])
    assert found["metadata"]["annotations"] == {"a": "b", FOLLOWS: "DeliveryRules,Requeue,ProviderLanes,Parking,Bulk"}
    for key in ("imagePullSecrets", "nodeSelector", "tolerations", "priorityClassName"):
        assert found["spec"][key] == stated[key]
        assert key not in template()["spec"]


def test_a_change_of_configuration_is_no_change_of_the_pod_template() -> None:
    changed = {
        "retry": {"first": "5m"},
        "limits": {"sessions": 7},
        "quota": "1Gi",
        "allowedNetworks": ["192.0.2.0/24"],
        "class": "Bulk",
    }
    assert template(**changed) == template()


def test_the_configuration_reads_back_as_what_the_pool_states() -> None:
    obj = pool(
        allowedNetworks=["192.0.2.0/24"],
        quota="1Gi",
        service={"proxyProtocol": {"sources": ["198.18.0.0/15"]}},
        retry={"first": "2m", "factorPercent": 150, "max": "1h", "lifetime": "24h"},
        limits={"messageSize": "1Mi", "sessions": 5, "sessionLifetime": "90s"},
        drain={"gracePeriod": "30s"},
        delivery={"maxSessionsPerDestination": 3},
    )
    bound = sending_ip("203.0.113.9", egress={"direct": {"bindAddress": "192.0.2.7"}})
    sources = [("eu-2", sending_ip("203.0.113.10")), ("eu-1", bound)]
    document = config.document(obj, pool_spec(obj), sources, access().broker, "eu")
    text, digest = config.rendered(document)
    assert load(text) == document
    assert config.rendered(load(text)) == (text, digest)
    assert document.pool == "mail/tx"
    assert [(each.name, each.bind_address) for each in document.sources] == [("eu-1", "192.0.2.7"), ("eu-2", None)]
    assert [(each.name, each.tls, each.ports[0]) for each in document.listeners] == [
        ("submission", "StartTLS", 2520),
        ("smtps", "Implicit", 2530),
    ]
    assert (document.retry.first, document.retry.longest, document.retry.lifetime) == (120, 3600, 86400)
    assert (document.limits.message_bytes, document.limits.sessions, document.limits.session_seconds) == (2**20, 5, 90)
    assert (document.allowed_networks, document.proxy_sources) == (("192.0.2.0/24",), ("198.18.0.0/15",))
    assert document.drain.grace == 30
    assert document.delivery.sessions_per_destination == 3


def test_two_regions_on_one_broker_have_queues_of_their_own() -> None:
    assert config.queue_prefix(pool(), "eu") != config.queue_prefix(pool(), "us")


def test_relays_look_for_managed_brokers_where_they_are() -> None:
    obj, spec = queue(rabbitmq={"replicas": 5})
    found = broker.access(obj, spec, "p", 1)
    assert found.broker.addresses == tuple(f"{rabbitmq.host(obj, each)}:{rabbitmq.AMQPS}" for each in range(5))
    assert (found.broker.replicas, found.broker.tls) == (5, True)
    assert found.volume["secret"]["secretName"] == rabbitmq.client_secret(obj)


def test_an_external_broker_is_reached_by_what_the_user_states() -> None:
    found = access(**EXTERNAL)
    assert found.broker.addresses == ("a.example:5671", "b.example:5672")
    assert (found.broker.tls, found.broker.server_name) == (True, "broker.example")
    assert {each["secret"]["name"] for each in found.volume["projected"]["sources"]} == {"creds", "authority"}


def test_an_external_broker_without_tls_is_reached_in_the_clear() -> None:
    plain = {"addresses": ["a.example:5672"], "credentialsRef": {"name": "creds"}}
    assert access(type="External", external=plain).broker.tls is False


def test_the_service_has_no_selector_and_the_users_settings() -> None:
    stated = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Cluster",
        "loadBalancerClass": "example.com/lb",
        "annotations": {"a": "b"},
        "ipFamilyPolicy": "PreferDualStack",
        "ipFamilies": ["IPv6", "IPv4"],
    }
    obj = pool(service=stated, listeners=[{"name": "submission", "port": 587, "nodePort": 30587}])
    found = service.service(obj, pool_spec(obj).service, pool_spec(obj).listeners)
    assert "selector" not in found["spec"]
    assert found["metadata"]["annotations"] == stated["annotations"]
    assert all(found["spec"][key] == value for key, value in stated.items() if key != "annotations")
    assert found["spec"]["ports"] == [{"name": "submission", "port": 587, "protocol": "TCP", "nodePort": 30587}]


def test_a_service_for_the_inside_has_nothing_for_the_outside() -> None:
    obj = pool()
    spec = service.service(obj, pool_spec(obj).service, pool_spec(obj).listeners)["spec"]
    assert set(spec) == {"type", "ports"}


def test_slices_name_the_ports_that_relays_listen_on() -> None:
    obj = pool()
    spec = pool_spec(obj)
    document = config.document(obj, spec, [], access().broker, "eu")
    for lane in range(names.LANES):
        ports = slices.endpoint_slice(obj, spec.listeners, "IPv4", lane, 0, [])["ports"]
        assert {each["name"]: each["port"] for each in ports} == {
            each.name: each.ports[lane] for each in document.listeners
        }


def test_there_is_a_port_for_every_weight() -> None:
    assert names.LANES == QUARTERS


def test_every_condition_that_is_decided_can_be_written() -> None:
    assert set(slices.CONDITIONS) == {str(each) for each in Condition}


def test_an_endpoint_says_which_pod_it_is_and_where() -> None:
    member = slices.Endpoint("198.18.0.1", "LastResort", "tx-1", "uid-1", "node-1", "zone-1")
    obj = pool()
    (found,) = slices.endpoint_slice(obj, pool_spec(obj).listeners, "IPv4", 0, 0, [member])["endpoints"]
    assert found == {
        "addresses": ["198.18.0.1"],
        "conditions": {"ready": False, "serving": True, "terminating": True},
        "targetRef": {"kind": "Pod", "namespace": "mail", "name": "tx-1", "uid": "uid-1"},
        "nodeName": "node-1",
        "zone": "zone-1",
    }


@pytest.mark.parametrize("place", [("IPv4", 0, 0), ("IPv6", 3, 0), ("IPv4", 1, 12)])
def test_a_slices_name_tells_its_place(place: tuple[str, int, int]) -> None:
    assert slices.place_of("tx", slices.name("tx", *place)) == place


@pytest.mark.parametrize("name", ["tx", "tx-ipv4", "other-ipv4-0", "tx-2-ipv4-0", "tx-ipv4-0-x"])
def test_a_name_that_we_never_give_has_no_place(name: str) -> None:
    assert slices.place_of("tx", name) is None


def test_the_network_policy_opens_every_port_that_slices_name_and_no_more() -> None:
    policy = networkpolicy.network_policy(pool(), 2, "mail", (), "relayfleet-system")["spec"]
    smtp, status, orders = policy["ingress"]
    open_ports = {port for each in smtp["ports"] for port in range(each["port"], each["endPort"] + 1)}
    assert open_ports == {names.listener_port(number, lane) for number in range(2) for lane in range(names.LANES)}
    assert "from" not in smtp
    assert "relayfleet-system" in str(status["from"])
    assert [each["port"] for each in orders["ports"]] == [telemetry.PORT]
    (operators,) = orders["from"]
    assert operators["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "relayfleet-system"}
    assert operators["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"


def test_relays_reach_dns_their_brokers_and_smtp_and_nothing_else() -> None:
    dns, brokers, smtp = networkpolicy.network_policy(pool(), 1, "mail", (), "x")["spec"]["egress"]
    assert {each["port"] for each in dns["ports"]} == {53}
    assert brokers["to"] == [{"podSelector": {"matchLabels": {"relayfleet.io/queue": "mail"}}}]
    assert [each["port"] for each in smtp["ports"]] == [25]
    addresses = EXTERNAL["external"]["addresses"]  # type: ignore[index]
    _, outside, _ = networkpolicy.network_policy(pool(), 1, "mail", addresses, "x")["spec"]["egress"]
    assert [each["port"] for each in outside["ports"]] == [5671, 5672]


def test_drains_take_one_relay_and_never_one_that_is_the_last_resort() -> None:
    spec = disruption.disruption_budget(pool())["spec"]
    assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]) == (1, "IfHealthyBudget")


def asked() -> dict[str, Any]:
    """A pool with one dependency of each type."""
    database = {"address": "db.example:5432", "database": "mail", "credentialsSecretRef": {"name": "asker"}}
    tls = {"caSecretRef": {"name": "authority"}, "serverName": "db.internal"}
    backup = {"postgresql": database | {"address": "[2001:db8::1]:5433", "tls": tls}}
    return {
        "dependencies": [
            {"name": "port", "type": "TCP", "tcp": {"address": "a.example:389"}, "timeout": "100ms"},
            {"name": "db", "type": "PostgreSQL", "postgresql": database, "onFailure": "UseBackup", "backup": backup},
            {"name": "web", "type": "HTTP", "http": {"url": "https://web.example/x", "tls": {}}},
            {"name": "plain", "type": "HTTP", "http": {"url": "http://web.example"}, "onFailure": "TempFail"},
            {"name": "names", "type": "DNS", "dns": {"address": "ns.example:5353", "name": "example.com"}},
        ]
    }


def test_relays_are_told_of_dependencies_as_they_are_declared() -> None:
    found = {each.name: each for each in dependencies.told(pool_spec(pool(**asked())).dependencies)}
    assert (found["port"].interval, found["port"].timeout, found["port"].on_failure) == (2.0, 0.1, "Report")
    assert found["db"].backup is not None
    assert found["db"].backup.postgresql == PostgreSQLTarget(
        "[2001:db8::1]:5433", "mail", "SELECT 1", Trust(True, "db.internal")
    )
    assert found["web"].target == Target(http=HttpTarget("https://web.example/x", Trust()))
    assert found["plain"].on_failure == "TempFail"
    assert found["names"].target == Target(dns=DnsTarget("ns.example:5353", "example.com", "A"))


def test_the_files_of_dependencies_are_where_relays_look_for_them() -> None:
    (volume,) = [each for each in template(**asked())["spec"]["volumes"] if each["name"] == "dependencies"]
    paths = {
        (each["secret"]["name"], item["path"])
        for each in volume["projected"]["sources"]
        for item in each["secret"]["items"]
    }
    assert paths == {
        ("asker", "db/username"),
        ("asker", "db/password"),
        ("asker", "db.backup/username"),
        ("asker", "db.backup/password"),
        ("authority", "db.backup/ca.crt"),
    }
    (container,) = template(**asked())["spec"]["containers"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "dependencies"]
    assert mount["mountPath"] == str(Files().dependencies)


def test_pods_of_pools_whose_dependencies_need_no_secret_are_what_they_were() -> None:
    plain = {"name": "port", "type": "TCP", "tcp": {"address": "a.example:389"}}
    assert template(dependencies=[plain]) == template()


def test_the_order_of_dependencies_makes_no_other_pod() -> None:
    declared = asked()["dependencies"]
    assert template(dependencies=declared) == template(dependencies=declared[::-1])


def test_relays_may_reach_the_ports_of_dependencies() -> None:
    ports = dependencies.ports(pool_spec(pool(**asked())).dependencies)
    assert ports == [*(("TCP", each) for each in (80, 389, 443, 5353, 5432, 5433)), ("UDP", 5353)]
    policy = networkpolicy.network_policy(pool(), 2, "mail", (), "relayfleet-system", ports)
    opened = [{"protocol": protocol, "port": each} for protocol, each in ports]
    assert {"ports": opened} in policy["spec"]["egress"]
    without = networkpolicy.network_policy(pool(), 2, "mail", (), "relayfleet-system")
    assert len(without["spec"]["egress"]) == 3


def test_relays_are_told_of_named_resolvers_in_words_that_they_understand_and_use_themselves() -> None:
    named = ["192.0.2.53", "2001:db8::53"]
    obj = pool(resolvers=named)
    told = config.document(obj, pool_spec(obj), [], access().broker, "eu").delivery.resolvers
    assert parse_servers(told) == (("192.0.2.53", 53), ("2001:db8::53", 53))
    assert tuple(written(each) for each in parse_servers(told)) == told
    without = config.document(pool(), pool_spec(pool()), [], access().broker, "eu")
    assert without.delivery.resolvers == ()


def test_resolvers_make_no_other_pod() -> None:
    assert template(resolvers=["192.0.2.53", "192.0.2.54"]) == template()


def test_relays_of_a_managed_queue_have_a_broker_user_of_their_own_which_the_operator_reads_from_the_pod() -> None:
    made = template()
    assert (broker.queue_of(made), broker.has_own_user(made)) == ("mail", True)


def test_relays_at_somebody_elses_brokers_log_in_as_the_secret_says() -> None:
    external = {"addresses": ["b:5671"], "credentialsRef": {"name": "mail-rabbitmq-client"}}
    obj, spec = queue(type="External", external=external)
    volume = broker.access(obj, spec, "p", 1).volume
    made = pod.template(pool(), pool_spec(pool()), volume, "relayfleet:1", "eu")
    assert (broker.queue_of(made), broker.has_own_user(made)) == (None, False)


def test_a_pod_of_an_older_template_is_known_by_its_lack_of_the_variable() -> None:
    made = template()
    (container,) = made["spec"]["containers"]
    container["env"] = [each for each in container["env"] if each["name"] != brokeruser.VARIABLE]
    assert (broker.queue_of(made), broker.has_own_user(made)) == ("mail", False)
