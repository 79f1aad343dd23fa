"""What the test bed writes for others to read: go.mod, Corefile, rules, kind's configuration."""

import json
from typing import Any

import pytest

from tests.testbed import binaries, clusters, network, network_faults
from tests.testbed.oci_runtime import cut
from tests.testbed.settings import REGIONS

COREFILE = ".:53 {\n    kubernetes cluster.local\n}\n"


def test_requirements_that_only_the_main_module_can_place_are_replaced() -> None:
    published = "require (\n\tk8s.io/api v0.0.0\n\tk8s.io/klog/v2 v2.130.1\n\tk8s.io/client-go v0.0.0 // indirect\n)\n"
    lines = binaries.go_mod(binaries.KUBERNETES, published).splitlines()
    replaced = [line for line in lines if line.startswith("replace")]
    assert replaced == [
        f"replace {name} => {name} {binaries.KUBERNETES.replaced_by}" for name in ("k8s.io/api", "k8s.io/client-go")
    ]


def test_a_program_of_our_own_requires_nothing() -> None:
    assert "require" not in binaries.go_mod(binaries.PAUSE, "")


@pytest.mark.parametrize(
    "sequence",
    [
        pytest.param([("test", ("198.19.0.70",))], id="a zone is added once"),
        pytest.param([("test", ("198.19.0.71",)), ("test", ("198.19.0.70",))], id="a later server replaces the first"),
        pytest.param([("test", ("198.19.0.70",)), ("test", ("198.19.0.70",))], id="the same again changes nothing"),
        pytest.param([("other", ("198.19.0.9",)), ("test", ("198.19.0.70",)), ("other", ())], id="zones keep apart"),
    ],
)
def test_corefile_with_zone(sequence: list[tuple[str, tuple[str, ...]]]) -> None:
    corefile = COREFILE
    for zone, servers in sequence:
        corefile = network.with_zone(corefile, zone, servers)
    assert corefile.startswith(COREFILE)
    assert corefile.count("forward . ") == 1
    assert "test:53 {\n    errors\n    cache 1\n    forward . 198.19.0.70\n}" in corefile


def test_without_servers_the_corefile_is_as_before() -> None:
    assert network.with_zone(network.with_zone(COREFILE, "test", ("198.19.0.70",)), "test", ()) == COREFILE


def test_a_node_has_a_route_to_every_other_node_and_translates_only_what_leaves_the_cluster() -> None:
    eu = REGIONS["eu"]
    addresses = {node: f"198.19.0.{number}" for number, node in enumerate(eu.nodes, 2)}
    blocks = {node: f"198.18.{64 + number}.0/24" for number, node in enumerate(eu.nodes)}
    script = network.node_script(eu, eu.nodes[0], addresses, blocks)
    routes = [line for line in script.splitlines() if line.startswith("ip route")]
    assert routes == [
        "ip route replace 198.18.65.0/24 via 198.19.0.3",
        "ip route replace 198.18.66.0/24 via 198.19.0.4",
    ]
    assert f"ip saddr {eu.pods} ip daddr != {{ {eu.pods}, {eu.services} }} masquerade" in script


@pytest.mark.parametrize("host", [63, 255])
def test_addresses_that_docker_or_nobody_hands_out_are_refused(host: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        network.address(host)


@pytest.mark.parametrize(
    ("stock", "gates"),
    [
        pytest.param(True, None, id="stock nodes run on machines that allow everything"),
        pytest.param(False, {"KubeletInUserNamespace": True}, id="built nodes may lack a capability"),
    ],
)
def test_kubelet_configuration(stock: bool, gates: dict[str, bool] | None) -> None:
    patches: Any = clusters.config(REGIONS["eu"], stock)["kubeadmConfigPatches"]
    assert json.loads(patches[0]).get("featureGates") == gates


def test_workers_are_zones_of_their_own() -> None:
    nodes: Any = clusters.config(REGIONS["eu"], stock=True)["nodes"]
    zones = [node["labels"]["topology.kubernetes.io/zone"] for node in nodes if node["role"] == "worker"]
    assert zones == ["eu-a", "eu-b"]


def test_rules_hit_a_port_on_either_side_and_only_the_named_peers() -> None:
    text = network_faults.rules("t", ["in"], [25], ["198.19.0.9"], "drop", percent=30)
    hits = [line.strip() for line in text.splitlines() if line.endswith(" drop")]
    common = "iif != lo ip saddr { 198.19.0.9 } numgen random mod 100 < 30"
    assert hits == [f"{common} tcp dport {{ 25 }} drop", f"{common} tcp sport {{ 25 }} drop"]


@pytest.mark.parametrize("action", ["reset", "unreachable"])
def test_a_refusal_does_not_refuse_itself(action: str) -> None:
    text = network_faults.rules("t", ["in", "out"], [], [], action)
    verdicts = [line for line in text.splitlines() if "reject" in line]
    assert all("rst == 0" in line or "!= tcp" in line or "!= icmp" in line for line in verdicts)


def test_a_container_gets_only_the_capabilities_that_there_are() -> None:
    process: dict[str, Any] = {
        "capabilities": {"bounding": ["CAP_KILL", "CAP_SYS_RESOURCE"], "ambient": None},
        "rlimits": [{"type": "RLIMIT_NOFILE"}],
        "oomScoreAdj": -998,
        "args": ["sh"],
    }
    cut(process, {"CAP_KILL"})
    assert process["capabilities"]["bounding"] == ["CAP_KILL"]
    assert process.keys() == {"capabilities", "args"}
