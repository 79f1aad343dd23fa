"""What is kept of a test that failed: resources, events and logs of its namespaces, in build/e2e/<test>/<region>/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from relayfleet.kube.resources import RESOURCES
from tests.e2e.api import ApiError, Object
from tests.e2e.region import Region
from tests.testbed.settings import ROOT

FOLDER = ROOT / "build" / "e2e"
NOT_KEPT = {"Event", "Secret", "Namespace", "Node"}


async def keep(region: Region, namespaces: Iterable[str], test: str) -> Path:
    """Write everything down; the folder."""
    folder = FOLDER / test / region.name
    for namespace in namespaces:
        await _keep_namespace(region, namespace, folder / namespace)
    return folder


async def _keep_namespace(region: Region, namespace: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, resource in RESOURCES.items():
        if resource.namespaced and kind not in NOT_KEPT:
            try:
                found = await region.api.list(kind, namespace)
            except ApiError as error:
                found = [{"error": str(error)}]
            if found:
                (folder / f"{kind}.yaml").write_text(yaml.safe_dump_all(map(_without_noise, found)))
    events = sorted(await region.api.list("Event", namespace), key=_when)
    (folder / "events.txt").write_text("".join(f"{_line(each)}\n" for each in events))
    for pod in await region.api.list("Pod", namespace):
        await _keep_logs(region, pod, folder / "logs")


async def _keep_logs(region: Region, pod: Object, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    spec = pod["spec"]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for previous in (False, True):
            try:
                log = await region.api.logs(namespace, name, container["name"], previous)
            except ApiError:
                continue  # it has not run, or not twice
            (folder / f"{name}.{container['name']}{'.previous' if previous else ''}.log").write_text(log)


def _without_noise(obj: Object) -> Object:
    if "metadata" in obj:
        obj["metadata"].pop("managedFields", None)
    return obj


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _line(event: Object) -> str:
    about = event["involvedObject"]
    return f"{_when(event)} {about['kind']}/{about['name']} {event.get('type')} {event['reason']}: {event.get('message', '')}"
