"""What may be stated about credentials."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from relayfleet.api.relaypool import RelayPoolSpec
from tests.unit.api.crds import pool_spec, validate_pool

POOL = {"queueRef": {"name": "mail"}, "sendingIPSelector": {"matchLabels": {"pool": "a"}}}


def pool(**submitter: Any) -> dict[str, Any]:
    return {**POOL, "submitters": [{"name": "ann", "domains": ["a.test"], **submitter}]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"name": "ann@example.com"},
        {"name": "a b"},
        {"domains": ["xn--bcher-kva.example", "b.c.test"]},
        {"recipientsPerMinute": 1},
        {"recipientsPerMinute": 100_000, "recipientsPerDay": 100_000_000},
    ],
)
def test_credentials_and_domains(more: dict[str, Any]) -> None:
    assert RelayPoolSpec.model_validate(pool(**more)).submitters
    validate_pool(pool(**more))


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
        validate_pool(pool(**more))


def test_limits_need_no_domains() -> None:
    stated = {**POOL, "submitters": [{"name": "ann", "recipientsPerDay": 5}]}
    (found,) = RelayPoolSpec.model_validate(stated).submitters
    assert (found.domains, found.recipients_per_minute, found.recipients_per_day) == (None, None, 5)
    validate_pool(stated)


def test_an_entry_that_does_nothing_and_a_rate_above_the_day_are_refused_with_what_to_do() -> None:
    rules = pool_spec()["properties"]["submitters"]["items"]["x-kubernetes-validations"]
    assert [rule["message"].partition(": ")[2] for rule in rules] == [
        "state domains, recipientsPerMinute or recipientsPerDay, or remove it",
        "lower it, or raise recipientsPerDay",
    ]


@pytest.mark.parametrize(
    "limits",
    [
        {"recipientsPerMinute": 0},
        {"recipientsPerMinute": 100_001},
        {"recipientsPerDay": 0},
        {"recipientsPerDay": 100_000_001},
        {"recipientsPerDay": 1.5},
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RelayPoolSpec.model_validate(pool(**limits))
    with pytest.raises(jsonschema.ValidationError):
        validate_pool(pool(**limits))
