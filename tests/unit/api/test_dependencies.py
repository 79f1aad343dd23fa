"""A declared dependency: what the API server takes, what it refuses, and with which words.

The rules are evaluated here as Python, into which the few words of CEL that they use are translated; the API server itself is asked in
tests/e2e.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import dns.name
import jsonschema
import pytest

from relayfleet.api.dependencies import Dependency
from relayfleet.api.meta import seconds
from relayfleet.api.schema import structural

TCP = {"address": "db.example:5432"}
HTTP = {"url": "http://accounts.example/healthz"}
POSTGRESQL = {"address": "db:5432", "database": "mail", "credentialsSecretRef": {"name": "asker"}}
DNS = {"address": "ns.example:53", "name": "example.com"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "TCP": ("tcp", TCP),
    "HTTP": ("http", HTTP),
    "PostgreSQL": ("postgresql", POSTGRESQL),
    "DNS": ("dns", DNS),
}
SCHEMA = structural(Dependency)


def declared(type_: str = "TCP", **changes: Any) -> dict[str, Any]:
    """With the settings of its type; None removes."""
    field, settings = KINDS[type_]
    whole = {"name": "db", "type": type_, field: settings} | changes
    return {key: value for key, value in whole.items() if value is not None}


def stored(obj: dict[str, Any]) -> dict[str, Any]:
    """With the defaults that the API server fills in."""
    return Dependency.model_validate(obj).as_dict()


class View:
    """An object under the rules: fields by attribute."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value

    def __getattr__(self, name: str) -> Any:
        found = self.value[name]
        return View(found) if isinstance(found, dict) else found


def holds(rule: str, value: Any) -> bool:
    """Whether a CEL rule holds."""
    expression = re.sub(r"has\(self\.([\w.]+)\)", r"has('\1')", rule)
    expression = re.sub(r"!(?!=)", " not ", expression).replace("||", " or ").replace("&&", " and ")
    expression = expression.replace(".startsWith(", ".startswith(")

    def has(path: str) -> bool:
        node = value
        for part in path.split("."):
            if part not in node:
                return False
            node = node[part]
        return True

    scope = {"self": View(value) if isinstance(value, dict) else value, "has": has, "duration": seconds}
    return bool(eval(expression.strip(), {"__builtins__": {}}, scope))


def broken(schema: dict[str, Any], value: Any) -> Iterator[str]:
    """The messages of all rules that do not hold, inner ones too."""
    for each in schema.get("x-kubernetes-validations", []):
        if not holds(each["rule"], value):
            yield each["message"]
    for name, inner in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield from broken(inner, value[name])


def complaints(obj: dict[str, Any]) -> list[str]:
    """What the API server would say."""
    found = [each.message for each in jsonschema.Draft7Validator(SCHEMA).iter_errors(obj)]
    return found or list(broken(SCHEMA, stored(obj)))


@pytest.mark.parametrize("type_", KINDS)
@pytest.mark.parametrize("failure", ["Report", "TempFail", "UseBackup"])
def test_each_type_with_its_own_settings_is_taken(type_: str, failure: str) -> None:
    field, settings = KINDS[type_]
    backup = {field: settings} if failure == "UseBackup" else None
    assert complaints(declared(type_, onFailure=failure, backup=backup)) == []


