"""What the API server is told of specs, each schema made and checked once: tests only read them."""

from __future__ import annotations

import functools
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from relayfleet.api.schema import KINDS, RELAY_POOL, Kind, crd


def schema_of(kind: Kind) -> dict[str, Any]:
    """The schema of whole objects of this kind."""
    return _schemas()[kind.kind]


def pool_spec() -> dict[str, Any]:
    """The schema of a RelayPool's spec."""
    spec: dict[str, Any] = schema_of(RELAY_POOL)["properties"]["spec"]
    return spec


def validate_pool(spec: Any) -> None:
    """As the API server does with a RelayPool's spec. Raises jsonschema.ValidationError."""
    if error := best_match(_validator().iter_errors(spec)):
        raise error


@functools.cache
def _schemas() -> dict[str, dict[str, Any]]:
    """By kind."""
    versions = {kind.kind: crd(kind)["spec"]["versions"] for kind in KINDS}
    return {name: version["schema"]["openAPIV3Schema"] for name, (version,) in versions.items()}


@functools.cache
def _validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(pool_spec())
    return Draft202012Validator(pool_spec())
