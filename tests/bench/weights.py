"""How exactly traffic follows weights: ten relays, 20,000 connections, the stock kube-proxy in nftables and in iptables mode.

A real API server and kube-proxy run in a network namespace of their own; relays and clients are sockets in it. The slices are built and
written by the operator's own code. Half-way the weights change: one relay goes to weight 0, one under a soft cordon, one under a hard
one; then as many connections again. It needs root.

The peer is a perfect balancer that draws each connection independently: the median of its largest error. kube-proxy draws, too, so no
error can be expected to be smaller.

`converged` is the time from the operator's first write to the last connection of a relay that should get none any more, under a stream
of as many connections as the machine manages.

WEIGHTS_MODES: with commas (nftables,iptables). WEIGHTS_CONNECTIONS: 20000. WEIGHTS_SEED: of the peer's draws; the kernel's have none.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
from typing import Any

from tests.bench._weights_spread import largest, spread
from tests.testbed import binaries, settings
from tests.testbed.shell import TestbedError
from tests.testbed.shell import run as run_command

MODES = {"nftables": "nft", "iptables": "iptables"}
"""Modes of kube-proxy, and the program each works with."""

CONNECTIONS, MODE_SECONDS = 20_000, 600.0
NAMESPACE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
"""The kernel ends all that runs in it with its first process, and removes the namespace with the last."""


async def run() -> list[dict[str, object]]:
    """Rows of all modes. Exits with a sentence where the machine lacks something."""
    modes = os.environ.get("WEIGHTS_MODES", ",".join(MODES)).split(",")
    count = int(os.environ.get("WEIGHTS_CONNECTIONS", CONNECTIONS))
    seed = int(os.environ.get("WEIGHTS_SEED") or random.SystemRandom().randrange(10**6))
    try:
        prepare(modes)
        return [row for mode in modes for row in rows(await measured(mode, count), count, about(mode, seed))]
    except TestbedError as problem:
        sys.exit(f"weights: {problem}")


def prepare(modes: list[str]) -> None:
    """Build what is needed; in the namespace there is no network. Raises TestbedError that says what is missing."""
    if unknown := set(modes) - set(MODES):
        raise TestbedError(f"no mode {', '.join(sorted(unknown))} is measured; there are: {', '.join(MODES)}")
    if os.geteuid():
        raise TestbedError("root is needed to make a network namespace")
    if missing := [each for each in ("unshare", "ip", *(MODES[mode] for mode in modes)) if not shutil.which(each)]:
        raise TestbedError(f"not installed: {', '.join(missing)}")
    for program in (binaries.ETCD, binaries.KUBERNETES):
        binaries.build(program)


async def measured(mode: str, count: int) -> dict[str, Any]:
    """What the process in the namespace found."""
    print(f"weights: kube-proxy in {mode} mode, twice {count} connections", file=sys.stderr, flush=True)
    pipe = asyncio.subprocess.PIPE
    with tempfile.TemporaryDirectory(prefix="relayfleet-weights-") as folder:
        words = (*NAMESPACE, sys.executable, "-m", "tests.bench._weights_process", mode, str(count), folder)
        # It ends by itself when its stdin does, that is with this process.
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
        out = await output(process, mode)
    if process.returncode:
        raise TestbedError(f"{mode} mode could not be measured (see above)")
    found: dict[str, Any] = json.loads(out)
    return found


async def output(process: asyncio.subprocess.Process, mode: str) -> bytes:
    """All it prints; it has ended when this returns or raises."""
    assert process.stdout
    try:
        async with asyncio.timeout(MODE_SECONDS):
            return await process.stdout.read()
    except TimeoutError:
        process.kill()
        raise TestbedError(f"{mode} mode was not measured within {MODE_SECONDS:.0f} s") from None
    except asyncio.CancelledError:
        process.kill()
        raise
    finally:
        await process.wait()


def about(mode: str, seed: int) -> dict[str, object]:
    """What every row of a mode says of itself."""
    tool = run_command(MODES[mode], "--version").strip()
    return {"mode": mode, "kube-proxy": settings.KUBERNETES, "tool": tool, "kernel": os.uname().release, "seed": seed}


def rows(found: dict[str, Any], count: int, detail: dict[str, Any]) -> list[dict[str, object]]:
    """The rows of one mode."""
    before, after, change = found["before"], found["after"], found["change"]
    name = f"weights.{detail['mode']}"
    return [
        error_row(f"{name}.error.max", before, count, detail),
        error_row(f"{name}.changed.error.max", after, count, detail),
        cordoned_row(f"{name}.cordoned", [before, after], detail),
        {
            "name": f"{name}.converged",
            "value": round(change["seconds"], 3),
            "unit": "s",
            "peer": None,
            "peer_value": None,
            "n": change["connections"],
            "detail": {**detail, "relays": change["relays"], "written": change["written"], "failed": change["failed"]},
        },
    ]


def error_row(name: str, half: dict[str, Any], count: int, detail: dict[str, Any]) -> dict[str, object]:
    """The largest error of one half, beside the largest one of independent draws."""
    shares = tuple(each["wanted"] for each in half["relays"])
    accepted = [each["accepted"] for each in half["relays"]]
    chance = spread(shares, count, detail["seed"])
    more = {"seconds": half["seconds"], "failed": half["failed"], "independent draws": chance}
    return {
        "name": name,
        "value": round(largest(shares, accepted), 3),
        "unit": "percentage points",
        "peer": "independent draws, median",
        "peer_value": chance["median"],
        "n": sum(accepted),
        "detail": {**detail, **more, "per cent": [percents(each, sum(accepted)) for each in half["relays"]]},
    }


def percents(relay: dict[str, Any], total: int) -> dict[str, object]:
    """Wanted and measured share of one relay, per cent."""
    measured_share = round(100 * relay["accepted"] / total, 3)
    return {"relay": relay["address"], "wanted": round(100 * relay["wanted"], 3), "measured": measured_share}


def cordoned_row(name: str, halves: list[dict[str, Any]], detail: dict[str, Any]) -> dict[str, object]:
    """Connections of both halves that reached a relay which should get none; the change itself is not among them."""
    none = [[each for each in half["relays"] if not each["wanted"]] for half in halves]
    return {
        "name": name,
        "value": sum(each["accepted"] for relays in none for each in relays),
        "unit": "connections",
        "peer": None,
        "peer_value": None,
        "n": sum(each["accepted"] for half in halves for each in half["relays"]),
        "detail": {**detail, "relays": [[each["address"] for each in relays] for relays in none]},
    }