def test_defaults_are_those_that_are_promised() -> None:
    spec = Dependency.model_validate(declared("PostgreSQL"))
    assert (spec.interval, spec.timeout, spec.on_failure) == ("2s", "500ms", "Report")
    assert spec.postgresql is not None
    assert spec.postgresql.query == "SELECT 1"
    assert spec.postgresql.tls is None
    properties = SCHEMA["properties"]
    assert [properties[name]["default"] for name in ("interval", "timeout", "onFailure")] == ["2s", "500ms", "Report"]


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        (declared(tcp=None), "type TCP needs its settings: add `tcp`"),
        (declared(http=HTTP), "`http` is only for type HTTP: remove it or set type: HTTP"),
        (declared("HTTP", http=None), "add `http`"),
        (declared("PostgreSQL", postgresql=None, tcp=TCP), "add `postgresql`"),
        (declared("DNS", dns=None), "type DNS needs its settings: add `dns`"),
        (declared(dns=DNS), "`dns` is only for type DNS: remove it or set type: DNS"),
        (declared("DNS", onFailure="UseBackup", backup={"tcp": TCP}), "own type and no others"),
        (declared("HTTP", postgresql=POSTGRESQL), "`postgresql` is only for type PostgreSQL"),
        (declared(onFailure="UseBackup"), "onFailure UseBackup needs another one to use: add `backup`"),
        (declared(backup={"tcp": TCP}), "`backup` is only for onFailure UseBackup"),
        (declared(onFailure="TempFail", backup={"tcp": TCP}), "`backup` is only for onFailure UseBackup"),
        (declared(onFailure="UseBackup", backup={}), "`backup` must hold the settings of the dependency's own type"),
        (declared(onFailure="UseBackup", backup={"http": HTTP}), "own type and no others"),
        (declared(onFailure="UseBackup", backup={"tcp": TCP, "http": HTTP}), "own type and no others"),
        (declared(timeout="3s"), "timeout must not be longer than interval: raise interval or lower timeout"),
        (declared(timeout="10ms"), "timeout of a dependency must be between 50ms and 30s"),
        (declared(interval="10m"), "interval of a dependency must be between 100ms and 5m"),
        (declared("HTTP", http=HTTP | {"tls": {}}), "http.tls is only for URLs that begin with https://"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_cure(obj: dict[str, Any], says: str) -> None:
    assert any(says in each for each in complaints(obj)), complaints(obj)


@pytest.mark.parametrize(
    "obj",
    [
        declared(type="UDP"),
        declared(onFailure="Ignore"),
        declared(interval="0.5s"),
        declared(interval=2),
        declared(name="DB"),
        declared(name="db.backup"),
        declared(tcp={"address": "db.example"}),
        declared(tcp={"address": "db.example:0"}),
        declared(tcp={"address": "db.example:65536"}),
        declared(tcp={"address": "tcp://db:1"}),
        declared("HTTP", http={"url": "ftp://a/"}),
        declared("HTTP", http={"url": "http://user:word@a/"}),
        declared("HTTP", http={"url": "http://a/ b"}),
        declared("HTTP", http={"url": "http://a/\r\nX: y"}),
        declared("HTTP", http={"url": "http://a/#part"}),
        declared("HTTP", http={"url": "http://a:99999/"}),
        declared("PostgreSQL", postgresql={"address": "db:5432", "database": "mail"}),
        declared("PostgreSQL", postgresql=POSTGRESQL | {"query": ""}),
        declared("DNS", dns=DNS | {"name": ""}),
        declared("DNS", dns=DNS | {"name": "a..b"}),
        declared("DNS", dns=DNS | {"name": "exa mple.com"}),
        declared("DNS", dns=DNS | {"name": f"{'a' * 64}.com"}),
        declared("DNS", dns=DNS | {"recordType": "ANY"}),
        declared("DNS", dns={"address": "ns.example:53"}),
    ],
    ids=lambda obj: str(list(obj.values())[1:])[:60],
)
def test_what_cannot_be_meant_does_not_fit_the_schema(obj: dict[str, Any]) -> None:
    assert list(jsonschema.Draft7Validator(SCHEMA).iter_errors(obj))


@pytest.mark.parametrize(
    "url", ["http://a", "https://a.b-c:8443/x?y=%20z", "http://[2001:db8::1]:80/", "http://192.0.2.1/~x"]
)
def test_urls_as_they_are_written_are_taken(url: str) -> None:
    assert complaints(declared("HTTP", http={"url": url})) == []


@pytest.mark.parametrize(
    "name", ["example.com", "example.com.", ".", "_dmarc.example.com", "localhost", "xn--bcher-kva.de"]
)
def test_names_as_they_are_in_dns_are_taken_and_can_be_asked_for(name: str) -> None:
    assert complaints(declared("DNS", dns=DNS | {"name": name, "recordType": "TXT"})) == []
    assert dns.name.from_text(name)
