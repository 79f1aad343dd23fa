"""What may be stated about DKIM. The rules are CEL, which the API server runs; their patterns are tried here."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from relayfleet.api.dkim import SigningDomain
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.api.schema import structural
from tests.unit.api.crds import validate_pool

POOL = {"queueRef": {"name": "mail"}, "sendingIPSelector": {"matchLabels": {"pool": "a"}}}


def stated(*keys: dict[str, Any], domain: str = "example.com") -> dict[str, Any]:
    return {"domain": domain, "keys": list(keys)}


def key(selector: str = "s1", name: str = "dkim", **ref: str) -> dict[str, Any]:
    return {"selector": selector, "secretRef": {"name": name, **ref}}


def pattern(*path: str) -> re.Pattern[str]:
    """The pattern in the CEL rule of a field."""
    node = structural(SigningDomain)
    for each in path:
        node = node[each]
    (rule,) = node["x-kubernetes-validations"]
    match = re.fullmatch(r"self\.matches\('(.*)'\)", rule["rule"])
    assert match is not None
    return re.compile(match[1])


DOMAIN = pattern("properties", "domain")
SELECTOR = pattern("properties", "keys", "items", "properties", "selector")


@pytest.mark.parametrize("text", ["example.com", "xn--bcher-kva.example", "a.b-c.d1", "3.example", "x.xn--p1ai"])
def test_domains(text: str) -> None:
    assert DOMAIN.search(text)


@pytest.mark.parametrize(
    "text",
    ["", "com", "Example.com", "bücher.example", "a..b", ".a.b", "a.b.", "-a.b", "a-.b", "a b.c", "a_b.c", "a.b\n"],
)
def test_what_is_no_domain(text: str) -> None:
    # RE2, which CEL uses, has no end of line before a last newline.
    assert not re.compile(DOMAIN.pattern.replace("$", r"\Z")).search(text)


@pytest.mark.parametrize(
    ("text", "fits"), [("s1", True), ("2026.mail", True), ("S1", False), ("a_b", False), ("a.", False)]
)
def test_selectors(text: str, fits: bool) -> None:
    assert bool(SELECTOR.search(text)) is fits


def test_an_entry_has_a_name_by_default() -> None:
    spec = RelayPoolSpec.model_validate(POOL | {"dkim": [stated(key(), key("s2", key="ed.pem"))]})
    assert [each.secret_ref.key for each in spec.dkim[0].keys] == ["private.pem", "ed.pem"]
    validate_pool(spec.as_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(stated(), id="no key"),
        pytest.param(stated(*(key(each, key=f"{each}.pem") for each in "abcde")), id="five keys"),
        pytest.param(stated({"selector": "a"}), id="no Secret"),
        pytest.param(stated(key(key="../tls.key")), id="a path"),
        pytest.param(stated(key(key="..")), id="the folder above"),
        pytest.param(stated(key(name="Upper")), id="no name of a Secret"),
        pytest.param(stated(key(), domain="x" * 254), id="too long"),
    ],
)
def test_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RelayPoolSpec.model_validate(POOL | {"dkim": [wrong]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, structural(SigningDomain))


def test_keys_are_looked_up_in_dns_unless_it_is_said_that_they_are_not() -> None:
    rotating = stated(*(key(each, key=f"{each}.pem") for each in ("rsa2", "rsa1", "ed2", "ed1")))
    spec = RelayPoolSpec.model_validate(
        POOL | {"dkim": [rotating, stated(key(), domain="a.test") | {"verifyDNS": False}]}
    )
    assert [each.verify_dns for each in spec.dkim] == [True, False]
    assert structural(SigningDomain)["properties"]["verifyDNS"]["default"] is True


def test_domains_and_selectors_are_told_apart_by_the_api_server() -> None:
    node = structural(RelayPoolSpec)["properties"]["dkim"]
    assert node["x-kubernetes-list-map-keys"] == ["domain"]
    assert node["items"]["properties"]["keys"]["x-kubernetes-list-map-keys"] == ["selector"]
