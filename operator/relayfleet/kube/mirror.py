"""What the watches have told, by kind: the newest version of each object, so that urgent work need not ask before it acts.

A mirror may be behind, and may miss that something is gone; so what is written from it carries the resourceVersion that it was decided on, and
now and then its reader fetches everything anew (`refresh`). Versions are compared as numbers, as Kubernetes promises since 1.35.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from relayfleet.api.labels import POOL
from relayfleet.kube.client import Kube, Object, Objects

_GRAVES = 4096
"""So many uids of objects that went are remembered, against old news that comes late."""

Name = tuple[str, str]
"""Namespace and name."""


class Mirror:
    """Objects are shared, not copied: readers do not change them. `clock` is monotonic, in seconds. Who asks for a pool's objects gets them
    without a look at those of others: it is asked at each change of one relay, in fleets of a thousand."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._objects: defaultdict[str, dict[Name, tuple[Object, float]]] = defaultdict(dict)
        self._pools: defaultdict[tuple[str, str, str], set[Name]] = defaultdict(set)
        # By uid the version at which it went: by deletion, or without the labels that are watched for.
        self._graves: dict[str, int] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as far as is known."""
        found = self._objects[kind].get((namespace, name))
        return found[0] if found else None

    def list(self, kind: str, namespace: str, labels: Mapping[str, str]) -> Objects:
        """The objects of a namespace with these labels, in the order of their names."""
        known = self._objects[kind]
        near = self._pools.get((kind, namespace, labels[POOL]), ()) if POOL in labels else known
        objects = (known[name][0] for name in sorted(near) if name[0] == namespace)
        return [obj for obj in objects if _has(obj, labels)]

    def put(self, kind: str, obj: Object) -> bool:
        """An object was seen or written; whether this is news. Older news than what is known is passed over. The object loses its
        `managedFields`: a third of a pod, which nobody reads."""
        name, known = _name(obj), self._objects[kind].get(_name(obj))
        if _version(obj) <= self._graves.get(obj["metadata"].get("uid", ""), -1):
            return False
        if known and _version(known[0]) > _version(obj):
            return True  # told to nobody yet: what was written by us came over somebody else's change
        obj["metadata"].pop("managedFields", None)
        if known:
            self._remove(kind, name)
        self._objects[kind][name] = (obj, self._clock())
        self._pools[kind, name[0], _pool(obj)].add(name)
        return not known or _version(known[0]) != _version(obj)

    def drop(self, kind: str, obj: Object) -> None:
        """An object is gone."""
        uid, known = obj["metadata"].get("uid"), self.get(kind, *_name(obj))
        if uid:
            self._graves[uid] = _version(obj)
            if len(self._graves) > _GRAVES:
                del self._graves[next(iter(self._graves))]
        if known and known["metadata"].get("uid") == uid:
            self._remove(kind, _name(obj))

    async def asked_one(self, kube: Kube, kind: str, namespace: str, name: str) -> Callable[[], None]:
        """Fetch one object anew; what is returned takes the answer over. Errors are those of `kube.errors`."""
        began, obj = self._clock(), await kube.get(kind, namespace, name)
        return lambda: self._take(kind, {(namespace, name)}, [obj] if obj else [], began)

    async def asked(self, kube: Kube, kind: str, namespace: str, labels: dict[str, str]) -> Callable[[], None]:
        """The same for all objects of a namespace with these labels."""
        began, found = self._clock(), await kube.list(kind, namespace, labels)
        return lambda: self._take(kind, {_name(each) for each in self.list(kind, namespace, labels)}, found, began)

    def _take(self, kind: str, known: set[Name], found: Objects, began: float) -> None:
        """What is known and was not found is gone, unless it came after the question."""
        for name in known - {_name(each) for each in found}:
            if name in self._objects[kind] and self._objects[kind][name][1] < began:
                self._remove(kind, name)
        for each in found:
            self.put(kind, each)

    def _remove(self, kind: str, name: Name) -> None:
        whose = (kind, name[0], _pool(self._objects[kind].pop(name)[0]))
        self._pools[whose].discard(name)
        if not self._pools[whose]:
            del self._pools[whose]


def _name(obj: Object) -> Name:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _pool(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get(POOL, ""))


def _version(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)


def _has(obj: Object, labels: Mapping[str, str]) -> bool:
    return labels.items() <= (obj["metadata"].get("labels") or {}).items()
