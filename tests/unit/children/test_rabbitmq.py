"""What a RabbitMQ cluster looks like as Kubernetes objects."""

from __future__ import annotations

import re
from typing import Any

import pytest

from relayfleet.act.broker.management import password_fits
from relayfleet.api.labels import COMPONENT, NAME, QUEUE
from relayfleet.api.meta import PodTemplate
from relayfleet.api.queuecluster import ManagedRabbitMQ, QueueClusterSpec
from relayfleet.children.rabbitmq import config, disruption, names, networkpolicy, pod, secrets, service, sizes
from relayfleet.children.rabbitmq.statefulset import stateful_set
from relayfleet.children.relay.broker import access
from relayfleet.decide.rollout import digest

RESOURCE: dict[str, Any] = {
    "apiVersion": "relayfleet.io/v1alpha1",
    "kind": "QueueCluster",
    "metadata": {"name": "mail", "namespace": "prod", "uid": "u", "labels": {"argocd.argoproj.io/instance": "x"}},
}
GI, MI = 2**30, 2**20


def template(**what: Any) -> dict[str, Any]:
    return pod.pod_template(RESOURCE, PodTemplate(**what), "rabbitmq:4-management")


def brokers(replicas: Any = 3, *, outlives_owner: bool = False) -> dict[str, Any]:
    return stateful_set(RESOURCE, ManagedRabbitMQ(replicas=replicas), template(), {}, outlives_owner=outlives_owner)


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split(" = ", 1) for line in lines)


def conf(replicas: Any = 3, **what: Any) -> dict[str, str]:
    return settings(config.rabbitmq_conf(RESOURCE, ManagedRabbitMQ(replicas=replicas), PodTemplate(**what)))


def every_object() -> list[dict[str, Any]]:
    rabbitmq = ManagedRabbitMQ()
    return [
        brokers(),
        config.config_map(RESOURCE, rabbitmq, PodTemplate()),
        service.service(RESOURCE),
        disruption.disruption_budget(RESOURCE),
        networkpolicy.network_policy(RESOURCE, "relayfleet-system"),
    ]


def test_children_are_owned_and_carry_no_label_of_their_owner() -> None:
    for child in every_object():
        assert [each["uid"] for each in child["metadata"]["ownerReferences"]] == ["u"]
        assert child["metadata"]["labels"][QUEUE] == "mail"
        assert "argocd.argoproj.io/instance" not in child["metadata"]["labels"]


def test_secrets_and_volumes_outlive_the_resource() -> None:
    assert "ownerReferences" not in secrets.secret(RESOURCE, "s", {"a": "b"})["metadata"]
    retention = brokers()["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert retention == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_brokers_outlive_the_resource_only_when_they_have_to_be_asked_first() -> None:
    assert brokers(outlives_owner=True)["metadata"]["ownerReferences"] == []


def test_a_secret_reads_as_it_was_written() -> None:
    data = {"password": "päss", "ca.crt": "line\nline\n"}
    assert secrets.texts(secrets.secret(RESOURCE, "s", data)) == data
    assert secrets.texts(None) is None
    assert secrets.texts({"data": {"binary": "/w=="}}) == {}


def test_every_container_is_restricted() -> None:
    spec = template()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 999
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["initContainers"] + spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_mount_has_its_volume() -> None:
    spec = template()["spec"]
    volumes = {each["name"] for each in spec["volumes"]} | {names.VOLUME}
    mounts = {mount["name"] for each in spec["initContainers"] + spec["containers"] for mount in each["volumeMounts"]}
    assert mounts == volumes


def test_the_cookie_and_the_ca_key_are_no_files_of_the_broker() -> None:
    spec = template()["spec"]
    mounted = {each["name"] for each in spec["containers"][0]["volumeMounts"]}
    assert "cookie" not in mounted
    items = next(each for each in spec["volumes"] if each["name"] == "cookie")["secret"]["items"]
    assert [each["key"] for each in items] == ["erlang-cookie"]


def test_leaving_is_bounded_by_the_grace_period() -> None:
    assert template()["spec"]["terminationGracePeriodSeconds"] >= pod.QUORUM_SECONDS + pod.DRAIN_SECONDS + 20


def test_the_users_template_is_what_the_pods_get() -> None:
    chosen = template(
        image="mine:1",
        annotations={"a": "b"},
        resources={"limits": {"memory": "1Gi"}},
        node_selector={"disk": "ssd"},
        tolerations=[{"operator": "Exists"}],
        priority_class_name="high",
        image_pull_secrets=[{"name": "pull"}],
    )
    spec = chosen["spec"]
    assert {each["image"] for each in spec["initContainers"] + spec["containers"]} == {"mine:1"}
    assert chosen["metadata"]["annotations"] == {"a": "b"}
    assert spec["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}}
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"disk": "ssd"}, [{"operator": "Exists"}])
    assert (spec["priorityClassName"], spec["imagePullSecrets"]) == ("high", [{"name": "pull"}])


def test_only_what_the_user_states_about_pods_rolls_them() -> None:
    same = digest(pod.inputs(RESOURCE, PodTemplate()))
    relabelled = RESOURCE | {"metadata": RESOURCE["metadata"] | {"labels": {}, "generation": 7}}
    assert digest(pod.inputs(relabelled, PodTemplate())) == same
    assert digest(pod.inputs(RESOURCE, PodTemplate(image="mine:2"))) != same


