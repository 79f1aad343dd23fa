"""An API server in memory, for tests of controllers: versions, conflicts, labels, and merge patches, but no schema and no controllers.

The tests on real clusters stand beside it (tests/e2e).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from relayfleet.kube.client import Object, Objects
from relayfleet.kube.errors import KubeConflict, KubeInvalid
from relayfleet.kube.mirror import Mirror

Key = tuple[str, str, str]
T = TypeVar("T")


class FakeKube:
    """Objects by kind, namespace and name. `writes` tells what was asked for, in order. `refuse` may raise for an object that is applied.

    `mirrors` are told of what is put, written and deleted, as by watches; not of what a test changes in place.
    """

    def __init__(self, *objects: Object) -> None:
        self.objects: dict[Key, Object] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.refuse: Callable[[Object], None] = lambda _: None
        self.mirrors: list[Mirror] = []
        self._versions = itertools.count(1)
        for each in objects:
            self.put(each)

    def put(self, obj: Object) -> Object:
        """What somebody else writes."""
        stored = _copied(obj)
        metadata = stored["metadata"]
        metadata["resourceVersion"] = str(next(self._versions))
        metadata.setdefault("uid", f"uid-of-{metadata['name']}")
        self.objects[_key(stored)] = stored
        for mirror in self.mirrors:
            mirror.put(stored["kind"], _copied(stored))
        return _copied(stored)

    def seen(self, kind: str, name: str) -> Object:
        """An object of namespace mail as it is."""
        return self.objects[kind, "mail", name]

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        return _copied(self.objects.get((kind, namespace or "", name)))

    async def list(
        self, kind: str, namespace: str | None = None, labels: dict[str, str] | None = None, fields: str | None = None
    ) -> Objects:
        return [
            _copied(obj)
            for (its_kind, its_namespace, _), obj in sorted(self.objects.items())
            if its_kind == kind
            and namespace in (None, its_namespace)
            and (labels or {}).items() <= obj["metadata"].get("labels", {}).items()
        ]

    async def create(self, obj: Object) -> Object:
        if _key(obj) in self.objects:
            raise KubeConflict("exists", 409)
        return self._write("create", obj)

    async def replace(self, obj: Object) -> Object:
        live = self.objects.get(_key(obj))
        if live is None:
            raise KubeInvalid("not found", 404)
        if obj["metadata"].get("resourceVersion") != live["metadata"]["resourceVersion"]:
            raise KubeConflict("changed since", 409)
        return self._write("replace", obj | {"metadata": obj["metadata"] | {"uid": live["metadata"]["uid"]}})

    async def apply(self, obj: Object) -> Object:
        self.refuse(obj)
        live = self.objects.get(_key(obj), {"metadata": {}})
        return self._write("apply", _merged(live, obj))

    async def apply_status(self, obj: Object) -> Object:
        live = self.objects[_key(obj)]
        return self._write("status", live | {"status": obj["status"]})

    async def patch(
        self,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        *,
        kind_of: str = "merge",
        subresource: str | None = None,
    ) -> Object:
        live = self.objects.get((kind, namespace, name))
        if live is None:
            raise KubeInvalid("not found", 404)
        if kind_of == "strategic":  # of a status: conditions are merged by type
            changed = {each["type"]: each for each in body["status"]["conditions"]}
            kept = [each for each in live["status"].get("conditions", []) if each["type"] not in changed]
            body = {"status": {"conditions": [*kept, *changed.values()]}}
        return self._write("patch", _merged(live, body))

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None) -> bool:
        self.writes.append(("delete", kind, name))
        gone = self.objects.pop((kind, namespace, name), None)
        for mirror in self.mirrors if gone else ():
            mirror.drop(kind, gone or {})
        return gone is not None

    def _write(self, verb: str, obj: Object) -> Object:
        self.writes.append((verb, obj["kind"], obj["metadata"]["name"]))
        return self.put(obj)


def _copied(value: T) -> T:
    """Of JSON, and so without what makes `copy.deepcopy` slow."""
    if isinstance(value, dict):
        return cast("T", {key: _copied(each) for key, each in value.items()})
    return cast("T", [_copied(each) for each in value]) if isinstance(value, list) else value


def _key(obj: Object) -> Key:
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, dict):
        return new
    base = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = _merged(base.get(key), value)
    return base
