"""What may be ordered for accepted mail."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from relayfleet.api.deliveryrules import MOST_RULES
from relayfleet.api.relaypool import CRD_RULES, RelayPoolSpec
from tests.unit.api.crds import pool_spec, validate_pool

WHOLE = {
    "recipientDomain": "example.org",
    "sender": "News@example.com",
    "credential": "news",
    "acceptedBefore": "2026-11-28T16:00:00Z",
}


def pool(*rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "queueRef": {"name": "mail"},
        "sendingIPSelector": {"matchLabels": {"pool": "a"}},
        "deliveryRules": list(rules),
    }


def order(**changes: Any) -> dict[str, Any]:
    return {"name": "incident", "match": {"credential": "news"}, "action": "Hold", **changes}


def match_schema() -> Any:
    return pool_spec()["properties"]["deliveryRules"]["items"]["properties"]["match"]


@pytest.mark.parametrize("action", ["Hold", "Bounce", "Purge"])
@pytest.mark.parametrize("match", [{"senderDomain": "example.com"}, {"sender": "<>"}, WHOLE])
def test_orders(action: str, match: dict[str, Any]) -> None:
    stated = pool(order(action=action, match=match))
    (found,) = RelayPoolSpec.model_validate(stated).delivery_rules
    assert found.match.as_dict() == match
    validate_pool(stated)


@pytest.mark.parametrize("match", [{"senderDomain": "example.com"}, WHOLE])
def test_mail_that_waits_is_ordered_to_be_tried_now(match: dict[str, Any]) -> None:
    stated = pool(order(action="Requeue", match={**match, "deferredBefore": "2026-11-28T16:00:00Z"}))
    (found,) = RelayPoolSpec.model_validate(stated).delivery_rules
    assert found.match.deferred_before == "2026-11-28T16:00:00Z"
    validate_pool(stated)


def test_a_moment_of_deferral_goes_with_requeue_and_with_nothing_else() -> None:
    stated = pool_spec()["properties"]["deliveryRules"]["items"]["x-kubernetes-validations"]
    assert [each["rule"] for each in stated] == [
        "self.action != 'Requeue' || has(self.match.deferredBefore)",
        "self.action == 'Requeue' || !has(self.match.deferredBefore)",
    ]
    assert "set it to the present time" in stated[0]["message"]
    assert "use match.acceptedBefore" in stated[1]["message"]


def test_rules_are_known_by_their_names() -> None:
    assert pool_spec()["properties"]["deliveryRules"]["x-kubernetes-list-map-keys"] == ["name"]


@pytest.mark.parametrize(
    "rules",
    [
        [order(name="")],
        [order(name="In_cident")],
        [{"name": "a", "action": "Hold"}],
        [order(match={"credential": ""})],
        [order(match={"credential": "a:b"})],
        [order(match={"recipientDomain": ""})],
        [order(name=f"rule-{number}") for number in range(MOST_RULES + 1)],
    ],
)
def test_what_can_be_no_order_is_refused(rules: list[dict[str, Any]]) -> None:
    with pytest.raises(ValidationError):
        RelayPoolSpec.model_validate(pool(*rules))
    with pytest.raises(jsonschema.ValidationError):
        validate_pool(pool(*rules))


@pytest.mark.parametrize("newer", [order(action="Defer"), order(match={"credential": "a", "recipients": ["b@b.test"]})])
def test_what_a_newer_crd_allows_is_kept_whole_and_the_other_rules_are_read(newer: dict[str, Any]) -> None:
    first, second = RelayPoolSpec.model_validate(pool(newer, order(name="b"))).delivery_rules
    assert (first.as_dict(), second.name) == (newer, "b")


def test_the_api_server_refuses_an_action_that_is_none() -> None:
    with pytest.raises(jsonschema.ValidationError, match="Defer"):
        validate_pool(pool(order(action="Defer")))


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "soon", ""])
@pytest.mark.parametrize("field", ["acceptedBefore", "deferredBefore"])
def test_a_moment_that_is_in_no_calendar_is_refused_by_the_operator_too(field: str, text: str) -> None:
    with pytest.raises(ValidationError):
        RelayPoolSpec.model_validate(pool(order(match={"credential": "a", field: text})))


@pytest.mark.parametrize(
    ("field", "text", "good"),
    [
        ("recipientDomain", "example.com", True),
        ("recipientDomain", "xn--bcher-kva.example", True),
        ("recipientDomain", "Example.com", False),
        ("recipientDomain", "@example.com", False),
        ("recipientDomain", "*.example.com", False),
        ("senderDomain", "example.com.", False),
        ("sender", "<>", True),
        ("sender", "Bob+news@Example.com", True),
        ("sender", "bob@xn--bcher-kva.example", True),
        ("sender", "@example.com", False),
        ("sender", "<bob@example.com>", False),
        ("sender", "bob@example", False),
        ("acceptedBefore", "2026-11-28T16:00:00Z", True),
        ("acceptedBefore", "2026-11-28T16:00:00+01:00", False),
        ("acceptedBefore", "2026-11-28", False),
        ("deferredBefore", "2026-11-28T16:00:00Z", True),
        ("deferredBefore", "now", False),
    ],
)
def test_the_api_server_takes_what_can_match_and_names_field_and_cure_for_what_cannot(
    field: str, text: str, good: bool
) -> None:
    (stated,) = match_schema()["properties"][field]["x-kubernetes-validations"]
    (pattern,) = re.findall(r"self\.matches\('(.*?)'\)", stated["rule"])
    assert bool(re.search(pattern, text)) is good
    assert f"match.{field} must be" in stated["message"]
    assert "such as" in stated["message"]


def test_a_rule_that_would_mean_all_mail_is_refused_in_words_that_help() -> None:
    messages = [each["message"] for each in match_schema()["x-kubernetes-validations"]]
    assert messages == [
        "match must not mean all mail: set recipientDomain, sender, senderDomain or credential",
        "match.sender has its domain already: remove match.sender or match.senderDomain",
    ]
    assert any("match.credential of deliveryRules is one of authSecretRef" in each["message"] for each in CRD_RULES)
