"""Bridges that an engine left behind: found in what `ip` and `docker` print, removed when nobody uses them."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.testbed import bridges
from tests.testbed.bridges import Bridge, stale
from tests.testbed.shell import TestbedError

OWN, LOST = "1f0e6c2b9a77" + "0" * 52, "9d3b51c2e8aa" + "0" * 52
NETWORKS = f"{'b' * 64}\n{OWN}\n{'c' * 64}\n"
"""As `docker network ls --no-trunc --quiet` prints them."""


def link(name: str, *addresses: str, **more: Any) -> dict[str, Any]:
    """As `ip -j addr` prints it, but for what nobody reads."""
    inet = [
        {"family": "inet", "local": address, "prefixlen": int(length), "scope": "global", "label": name}
        for address, _, length in (each.partition("/") for each in addresses)
    ]
    inet6 = {"family": "inet6", "local": "fe80::42:c6ff:fe13:1", "prefixlen": 64, "scope": "link"}
    return {"ifname": name, "flags": ["UP"], "mtu": 1500, "operstate": "DOWN", "addr_info": [*inet, inet6], **more}


MACHINE = [
    link("lo", "127.0.0.1/8"),
    link("eth0", "198.18.7.7/24"),
    link("docker0", "198.18.0.1/24"),
    link(f"br-{OWN[:12]}", "198.19.0.1/24"),
    link("br-lan", "198.19.9.1/24"),
    link("br-0123456789ab", "172.18.0.1/16"),
    link("br-ba9876543210"),
    link("br-ffffffffffff", "198.19.8.1/24", "192.0.2.1/24"),
    link("veth1", master=f"br-{OWN[:12]}"),
]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param([], [], id="the engine's own, other addresses, other names: none"),
        pytest.param(
            [link(f"br-{LOST[:12]}", "198.19.0.1/24")],
            [Bridge(f"br-{LOST[:12]}", ("198.19.0.1/24",))],
            id="one with the address of our network",
        ),
        pytest.param(
            [link(f"br-{LOST[:12]}", "198.19.3.1/24"), link("vethb", master=f"br-{LOST[:12]}"), link("veth2")],
            [Bridge(f"br-{LOST[:12]}", ("198.19.3.1/24",), ("vethb",))],
            id="one that somebody uses",
        ),
    ],
)
def test_which_are_left(more: list[dict[str, Any]], expected: list[Bridge]) -> None:
    assert stale(json.dumps([*MACHINE, *more]), NETWORKS) == expected


def test_no_networks_at_all_own_no_bridge() -> None:
    assert [each.name for each in stale(json.dumps(MACHINE), "")] == [f"br-{OWN[:12]}"]


class Machine:
    """Answers commands as a machine with one bridge that is left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.links = [*MACHINE, link(f"br-{LOST[:12]}", "198.19.0.1/24")]
        self.fails: tuple[str, ...] = ()
        monkeypatch.setattr(bridges, "run", self.run)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.delenv("DOCKER_HOST", raising=False)

    def run(self, *command: str) -> str:
        if command == self.fails:
            raise TestbedError("Operation not permitted")
        self.ran.append(command)
        if command == ("ip", "-j", "addr"):
            return json.dumps(self.links)
        return NETWORKS if command[0] == "docker" else ""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_one_that_nobody_uses_is_removed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    bridges.clear()
    assert machine.ran[-1] == ("ip", "link", "delete", f"br-{LOST[:12]}")
    assert f"br-{LOST[:12]}" in "".join(capsys.readouterr())


def test_one_that_somebody_uses_is_named_with_what_to_do(machine: Machine) -> None:
    machine.links.append(link("vethb", master=f"br-{LOST[:12]}"))
    with pytest.raises(TestbedError, match=f"vethb is plugged into it.*`ip link delete br-{LOST[:12]}`"):
        bridges.clear()
    assert not [each for each in machine.ran if "delete" in each]


def test_one_that_may_not_be_removed_is_named_with_what_to_do(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.fails = ("ip", "link", "delete", f"br-{LOST[:12]}")
    with pytest.raises(TestbedError, match=r"as root and this again \(Operation not permitted\)"):
        bridges.clear()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(TestbedError, match=f"run `ip link delete br-{LOST[:12]}` as root"):
        bridges.clear()


def test_where_no_ip_tells_and_where_the_engine_is_elsewhere_nothing_is_done(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.fails = ("ip", "-j", "addr")
    bridges.clear()
    machine.fails = ()
    monkeypatch.setenv("DOCKER_HOST", "tcp://198.51.100.7:2376")
    bridges.clear()
    assert machine.ran == []


def test_an_engine_that_does_not_list_its_networks_proves_nothing(machine: Machine) -> None:
    machine.fails = ("docker", "network", "ls", "--no-trunc", "--quiet")
    with pytest.raises(TestbedError, match="not permitted"):
        bridges.clear()
    assert machine.ran == [("ip", "-j", "addr")]
