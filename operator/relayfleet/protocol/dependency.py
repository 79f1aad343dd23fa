"""What a relay is told of a dependency: whom to ask, how often, and what follows when nobody answers. Part of the relay's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OnFailure = Literal["Report", "TempFail", "UseBackup"]


@dataclass(frozen=True, slots=True)
class Trust:
    """TLS with a certificate that is checked. `ca_file`: the authorities are in `ca.crt` of the target's folder, else the public ones.
    `server_name` None: the host that is connected to."""

    ca_file: bool = False
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """`address` is host:port."""

    address: str


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """`trust` is of use for https only."""

    url: str
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class PostgreSQLTarget:
    """`address` is host:port; user and password are in the target's folder. `trust` None: no TLS."""

    address: str
    database: str
    query: str = "SELECT 1"
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class DnsTarget:
    """`address` is host:port; `record_type` as in a zone file."""

    address: str
    name: str
    record_type: str = "A"


@dataclass(frozen=True, slots=True)
class Target:
    """One of these is set. Which one it is says what is asked; a relay that knows none of them (it is older) asks nothing."""

    tcp: TcpTarget | None = None
    http: HttpTarget | None = None
    postgresql: PostgreSQLTarget | None = None
    dns: DnsTarget | None = None


@dataclass(frozen=True, slots=True)
class Dependency:
    """`interval` and `timeout` in seconds. `backup` is there exactly for UseBackup."""

    name: str
    target: Target
    interval: float = 2.0
    timeout: float = 0.5
    on_failure: OnFailure = "Report"
    backup: Target | None = None


def folder(name: str, *, backup: bool = False) -> str:
    """The folder of a dependency's files below that of all: a dot is in no name, so no other dependency has this one."""
    return f"{name}.backup" if backup else name
