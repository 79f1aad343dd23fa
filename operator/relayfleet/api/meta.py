"""What the three kinds have in common: base model, names, durations, sizes, references, conditions, pod template."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_POWERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_DURATION = r"^([0-9]+(ms|s|m|h))+$"
_QUANTITY = r"^[0-9]+(k|M|G|T|Ki|Mi|Gi|Ti)?$"

Duration = Annotated[str, Field(pattern=_DURATION, max_length=32)]
"""A length of time as Kubernetes writes it, `1h30m` or `250ms`. No days: CEL's duration() has none."""

Quantity = Annotated[str, Field(pattern=_QUANTITY, max_length=20)]
"""A number of bytes as Kubernetes writes it, `25Mi` or `2G`, without fractions."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
Cidr = Annotated[str, Field(max_length=49)]
IPAddress = Annotated[str, Field(min_length=2, max_length=39)]
HostName = Annotated[
    str,
    Field(
        pattern=r"^([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$",
        max_length=253,
    ),
]


def seconds(duration: str) -> float:
    """`1m30s` → 90.0. Raises ValueError for anything that is no Duration."""
    if not re.fullmatch(_DURATION, duration):
        raise ValueError(f"{duration!r} is not a duration like 30s, 1h30m or 250ms")
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h)", duration))


def size_in_bytes(quantity: str) -> int:
    """`25Mi` → 26214400. Raises ValueError for anything that is no Quantity."""
    match = re.fullmatch(r"([0-9]+)([kMGT]i?|[KMGT]i)?", quantity)
    if match is None or (match[2] or "") not in _POWERS:
        raise ValueError(f"{quantity!r} is not a number of bytes like 25Mi or 2G")
    return int(match[1]) * _POWERS[match[2] or ""]


def list_map(*keys: str) -> dict[str, Any]:
    """Schema extra for a list whose entries are known by `keys`, so that appliers can own single entries."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def rule(expression: str, message: str) -> dict[str, str]:
    """One CEL rule with the message that a user sees when it is broken: what is wrong and what to do."""
    return {"rule": expression, "message": message}


def rules(*each: dict[str, str]) -> dict[str, Any]:
    """Schema extra that holds CEL rules."""
    return {"x-kubernetes-validations": list(each)}


def field_name(name: str) -> str:
    """`sending_ip_selector` → `sendingIPSelector`: camelCase with acronyms as Kubernetes writes them."""
    return re.sub(r"(Ip|Dns)(?=s?([A-Z]|$))", lambda found: found[1].upper(), to_camel(name))


class Model(BaseModel):
    """Base of everything in the contract: camelCase outside, snake_case inside; fields written by a newer version are ignored."""

    model_config = ConfigDict(alias_generator=field_name, populate_by_name=True, extra="ignore", frozen=True)

    def as_dict(self) -> dict[str, Any]:
        """As the API server has it: camelCase, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True)


class LocalRef(Model):
    """The name of an object in the same namespace."""

    name: Name = Field(description="Name of the object, in the namespace of this resource.")


EntryName = Annotated[str, Field(pattern=r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$", min_length=1, max_length=253)]
"""The name of an entry of a Secret."""


class LabelSelectorRequirement(Model):
    """One expression of a label selector."""

    key: str = Field(max_length=317, description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label's value is compared with `values`."
    )
    values: list[Annotated[str, Field(max_length=63)]] = Field(
        default=[], max_length=64, description="Values for In and NotIn; empty for Exists and DoesNotExist."
    )


class LabelSelector(Model):
    """Selects objects of the same namespace by their labels; all parts must match. Empty selects everything."""

    match_labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, max_length=32, description="Labels that the object must have, with exactly these values."
    )
    match_expressions: list[LabelSelectorRequirement] = Field(
        default=[], max_length=32, description="Further requirements on labels."
    )

    def matches(self, labels: dict[str, str]) -> bool:
        """True when an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _meets(requirement, labels) for requirement in self.match_expressions
        )


def _meets(requirement: LabelSelectorRequirement, labels: dict[str, str]) -> bool:
    present, value = requirement.key in labels, labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return present and value in requirement.values
        case "NotIn":
            return not present or value not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present


_OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


class PodTemplate(Model):
    """What the pods of this resource look like, where the default does not fit."""

    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Container image; a digest is best. Default: the operator's choice.",
    )
    image_pull_secrets: list[LocalRef] = Field(
        default=[], max_length=8, json_schema_extra=list_map("name"), description="Secrets for pulling the image."
    )
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default={}, max_length=32, description="Annotations of the pods."
    )
    resources: dict[str, Any] = Field(
        default={}, json_schema_extra=_OPEN, description="Requests and limits of the main container, as in a Pod."
    )
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, max_length=32, description="Labels that a node must have."
    )
    tolerations: list[dict[str, Any]] = Field(
        default=[],
        max_length=32,
        json_schema_extra={"items": _OPEN},
        description="Taints that the pods tolerate, as in a Pod.",
    )
    priority_class_name: str | None = Field(
        default=None, min_length=1, max_length=253, description="PriorityClass of the pods."
    )


class Condition(Model):
    """A condition as KEP-1623 has it."""

    type: str = Field(
        max_length=316,
        description="What is said: Ready, Reconciling, Stalled, Degraded, DependenciesReady, ResolversReady or Fencing.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so.")
    reason: str = Field(min_length=1, max_length=1024, description="One word for the cause, for programs.")
    message: str = Field(max_length=32768, description="The cause and what to do, for people.")
    observed_generation: int = Field(ge=0, description="The generation of the resource that this is about.")
    last_transition_time: str = Field(
        json_schema_extra={"format": "date-time"}, description="When `status` last changed."
    )


class Status(Model):
    """The part of the status that every kind has."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The generation that the operator has last acted on."
    )
    conditions: list[Condition] = Field(
        default=[],
        max_length=16,
        json_schema_extra=list_map("type"),
        description="Ready, Reconciling, Stalled and Degraded, and of pools Fencing, DependenciesReady (of those that declare dependencies) and "
        "ResolversReady, each with its cause.",
    )
