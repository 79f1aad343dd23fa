"""What may be stated about credentials."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.api.schema import RELAY_POOL, crd

POOL = {"queueRef": {"name": "mail"}, "sendingIPSelector": {"matchLabels": {"pool": "a"}}}


def pool(**submitter: Any) -> dict[str, Any]:
    return {**POOL, "submitters": [{"name": "ann", "domains": ["a.test"], **submitter}]}


def schema() -> Any:
    (version,) = crd(RELAY_POOL)["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]


@pytest.mark.parametrize(
    "more", [{}, {"name": "ann@example.com"}, {"name": "a b"}, {"domains": ["xn--bcher-kva.example", "b.c.test"]}]
)
def test_credentials_and_domains(more: dict[str, Any]) -> None:
    assert RelayPoolSpec.model_validate(pool(**more)).submitters
    jsonschema.validate(pool(**more), schema())


@pytest.mark.parametrize(
    "more",
    [
        {"name": ""},
        {"name": "a:b"},
        {"domains": []},
        {"domains": ["A.test"]},
        {"domains": ["*.a.test"]},
        {"domains": ["com"]},
        {"domains": ["a.test."]},
        {"domains": ["bücher.example"]},
    ],
)
def test_what_no_sender_could_ever_match_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RelayPoolSpec.model_validate(pool(**more))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(pool(**more), schema())
