"""The API server as a test uses it: as a user would, with a field manager of its own, not through the operator's client."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from relayfleet.kube.resources import RESOURCES, resource_of

Object = dict[str, Any]
Objects = list[Object]
FIELD_MANAGER = "e2e"
_APPLY, _MERGE, _JSON = (f"application/{kind}" for kind in ("apply-patch+yaml", "merge-patch+json", "json-patch+json"))
_PAUSES = (0.5, 1.0)
"""Seconds before a question is asked again that the API server could not answer just now, as every client of Kubernetes does: it is not what is tested. An
order is given once."""
_DEADLINE = aiohttp.ClientTimeout(total=20)


class ApiError(Exception):
    """The API server refused; the text is its own. `status`: of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status

    @property
    def passes(self) -> bool:
        """True for what a server that stood still, or has too much to do, says: the same question may be answered a moment later."""
        return self.status == 429 or self.status >= 500


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and who we are, from a kubeconfig of kind (client certificates)."""

    url: str
    tls: ssl.SSLContext


def access(kubeconfig: Path) -> Access:
    """The only cluster and the only user in the file."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pem.flush()
        context.load_cert_chain(pem.name)
    return Access(cluster["server"], context)


class Api:
    """Use as `async with Api(access(path)) as api`. Kinds are those of `relayfleet.kube.resources`."""

    def __init__(self, where: Access) -> None:
        self._where = where

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=_DEADLINE, connector=aiohttp.TCPConnector(ssl=self._where.tls))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None."""
        try:
            return await self._json("GET", RESOURCES[kind].path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self, kind: str, namespace: str | None = None, labels: dict[str, str] | None = None, fields: str = ""
    ) -> Objects:
        """The objects with these labels, and for which the field selector holds."""
        selector = ",".join(f"{name}={value}" for name, value in (labels or {}).items())
        params = {"labelSelector": selector, "fieldSelector": fields}
        found = await self._json("GET", RESOURCES[kind].path(namespace), params=params)
        return [{"apiVersion": RESOURCES[kind].api_version, "kind": kind, **each} for each in found["items"]]

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        """A new object, as it is stored, or would be: fields that its kind does not have are refused."""
        path = resource_of(obj).path(obj["metadata"].get("namespace"))
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return await self._json("POST", path, params=params, body=json.dumps(obj), content_type="application/json")

    async def apply(self, *objects: Object, force: bool = True) -> Objects:
        """State these objects (server-side apply), in this order."""
        return [await self._apply(each, force) for each in objects]

    async def _apply(self, obj: Object, force: bool) -> Object:
        metadata = obj["metadata"]
        path = resource_of(obj).path(metadata.get("namespace"), metadata["name"])
        params = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        return await self._json("PATCH", path, params=params, body=json.dumps(obj), content_type=_APPLY)

    async def patch(
        self, kind: str, namespace: str | None, name: str, body: Any, subresource: str | None = None
    ) -> Object:
        """A merge patch (a dict) or a JSON patch (a list)."""
        path = RESOURCES[kind].path(namespace, name, subresource)
        content_type = _JSON if isinstance(body, list) else _MERGE
        params = {"fieldManager": FIELD_MANAGER}
        return await self._json("PATCH", path, params=params, body=json.dumps(body), content_type=content_type)

    async def delete(self, kind: str, namespace: str | None, name: str, grace: int | None = None) -> bool:
        """Delete in the background; False when it was not there. `grace`: seconds for a pod to end, 0 kills it."""
        params = {"propagationPolicy": "Background"}
        if grace is not None:
            params["gracePeriodSeconds"] = str(grace)
        try:
            await self._json("DELETE", RESOURCES[kind].path(namespace, name), params=params)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def logs(self, namespace: str, pod: str, container: str, previous: bool = False, lines: int = 5000) -> str:
        """The last lines of a container's log."""
        params = {"container": container, "previous": str(previous).lower(), "tailLines": str(lines)}
        return await self._text("GET", RESOURCES["Pod"].path(namespace, pod, "log"), params=params)

    async def metrics(self, namespace: str, pod: str, port: int) -> str:
        """What a pod tells Prometheus, by way of the API server."""
        return await self._text("GET", RESOURCES["Pod"].path(namespace, f"{pod}:{port}", "proxy/metrics"))

    async def _json(self, method: str, path: str, **rest: Any) -> Object:
        answer: Object = json.loads(await self._text(method, path, **rest))
        return answer

    async def _text(
        self,
        method: str,
        path: str,
        params: dict[str, str] | None = None,
        body: str | None = None,
        content_type: str = "",
    ) -> str:
        for pause in _PAUSES if method == "GET" else ():
            try:
                return await self._once(method, path, params, body, content_type)
            except (ApiError, aiohttp.ClientConnectionError) as error:
                if isinstance(error, TimeoutError) or (isinstance(error, ApiError) and not error.passes):
                    raise
            await asyncio.sleep(pause)
        return await self._once(method, path, params, body, content_type)

    async def _once(
        self, method: str, path: str, params: dict[str, str] | None, body: str | None, content_type: str
    ) -> str:
        headers = {"Content-Type": content_type} if content_type else {}
        async with self._http.request(
            method, self._where.url + path, params=params, data=body, headers=headers
        ) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise ApiError(answer.status, _message(text))
            return text


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError):
        return text[:500]
