"""How often kube-proxy may write its rules. Stock kube-proxy waits up to a second (`minSyncPeriod`), which is longer than the operator takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.testbed.clusters import kubectl
from tests.testbed.shell import TestbedError

NAMESPACE, NAME, KEY = "kube-system", "kube-proxy", "config.conf"
DEFAULT = "default"
_PERIOD = re.compile(r"(?<=\nnftables:\n)((?:  .*\n)*?  minSyncPeriod: )(\S+)")
ROLLOUT_SECONDS = 90


@contextmanager
def syncing_each(region: str, period: str) -> Iterator[None]:
    """Within the block kube-proxy on all nodes of the region has this `nftables.minSyncPeriod` (a Go duration, or `default`: as it is); afterwards what
    it had. Raises TestbedError."""
    if period == DEFAULT:
        yield
        return
    before = _config(region)
    changed, found = _PERIOD.subn(rf"\g<1>{period}", before)
    if not found:
        raise TestbedError(
            f"the ConfigMap {NAMESPACE}/{NAME} has no nftables.minSyncPeriod: is kube-proxy in another mode?"
        )
    _set(region, changed)
    try:
        yield
    finally:
        _set(region, before)


def _config(region: str) -> str:
    found = json.loads(kubectl(region, "-n", NAMESPACE, "get", "configmap", NAME, "-o", "json"))
    return str(found["data"][KEY])


def _set(region: str, config: str) -> None:
    patch = json.dumps({"data": {KEY: config}})
    kubectl(region, "-n", NAMESPACE, "patch", "configmap", NAME, "--type=merge", "-p", patch)
    kubectl(region, "-n", NAMESPACE, "rollout", "restart", f"daemonset/{NAME}")
    wait = ("rollout", "status", f"daemonset/{NAME}", f"--timeout={ROLLOUT_SECONDS}s")
    kubectl(region, "-n", NAMESPACE, *wait, timeout=ROLLOUT_SECONDS + 10)
