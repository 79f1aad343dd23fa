"""The images of the tests' own pods, built from this checkout and loaded into every node.

The tag is a digest of what an image is made from, so that an image that is there is the right one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tests.testbed import settings
from tests.testbed.progress import step
from tests.testbed.settings import REGIONS, ROOT
from tests.testbed.shell import run, succeeds

_SOURCES: Mapping[str, tuple[Path, ...]] = {
    "sink": (ROOT / "tests/sink/Dockerfile", *sorted((ROOT / "tests/sink").glob("*.py"))),
    "dns": (ROOT / "images/dns/Dockerfile",),
    "mailclient": (ROOT / "images/mailclient/Dockerfile",),
}


def _reference(name: str) -> str:
    digest = hashlib.sha256()
    for path in _SOURCES[name]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"relayfleet/{name}:{digest.hexdigest()[:12]}"


IMAGES: Mapping[str, str] = {name: _reference(name) for name in _SOURCES}


def ensure() -> None:
    """Build what is missing and load it into the nodes that lack it."""
    for name, reference in IMAGES.items():
        if not succeeds("docker", "image", "inspect", reference):
            with step(f"build {reference}"):
                _build(_SOURCES[name][0], reference)
    for region in REGIONS.values():
        missing = [reference for reference in IMAGES.values() if not _has(region.nodes, reference)]
        if missing:
            with step(f"load {', '.join(missing)} into {region.cluster}"):
                run(settings.BIN / "kind", "load", "docker-image", *missing, "--name", region.cluster, timeout=600)


def _build(dockerfile: Path, reference: str) -> None:
    base = f"BASE={settings.BASE_IMAGE}"
    command: list[str | Path] = ["docker", "build", "-q", "-f", dockerfile, "-t", reference, "--build-arg", base, ROOT]
    run(*command, env={"DOCKER_BUILDKIT": "0"}, timeout=900, log=settings.LOGS / "images.log")


def _has(nodes: tuple[str, ...], reference: str) -> bool:
    full = f"docker.io/{reference}"
    return all(full in run("docker", "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q") for node in nodes)
