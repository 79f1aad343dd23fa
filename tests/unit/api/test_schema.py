"""What the API server will be told about the three kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from relayfleet.api.queuecluster import QueueClusterSpec
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.api.schema import KINDS, RELAY_POOL, Kind, crd
from tests.unit.api.crds import schema_of, validate_pool


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, with its path."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
class TestEveryKind:
    def test_is_structural(self, kind: Kind) -> None:
        for path, node in nodes(schema_of(kind)):
            assert "type" in node or "x-kubernetes-preserve-unknown-fields" in node, path
            assert not {"$ref", "anyOf", "oneOf", "title", "$defs", "const", "exclusiveMinimum"} & set(node), path
            assert not ("properties" in node and "additionalProperties" in node), path

    def test_explains_every_field(self, kind: Kind) -> None:
        for path, node in nodes(schema_of(kind)):
            if path in ("", ".apiVersion", ".kind", ".metadata") or path.endswith("[]"):
                continue
            assert node.get("description", "").endswith("."), f"{path} has no sentence for `kubectl explain`"

    def test_rules_say_what_to_do(self, kind: Kind) -> None:
        for path, node in nodes(schema_of(kind)):
            for each in node.get("x-kubernetes-validations", []):
                assert len(each["message"]) > 20, path

    def test_bounds_what_rules_look_at(self, kind: Kind) -> None:
        """Without bounds the API server refuses the rules for their cost."""
        for path, node in nodes(schema_of(kind)["properties"]["spec"]):
            if node.get("type") == "array":
                assert "maxItems" in node, path
            if node.get("type") == "string" and "enum" not in node:
                assert "maxLength" in node, path

    def test_has_no_floats(self, kind: Kind) -> None:
        assert all(node.get("type") != "number" for _, node in nodes(schema_of(kind)))

    def test_shows_whether_it_is_well_and_why_not(self, kind: Kind) -> None:
        columns = crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]
        assert [each["name"] for each in columns][:2] == ["Ready", "Reason"]


def test_a_pool_can_be_scaled() -> None:
    assert crd(RELAY_POOL)["spec"]["versions"][0]["subresources"]["scale"]["labelSelectorPath"] == ".status.selector"


def test_lists_of_named_things_merge_by_name() -> None:
    listeners = schema_of(RELAY_POOL)["properties"]["spec"]["properties"]["listeners"]
    assert listeners["x-kubernetes-list-map-keys"] == ["name"]
    assert listeners["default"] == [{"name": "submission", "port": 587, "tls": "StartTLS"}]


def test_the_smallest_pool_is_filled_with_defaults() -> None:
    spec = RelayPoolSpec.model_validate(
        {"queueRef": {"name": "mail"}, "sendingIPSelector": {"matchLabels": {"pool": "a"}}}
    )
    assert spec.replicas == 3
    assert spec.limits.message_size == "25Mi"
    validate_pool(spec.as_dict())


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert QueueClusterSpec.model_validate({"shards": 7}).deletion_policy == "Retain"
