"""What may be stated as a suppression list."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.api.suppression import MOST_FILES
from tests.unit.api.crds import pool_spec, validate_pool


def pool(*refs: dict[str, Any]) -> dict[str, Any]:
    return {
        "queueRef": {"name": "mail"},
        "sendingIPSelector": {"matchLabels": {"pool": "a"}},
        "suppressionList": {"secretRefs": list(refs)},
    }


def test_secrets_and_entries() -> None:
    stated = pool({"name": "bounced"}, {"name": "left", "key": "2026.txt"})
    found = RelayPoolSpec.model_validate(stated).suppression_list
    assert found is not None
    assert [(each.name, each.key) for each in found.secret_refs] == [("bounced", "addresses.txt"), ("left", "2026.txt")]
    validate_pool(stated)


def test_entries_of_one_secret_are_two_files() -> None:
    assert pool_spec()["properties"]["suppressionList"]["properties"]["secretRefs"]["x-kubernetes-list-map-keys"] == [
        "name",
        "key",
    ]


@pytest.mark.parametrize(
    "refs",
    [
        [],
        [{"key": "a"}],
        [{"name": "Bounced"}],
        [{"name": "a", "key": "../b"}],
        [{"name": "a", "key": ""}],
        [{"name": f"a-{number}"} for number in range(MOST_FILES + 1)],
    ],
)
def test_what_can_be_no_list_is_refused(refs: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        RelayPoolSpec.model_validate(pool(*refs))
    with pytest.raises(jsonschema.ValidationError):
        validate_pool(pool(*refs))
