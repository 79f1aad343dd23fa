"""Reading resources. The API server has checked them against the CRD; one that still cannot be read was written for another version."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from relayfleet.api.labels import PAUSED
from relayfleet.api.meta import Model
from relayfleet.kube.client import Object

T = TypeVar("T", bound=Model)


def parsed(model: type[T], obj: Object) -> T | None:
    """The spec of a resource that is not the one at hand; None when it cannot be read (its own controller says so)."""
    try:
        return model.model_validate(obj["spec"])
    except ValidationError:
        return None


def paused(obj: Object) -> bool:
    """Whether a person asked to leave the children of a resource alone."""
    return bool(obj["metadata"].get("annotations", {}).get(PAUSED) == "true")


def why_invalid(error: ValidationError) -> str:
    """Which fields cannot be read, and what to do."""
    fields = "; ".join(f"spec.{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
    return f"this operator cannot read the spec: {fields}. Update the CRDs and the operator to the same version"
