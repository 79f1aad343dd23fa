"""Writing EndpointSlices: the whole slice at a time, over the very version that was read.

A slice that somebody changed meanwhile is not overwritten blindly: KubeConflict tells the caller to look and decide again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeConflict, KubeInvalid


async def write(kube: Kube, current: Mapping[str, Object], wanted: Sequence[Object | str]) -> list[Object]:
    """Bring the slices to what is wanted, one after the other in this order; a name alone stands for a slice that has to go.

    `current` are the slices as they were read, by name. Returns what was written, as it is now. Raises KubeConflict when one has changed since.
    """
    written = []
    for each in wanted:
        if isinstance(each, str):
            metadata = current[each]["metadata"]
            await kube.delete("EndpointSlice", metadata["namespace"], each, uid=metadata["uid"])
        elif (live := current.get(each["metadata"]["name"])) is None:
            written.append(await _create(kube, each))
        elif not _says(live, each):
            written.append(await _replace(kube, live, each))
    return written


async def _create(kube: Kube, wanted: Object) -> Object:
    try:
        return await kube.create(wanted)
    except KubeConflict:
        # It exists, but was not found by its labels: somebody took them off.
        live = await kube.get("EndpointSlice", wanted["metadata"]["namespace"], wanted["metadata"]["name"])
        if live is None:
            raise
        return await _replace(kube, live, wanted)


async def _replace(kube: Kube, live: Object, wanted: Object) -> Object:
    metadata = wanted["metadata"] | {"resourceVersion": live["metadata"]["resourceVersion"]}
    try:
        return await kube.replace(wanted | {"metadata": metadata})
    except KubeInvalid as error:
        if error.status != 404:
            raise
        # It is gone, and no watch has said so: a watch that is begun anew tells only of what is there.
        raise KubeConflict(str(error), error.status) from error


def _says(live: Object, wanted: Object) -> bool:
    """True when the live slice has everything that is wanted, and no endpoint or port more."""
    labels = live["metadata"].get("labels", {})
    return (
        all((live.get(key) or []) == wanted[key] for key in ("endpoints", "ports"))
        and all(labels.get(key) == value for key, value in wanted["metadata"]["labels"].items())
        and live["metadata"].get("ownerReferences") == wanted["metadata"]["ownerReferences"]
    )
