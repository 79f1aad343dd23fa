"""A pool's dependencies as its relays need them: what they are told, the files that they get, and the ports that have to be open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from relayfleet.api import dependencies as api
from relayfleet.api.meta import seconds
from relayfleet.protocol.dependency import (
    Dependency,
    DnsTarget,
    HttpTarget,
    PostgreSQLTarget,
    Target,
    TcpTarget,
    Trust,
    folder,
)

VOLUME = "dependencies"

Settings = api.Dependency | api.Backup
"""Whatever holds the settings of one target."""


def told(declared: Sequence[api.Dependency]) -> tuple[Dependency, ...]:
    """For the relays' configuration."""
    return tuple(
        Dependency(
            each.name,
            _target(each),
            seconds(each.interval),
            seconds(each.timeout),
            each.on_failure,
            _target(each.backup) if each.backup else None,
        )
        for each in declared
    )


def volume(declared: Sequence[api.Dependency]) -> dict[str, Any] | None:
    """The volume with the Secrets that they need, a folder for each target; None when they need none, so that pods of pools without any
    are what they were. A Secret that is missing holds a new pod up, with an event that says which; relays that run go on."""
    sources = [
        {"secret": {"name": secret, "items": [{"key": key, "path": f"{where}/{key}"} for key in keys]}}
        for where, settings in _settings(declared)
        for secret, keys in _secrets(settings)
    ]
    return {"name": VOLUME, "projected": {"sources": sources, "defaultMode": 0o440}} if sources else None


def ports(declared: Sequence[api.Dependency]) -> list[tuple[str, int]]:
    """Protocol and port, each once, in order."""
    found = {("TCP", _port(settings)) for _, settings in _settings(declared)}
    return sorted(found | {("UDP", _port(settings)) for _, settings in _settings(declared) if settings.dns})


def _settings(declared: Sequence[api.Dependency]) -> Iterator[tuple[str, Settings]]:
    """Every target with the folder of its files; in an order that is not the user's, since another order is no other pod."""
    for each in sorted(declared, key=lambda each: each.name):
        yield folder(each.name), each
        if each.backup:
            yield folder(each.name, backup=True), each.backup


def _secrets(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    tls = None
    if settings.postgresql:
        yield settings.postgresql.credentials_secret_ref.name, ("username", "password")
        tls = settings.postgresql.tls
    elif settings.http:
        tls = settings.http.tls
    if tls and tls.ca_secret_ref:
        yield tls.ca_secret_ref.name, ("ca.crt",)


def _target(settings: Settings) -> Target:
    tcp, http, postgresql, dns = settings.tcp, settings.http, settings.postgresql, settings.dns
    return Target(
        TcpTarget(tcp.address) if tcp else None,
        HttpTarget(http.url, _trust(http.tls)) if http else None,
        PostgreSQLTarget(postgresql.address, postgresql.database, postgresql.query, _trust(postgresql.tls))
        if postgresql
        else None,
        DnsTarget(dns.address, dns.name, dns.record_type) if dns else None,
    )


def _trust(tls: api.DependencyTLS | None) -> Trust | None:
    return Trust(tls.ca_secret_ref is not None, tls.server_name) if tls else None


def _port(settings: Settings) -> int:
    if settings.http:
        url = urlsplit(settings.http.url)
        return url.port or (443 if url.scheme == "https" else 80)
    target = settings.tcp or settings.postgresql or settings.dns
    return int(target.address.rpartition(":")[2]) if target else 0
