"""From the models to CustomResourceDefinitions.

The API server wants *structural* schemas: no `$ref`, no `null` type, no titles. Pydantic's JSON schema is rewritten to that; what
the models say in `json_schema_extra` (list types, CEL rules) passes through. The output has a fixed order, so that a difference in
`crds/` is a difference in the contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from relayfleet.api import queuecluster, relaypool, sendingip
from relayfleet.api.labels import GROUP, VERSION
from relayfleet.api.meta import Model, Status

READY = '.status.conditions[?(@.type=="Ready")]'


@dataclass(frozen=True)
class Kind:
    """One kind of the contract and what `kubectl` shows of it. Columns: name, type, path and, optionally, priority."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[Model]
    status: type[Status]
    rules: tuple[dict[str, str], ...] = ()
    columns: tuple[tuple[str, str, str, int], ...] = ()
    scale: dict[str, str] | None = field(default=None)

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def name(self) -> str:
        return f"{self.plural}.{GROUP}"


RELAY_POOL = Kind(
    kind="RelayPool",
    plural="relaypools",
    short_names=("rp",),
    description="A fleet of relays that take mail over SMTP, store it in a replicated queue and deliver it.",
    spec=relaypool.RelayPoolSpec,
    status=relaypool.RelayPoolStatus,
    rules=relaypool.CRD_RULES,
    columns=(
        ("Relays", "string", ".status.relays", 0),
        ("Queue", "string", ".spec.queueRef.name", 0),
        ("Class", "string", ".spec.class", 1),
        ("Message", "string", f"{READY}.message", 1),
    ),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

SENDING_IP = Kind(
    kind="SendingIP",
    plural="sendingips",
    short_names=("sip",),
    description="One outbound address and the name that it says in EHLO.",
    spec=sendingip.SendingIPSpec,
    status=sendingip.SendingIPStatus,
    columns=(
        ("Address", "string", ".spec.address", 0),
        ("Region", "string", ".spec.region", 0),
        ("Message", "string", f"{READY}.message", 1),
    ),
)

QUEUE_CLUSTER = Kind(
    kind="QueueCluster",
    plural="queueclusters",
    short_names=("qc",),
    description="Where accepted mail rests: a cluster of brokers that replicates it to a majority and to disk.",
    spec=queuecluster.QueueClusterSpec,
    status=queuecluster.QueueClusterStatus,
    rules=queuecluster.CRD_RULES,
    columns=(
        ("Brokers", "string", ".status.brokers", 0),
        ("Version", "string", ".status.version", 0),
        ("Message", "string", f"{READY}.message", 1),
    ),
)

KINDS = (RELAY_POOL, SENDING_IP, QUEUE_CLUSTER)


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    columns = [
        ("Ready", "string", f"{READY}.status", 0),
        ("Reason", "string", f"{READY}.reason", 0),
        *kind.columns,
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ]
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale:
        subresources["scale"] = kind.scale
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": ["relayfleet"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(*each) for each in columns],
                    "subresources": subresources,
                    "schema": {"openAPIV3Schema": _object_schema(kind)},
                }
            ],
        },
    }


def _column(name: str, kind: str, path: str, priority: int) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})


def _object_schema(kind: Kind) -> dict[str, Any]:
    spec = structural(kind.spec)
    spec["description"] = "What is wanted."
    if kind.rules:
        spec["x-kubernetes-validations"] = list(kind.rules)
    status = structural(kind.status)
    status["description"] = "What the operator says about it; written by the operator alone."
    return {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }


def structural(model: type[Model]) -> dict[str, Any]:
    """The structural schema of a model."""
    document = model.model_json_schema(by_alias=True)
    schema: dict[str, Any] = _rewrite(document, document.get("$defs", {}))
    return schema


def _rewrite(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_rewrite(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    if "anyOf" in node:
        node = _without_null(node, definitions)
    if "const" in node:  # an enum that has one value today
        node = {**node, "enum": [node["const"]]}
    schema = {
        key: _member(key, value, definitions) for key, value in node.items() if key not in {"title", "$defs", "const"}
    }
    return _with_plain_default(schema)


def _with_plain_default(schema: dict[str, Any]) -> dict[str, Any]:
    """Empty defaults would only fill stored objects with noise; an object that holds defaults needs just `{}` to get them."""
    default = schema.pop("default", None)
    if isinstance(default, dict):
        if any("default" in each for each in schema.get("properties", {}).values()):
            schema["default"] = {}
    elif default not in (None, []):
        schema["default"] = _without_nulls(default)
    return schema


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return value


def _member(key: str, value: Any, definitions: dict[str, Any]) -> Any:
    if key == "default":
        return value
    if key == "properties":  # a property may be called "title" or "default"
        return {name: _rewrite(each, definitions) for name, each in value.items()}
    return _rewrite(value, definitions)


def _without_null(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """`X | None` becomes X: in Kubernetes, what is not set is left out."""
    choices = [each for each in node["anyOf"] if each.get("type") != "null"]
    if len(choices) != 1:
        raise TypeError(f"a structural schema has no unions of types: {node}")
    outer = {key: value for key, value in node.items() if key != "anyOf" and not (key == "default" and value is None)}
    (inner,) = choices
    if "$ref" in inner:
        inner = {**definitions[inner["$ref"].rsplit("/", 1)[1]]}
    return {**inner, **outer}
