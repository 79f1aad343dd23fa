"""The API server as the operator uses it: objects are dicts, writes are server-side applies under one field manager.

Every write asks the fence first (`permit`), since an operator that lost its lease may not know it yet. Every call has a deadline:
a call that waits for ever is worse than one that fails.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any, Literal
from urllib.request import getproxies_environment

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client import rest

from relayfleet.api.labels import FIELD_MANAGER
from relayfleet.kube.errors import KubeConflict, KubeUnavailable, from_answer
from relayfleet.kube.resources import RESOURCES, resource_of

DEADLINE = 10.0
"""Seconds for one call. Reads are answered in milliseconds; a server that needs longer is not there."""

KEEP = 80.0
"""Seconds for which an idle connection is kept."""

_PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}

Object = dict[str, Any]
Objects = list[Object]
Query = list[tuple[str, str]]


async def connect(permit: Callable[[], None] = lambda: None) -> Kube:
    """A client from the pod's service account, or from $KUBECONFIG outside a cluster."""
    configuration = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(client_configuration=configuration)
    configuration.retries = 1
    if not getproxies_environment():
        # Else aiohttp would look for proxies and for passwords in ~/.netrc at each call, and hop to a thread and back for each of them.
        configuration.client_session_kwargs = {"trust_env": False}
    api = client.ApiClient(configuration)
    api.rest_client = _WarmConnections(configuration)
    return Kube(api, permit)


class _WarmConnections(rest.RESTClientObject):  # type: ignore[misc]  # it has no types
    """Connections are kept for longer than the pause between two works on a pool, so that an urgent write need not wait for a handshake. The API
    server closes idle ones after 90 s."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, keepalive_timeout=KEEP)


class Kube:
    """The API server. Errors are those of `kube.errors`."""

    def __init__(self, api: client.ApiClient, permit: Callable[[], None] = lambda: None) -> None:
        self._api = api
        self._permit = permit

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None when there is none."""
        status, answer = await self._call("GET", RESOURCES[kind].path(namespace, name))
        if status == 404:
            return None
        return _checked(status, answer, f"get {kind} {namespace}/{name}")

    async def list(
        self, kind: str, namespace: str | None = None, labels: dict[str, str] | None = None, fields: str | None = None
    ) -> Objects:
        """The objects with these labels, of one namespace or of all; each with its apiVersion and kind."""
        query: Query = []
        if labels:
            query.append(("labelSelector", ",".join(f"{key}={value}" for key, value in labels.items())))
        if fields:
            query.append(("fieldSelector", fields))
        status, answer = await self._call("GET", RESOURCES[kind].path(namespace), query)
        found = _checked(status, answer, f"list {kind} in {namespace or 'all namespaces'}")
        return [{"apiVersion": RESOURCES[kind].api_version, "kind": kind, **each} for each in found["items"]]

    async def apply(self, obj: Object, subresource: str | None = None) -> Object:
        """State the fields in `obj` as ours (server-side apply, forced: what we state is ours)."""
        metadata = obj["metadata"]
        path = resource_of(obj).path(metadata.get("namespace"), metadata["name"], subresource)
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._write("PATCH", path, query, obj, _PATCHES["apply"])

    async def apply_status(self, obj: Object) -> Object:
        """The same for the status of `obj`."""
        return await self.apply(obj, "status")

    async def create(self, obj: Object) -> Object:
        """Create, or raise KubeConflict when it exists."""
        path = resource_of(obj).path(obj["metadata"].get("namespace"))
        return await self._write("POST", path, [("fieldManager", FIELD_MANAGER)], obj)

    async def replace(self, obj: Object, subresource: str | None = None) -> Object:
        """Replace; with a resourceVersion in `obj`, raises KubeConflict when the object has changed since."""
        metadata = obj["metadata"]
        path = resource_of(obj).path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._write("PUT", path, [("fieldManager", FIELD_MANAGER)], obj)

    async def patch(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        body: Any,
        *,
        kind_of: Literal["merge", "json", "strategic"] = "merge",
        subresource: str | None = None,
    ) -> Object:
        """Patch. A JSON patch whose test fails raises KubeInvalid."""
        path = RESOURCES[kind].path(namespace, name, subresource)
        return await self._write("PATCH", path, [("fieldManager", FIELD_MANAGER)], body, _PATCHES[kind_of])

    async def delete(
        self, kind: str, namespace: str | None, name: str, *, propagation: str = "Background", uid: str | None = None
    ) -> bool:
        """Delete; False when it was not there, or (with `uid`) is another one by now."""
        self._permit()
        body: Object = {"propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        status, answer = await self._call("DELETE", RESOURCES[kind].path(namespace, name), body=body)
        if status == 404:
            return False
        try:
            _checked(status, answer, f"delete {kind} {namespace}/{name}")
        except KubeConflict:
            return False
        return True

    async def _write(
        self, method: str, path: str, query: Query, body: Any, content_type: str = "application/json"
    ) -> Object:
        self._permit()
        status, answer = await self._call(method, path, query, body, content_type)
        return _checked(status, answer, f"{method} {path}")

    async def _call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(DEADLINE):
                request = await self._api.param_serialize(
                    method,
                    path,
                    query_params=query or [],
                    header_params={"Accept": "application/json", "Content-Type": content_type},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await self._api.call_api(*request, _request_timeout=DEADLINE)
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KubeUnavailable(f"{method} {path}: {error or type(error).__name__}") from error


def _checked(status: int, answer: bytes, what: str) -> Object:
    try:
        document: Object = json.loads(answer)
    except ValueError:
        document = {"message": answer[:200].decode(errors="replace")}
    if not 200 <= status <= 299:
        raise from_answer(status, f"{what}: {document.get('message', status)}")
    return document