@pytest.mark.parametrize("replicas", [3, 5, 7])
def test_the_list_of_nodes_names_exactly_the_brokers(replicas: int) -> None:
    nodes = [value for key, value in conf(replicas).items() if ".nodes." in key]
    assert nodes == [f"rabbit@mail-rabbitmq-{number}.mail-rabbitmq.prod" for number in range(replicas)]


def test_the_setup_finds_its_broker_in_the_list_and_no_other() -> None:
    text = config.rabbitmq_conf(RESOURCE, ManagedRabbitMQ(), PodTemplate())
    pattern = re.search(r'grep -q "([^"]+)"', pod.SETUP)
    assert pattern is not None
    for broker, found in (("mail-rabbitmq-2", True), ("mail-rabbitmq-3", False), ("mail-rabbitmq-20", False)):
        assert bool(re.search(pattern[1].replace("$POD_NAME", broker), text)) is found


def test_plain_ports_stay_closed() -> None:
    found = conf()
    assert found["listeners.tcp"] == "none"
    assert found["listeners.ssl.default"] == "5671"
    assert found["management.ssl.port"] == "15671"
    assert not [key for key in found if key.startswith("management.tcp")]


LIMITS = {
    "by default": ({}, 2 * GI * 6 // 10, 256 * MI),
    "as the user limits it": ({"limits": {"memory": "4Gi"}}, 4 * GI * 6 // 10, 512 * MI),
    "small": ({"limits": {"memory": "256Mi"}}, 256 * MI * 6 // 10, 32 * MI),
}


@pytest.mark.parametrize(("resources", "watermark", "log"), LIMITS.values(), ids=LIMITS.keys())
def test_memory_watermark(resources: dict[str, Any], watermark: int, log: int) -> None:
    found = conf(resources=resources)
    assert found["vm_memory_high_watermark.absolute"] == str(watermark)
    assert found["raft.wal_max_size_bytes"] == str(log)


@pytest.mark.parametrize("resources", [{"requests": {"cpu": "1"}}, {"limits": {"memory": "1.5Gi"}}])
def test_without_a_limit_that_can_be_read_the_watermark_is_a_share(resources: dict[str, Any]) -> None:
    found = conf(resources=resources)
    assert found["vm_memory_high_watermark.relative"] == "0.4"
    assert "vm_memory_high_watermark.absolute" not in found


def test_a_tenth_of_the_volume_is_kept_free() -> None:
    assert [sizes.free_disk(size) for size in (100 * MI, 10 * GI, 1000 * GI)] == [64 * MI, GI, 4 * GI]


def test_relays_find_the_brokers_under_names_of_the_certificate() -> None:
    found = access(RESOURCE, QueueClusterSpec(rabbitmq=ManagedRabbitMQ(replicas=7)), "p", 1).broker
    hosts = {each.rsplit(":", 1)[0] for each in found.addresses}
    assert hosts <= set(names.certificate_hosts(RESOURCE))
    assert {each.rsplit(":", 1)[1] for each in found.addresses} == {str(names.AMQPS)}
    assert found.vhost == names.VHOST


def test_relays_mount_the_client_secret() -> None:
    volume = access(RESOURCE, QueueClusterSpec(), "p", 1).volume
    assert volume["secret"]["secretName"] == names.client_secret(RESOURCE)


def test_only_relays_and_the_operator_reach_a_broker() -> None:
    ingress = networkpolicy.network_policy(RESOURCE, "relayfleet-system")["spec"]["ingress"]
    by_port = {port["port"]: rule["from"] for rule in ingress for port in rule["ports"]}
    assert set(by_port) == {5671, 15671, 4369, 25672, 6000, 35672}
    relays, operator = by_port[5671]
    assert relays == {"podSelector": {"matchLabels": {NAME: "relayfleet", COMPONENT: "relay"}}}
    assert by_port[15671] == [operator]
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "relayfleet-system"}


@pytest.mark.parametrize("ports", [names.STREAMS, names.COMMANDS], ids=["copies of streams", "answers to commands"])
def test_brokers_may_send_each_other(ports: tuple[int, int]) -> None:
    spec = networkpolicy.network_policy(RESOURCE, "relayfleet-system")["spec"]
    wanted = {"protocol": "TCP", "port": ports[0], "endPort": ports[1]}
    assert all(any(wanted in rule["ports"] for rule in spec[way]) for way in ("ingress", "egress"))


def test_the_longest_name_still_fits_where_pods_carry_it() -> None:
    longest = {"metadata": {"name": "q" * names.LONGEST, "namespace": "n"}}
    assert len(names.base(longest)) <= 52
    assert len(names.pod(longest, 6)) <= 63


def test_a_password_is_recognised_by_the_hash_that_rabbitmq_stores() -> None:
    stored = "lJ+NRvPtFr0x61Yj0nPBJTT8BpRL3MDv8Dp2bOkLRlmePjqk"  # of another password
    assert not password_fits("secret", stored)
    assert not password_fits("secret", "no base64!")
    assert password_fits("test12", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR")
