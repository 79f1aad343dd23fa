"""What a pool's mail depends on besides queue and destinations: databases and services that each relay asks for itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from relayfleet.api.meta import Duration, LocalRef, Model, Name, rule, rules

_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
Address = Annotated[str, Field(pattern=rf"^{_HOST}:{_PORT}$", max_length=262)]
"""`host:port` or `[v6]:port`."""
Url = Annotated[str, Field(pattern=rf"^https?://{_HOST}(:{_PORT})?(/[!$-~]*)?$", max_length=1024)]
"""Without user, password and fragment, in ASCII: it goes into a request as it is."""

DomainName = Annotated[
    str, Field(pattern=r"^(\.|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)$", min_length=1, max_length=253)
]

KINDS = {"TCP": "tcp", "HTTP": "http", "PostgreSQL": "postgresql", "DNS": "dns"}
"""The field that holds the settings of each type."""


def _checked(*each: dict[str, str]) -> ConfigDict:
    extra: dict[str, Any] = rules(*each)
    return ConfigDict(json_schema_extra=extra)


class DependencyTLS(Model):
    """How relays check a dependency's certificate."""

    ca_secret_ref: LocalRef | None = Field(
        default=None,
        description="Secret with key `ca.crt`: the authorities that relays trust. Default: the public ones.",
    )
    server_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Name that the certificate must have. Default: the host that is connected to.",
    )


class TcpTarget(Model):
    """A port that takes connections."""

    address: Address = Field(description="Where to connect, as host:port.")


class HttpTarget(Model):
    """A URL that answers GET with a status from 200 to 399. Redirects are not followed."""

    model_config = _checked(
        rule(
            "!has(self.tls) || self.url.startsWith('https://')",
            "http.tls is only for URLs that begin with https://: remove it or change the URL",
        )
    )

    url: Url = Field(description="What to get, such as http://accounts.example.com/healthz.")
    tls: DependencyTLS | None = Field(
        default=None, description="How the certificate is checked. Default: by the public authorities."
    )


class PostgreSQLTarget(Model):
    """A database that answers a query."""

    address: Address = Field(description="Where to connect, as host:port.")
    database: str = Field(min_length=1, max_length=63, description="Name of the database.")
    credentials_secret_ref: LocalRef = Field(
        description="Secret with keys `username` and `password`. Relays read it again when it changes."
    )
    query: str = Field(
        default="SELECT 1", min_length=1, max_length=1024, description="What is asked; one row of the answer is read."
    )
    tls: DependencyTLS | None = Field(default=None, description="Use TLS. Default: a plain connection.")


class DnsTarget(Model):
    """A name server that answers a question: that a name does not exist is an answer, SERVFAIL and REFUSED are none."""

    address: Address = Field(description="Whom to ask, as host:port; by UDP, and by TCP when the answer is long.")
    name: DomainName = Field(description="The name that is asked for.")
    record_type: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = Field(
        default="A", description="The type of record that is asked for."
    )


class Backup(Model):
    """What counts when the first does not answer: settings of the dependency's own type."""

    tcp: TcpTarget | None = Field(default=None, description="Settings for type TCP.")
    http: HttpTarget | None = Field(default=None, description="Settings for type HTTP.")
    postgresql: PostgreSQLTarget | None = Field(default=None, description="Settings for type PostgreSQL.")
    dns: DnsTarget | None = Field(default=None, description="Settings for type DNS.")


class Dependency(Model):
    """Something that each relay asks for itself, and what relays do when it does not answer."""

    model_config = _checked(
        *(
            each
            for type_, field in KINDS.items()
            for each in (
                rule(f"self.type != '{type_}' || has(self.{field})", f"type {type_} needs its settings: add `{field}`"),
                rule(
                    f"self.type == '{type_}' || !has(self.{field})",
                    f"`{field}` is only for type {type_}: remove it or set type: {type_}",
                ),
                rule(
                    f"!has(self.backup) || (self.type == '{type_}') == has(self.backup.{field})",
                    "`backup` must hold the settings of the dependency's own type and no others: `tcp`, `http`, `postgresql` or `dns`",
                ),
            )
        ),
        rule(
            "self.onFailure != 'UseBackup' || has(self.backup)",
            "onFailure UseBackup needs another one to use: add `backup`",
        ),
        rule(
            "self.onFailure == 'UseBackup' || !has(self.backup)",
            "`backup` is only for onFailure UseBackup: remove it or set onFailure: UseBackup",
        ),
        rule(
            "duration(self.timeout) <= duration(self.interval)",
            "timeout must not be longer than interval: raise interval or lower timeout",
        ),
    )

    name: Name = Field(description="Name of the dependency, said to clients and in conditions.")
    type: Literal["TCP", "HTTP", "PostgreSQL", "DNS"] = Field(
        description="TCP: a port takes connections. HTTP: a URL answers. PostgreSQL: a query is answered. "
        "DNS: a question is answered."
    )
    tcp: TcpTarget | None = Field(default=None, description="Settings for type TCP.")
    http: HttpTarget | None = Field(default=None, description="Settings for type HTTP.")
    postgresql: PostgreSQLTarget | None = Field(default=None, description="Settings for type PostgreSQL.")
    dns: DnsTarget | None = Field(default=None, description="Settings for type DNS.")
    interval: Duration = Field(
        default="2s",
        json_schema_extra=rules(
            rule(
                "duration(self) >= duration('100ms') && duration(self) <= duration('5m')",
                "interval of a dependency must be between 100ms and 5m",
            )
        ),
        description="Time between two probes by one relay. After a failure the next ones follow at once.",
    )
    timeout: Duration = Field(
        default="500ms",
        json_schema_extra=rules(
            rule(
                "duration(self) >= duration('50ms') && duration(self) <= duration('30s')",
                "timeout of a dependency must be between 50ms and 30s",
            )
        ),
        description="Deadline of each probe, from the look-up of the name to the answer.",
    )
    on_failure: Literal["Report", "TempFail", "UseBackup"] = Field(
        default="Report",
        description="What a relay does that gets no answers. Report: it tells. TempFail: it also answers 451 to new mail. UseBackup: the "
        "answers of `backup` count, and new mail gets 451 when there are none either. Mail that is in the queue is delivered all the same.",
    )
    backup: Backup | None = Field(default=None, description="Settings for onFailure UseBackup.")
