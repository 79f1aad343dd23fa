"""The objects around the sink hang together: selectors find pods, ports find containers, and pods are restricted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.depended import database
from tests.sink.manifests import dns, dns_service, sink

SINK = sink("sink", "mx1", "relayfleet/sink:1", "--keep-raw=100")
DNS = [dns_service("sink"), *dns("sink", "relayfleet/dns:1", "$TTL 5\n")]
RESOLVER = [dns_service("fleet", "names", 53), *dns("fleet", "relayfleet/dns:1", "$TTL 5\n", "names", 53)]
DATABASE = database("fleet", "accounts", "relayfleet/postgresql:1")
ALL = pytest.mark.parametrize("objects", [SINK, DNS, RESOLVER, DATABASE], ids=["sink", "dns", "resolver", "database"])


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind]
    return found


@ALL
def test_the_service_finds_the_pod_and_its_ports(objects: list[dict[str, Any]]) -> None:
    service, template = only(objects, "Service")["spec"], only(objects, "Deployment")["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    [container] = template["spec"]["containers"]
    listened = {port.get("name") for port in container["ports"]} | {
        port["containerPort"] for port in container["ports"]
    }
    assert {port["targetPort"] for port in service["ports"]} <= listened


@ALL
def test_the_pod_meets_the_restricted_standard_and_can_write_to_tmp_only(objects: list[dict[str, Any]]) -> None:
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}["tmp"] == "/tmp"


def test_another_zone_makes_another_pod_and_the_same_zone_the_same() -> None:
    def template(zone: str) -> Any:
        return only(dns("sink", "relayfleet/dns:1", zone), "Deployment")["spec"]["template"]

    assert template("a") == template("a") != template("b")


def test_relays_reach_a_resolver_at_the_port_that_their_policy_opens_behind_its_service_too() -> None:
    [config] = [each for each in RESOLVER if each["kind"] == "ConfigMap"]
    assert "listen-on port 53 " in config["data"]["named.conf"]
    assert {(each["port"], each["targetPort"]) for each in only(RESOLVER, "Service")["spec"]["ports"]} == {(53, 53)}
