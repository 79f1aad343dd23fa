"""Waits for what a test expects, with a budget in seconds, and says what was there instead when it does not come."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from tests.e2e.api import Api, ApiError, Object
from tests.testbed.shell import TestbedError

T = TypeVar("T")
EVERY = 0.2


class NotYet(Exception):  # noqa: N818 - a state, not a mistake
    """The condition does not hold yet; the text is the state that was seen."""


async def wait_for(condition: Callable[[], Awaitable[T]], budget: float, what: str) -> T:
    """The condition's value as soon as it is true. It may raise NotYet. AssertionError: not within `budget` seconds. A connection that is lost, or
    a server that says that it cannot just now, is no answer, nor is a kubectl that fails: the API server stands still in some tests."""
    began = time.monotonic()
    while True:
        try:
            value = await condition()
            if value:
                return value
            seen = f"{value!r}"
        except NotYet as error:
            seen = str(error)
        except (aiohttp.ClientError, TimeoutError) as error:
            seen = repr(error)
        except TestbedError as error:
            seen = str(error)
        except ApiError as error:
            if not error.passes:
                raise
            seen = f"{error.status} {error}"
        if time.monotonic() - began > budget:
            raise AssertionError(f"{what}: not within {budget:g} s; last seen: {seen}")
        await asyncio.sleep(EVERY)


async def condition(api: Api, obj: Object, kind: str, status: str, budget: float, reason: str | None = None) -> Object:
    """The object as soon as its condition `kind` has this status (and reason) for its present generation."""

    async def holds() -> Object:
        found = await _present(api, obj)
        conditions = found.get("status", {}).get("conditions", [])
        for each in conditions:
            current = each.get("observedGeneration", 0) == found["metadata"].get("generation", 0)
            if each["type"] == kind and each["status"] == status and current and reason in (None, each["reason"]):
                return found
        raise NotYet(json.dumps(conditions) if conditions else "no conditions")

    wanted = f"{kind}={status}" + (f" ({reason})" if reason else "")
    return await wait_for(holds, budget, f"{_name(obj)} {wanted}")


async def ready(api: Api, *objects: Object, budget: float) -> list[Object]:
    """Our own resources, as soon as each is Ready for its present generation; the budget is for all together."""
    deadline = time.monotonic() + budget
    return [await condition(api, each, "Ready", "True", max(deadline - time.monotonic(), 0)) for each in objects]


async def rolled_out(api: Api, obj: Object, budget: float) -> Object:
    """A Deployment or StatefulSet, as soon as all its replicas are of the present generation and available."""

    async def holds() -> Object:
        found = await _present(api, obj)
        wanted, status = found["spec"].get("replicas", 1), found.get("status", {})
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
        if status.get("observedGeneration") != found["metadata"]["generation"] or counts != [wanted] * 4:
            raise NotYet(f"replicas, updated, ready, available {counts}, wanted {wanted}; {await _waiting(api, found)}")
        return found

    return await wait_for(holds, budget, f"{_name(obj)} rolled out")


async def gone(api: Api, obj: Object, budget: float) -> None:
    """Return as soon as the object is not there any more."""

    async def holds() -> bool:
        found = await api.get(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"])
        if found:
            finalizers = found["metadata"].get("finalizers") or found.get("spec", {}).get("finalizers")
            raise NotYet(
                f"still there, finalizers {finalizers}, conditions {found.get('status', {}).get('conditions')}"
            )
        return True

    await wait_for(holds, budget, f"{_name(obj)} gone")


async def _present(api: Api, obj: Object) -> Object:
    found = await api.get(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"])
    if found is None:
        raise NotYet("not there")
    return found


async def _waiting(api: Api, workload: Object) -> str:
    """Why the pods of a workload are not up, in a few words."""
    labels = workload["spec"]["selector"]["matchLabels"]
    pods = await api.list("Pod", workload["metadata"]["namespace"], labels)
    return "; ".join(f"{pod['metadata']['name']}: {_why(pod['status'])}" for pod in pods) or "no pods"


def _why(status: dict[str, Any]) -> str:
    states = [each["state"] for each in status.get("containerStatuses", [])]
    waiting = [state["waiting"].get("reason", "waiting") for state in states if "waiting" in state]
    unscheduled = [
        each.get("message", "") for each in status.get("conditions", []) if each.get("reason") == "Unschedulable"
    ]
    return ", ".join(waiting + unscheduled) or str(status.get("phase"))


def _name(obj: Object) -> str:
    namespace = obj["metadata"].get("namespace")
    return f"{obj['kind']} {f'{namespace}/' if namespace else ''}{obj['metadata']['name']}"
