"""A pod on its node: what is done in its network can be undone there when its container was started again meanwhile."""

from __future__ import annotations

import json

import pytest

from tests.testbed import pods
from tests.testbed.shell import CommandError

POD = {
    "spec": {"nodeName": "worker", "containers": [{"name": "relay"}]},
    "status": {
        "podIP": "198.18.64.7",
        "containerStatuses": [{"name": "relay", "containerID": "containerd://abc", "state": {"running": {}}}],
    },
}


class Node:
    """What a node's tools print. `networks`: by process; one that is not there cannot be looked at."""

    def __init__(self, networks: dict[str, str]) -> None:
        self.networks = networks

    def __call__(self, node: str, *command: str) -> str:
        assert node == "worker"
        if command[0] == "ctr":
            return "TASK    PID     STATUS\nabc     4711    RUNNING\n"
        *words, process = command
        assert words == ["ip", "netns", "identify"]
        if process not in self.networks:
            raise CommandError(command, 1, "No such file or directory")
        return self.networks[process] + "\n"


def found(monkeypatch: pytest.MonkeyPatch, networks: dict[str, str]) -> pods.PodOnNode:
    monkeypatch.setattr(pods, "on_node", Node(networks))
    monkeypatch.setattr(pods, "kubectl", lambda *_: json.dumps(POD))
    return pods.find("eu", "fleet", "relay-0")


def test_a_pods_network_is_entered_by_its_name_which_outlives_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    command = found(monkeypatch, {"4711": "cni-1"}).inside_command("nft", "list", "ruleset")
    assert command == ("nsenter", "--net=/run/netns/cni-1", "nft", "list", "ruleset")


@pytest.mark.parametrize("networks", [{"4711": ""}, {}], ids=["the node's own", "nobody can tell"])
def test_a_network_without_a_name_is_entered_by_the_process(
    monkeypatch: pytest.MonkeyPatch, networks: dict[str, str]
) -> None:
    assert found(monkeypatch, networks).inside_command("true") == ("nsenter", "--target", "4711", "--net", "true")
