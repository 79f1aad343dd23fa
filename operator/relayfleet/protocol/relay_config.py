"""The order that tells a relay what it is: one JSON document, written by the operator, read by the relay.

It reaches the relay as a mounted file and is read again when it changes, so a relay that restarts while the operator is
gone goes on with its last orders. A relay ignores fields that it does not know (a newer operator wrote them) and uses the
default of those that are missing (an older one did), so operator and relays can be of different versions.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from relayfleet.protocol.dependency import Dependency

VERSION = 1
"""Raised only when an old relay would misread the document; adding a field with a default does not raise it."""

TlsMode = Literal["None", "StartTLS", "Implicit"]


class ConfigError(ValueError):
    """The document cannot be used; the text says which field and why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One SMTP service of the pool; `ports` holds a port a weight lane (one for equal weights)."""

    name: str
    ports: tuple[int, ...]
    tls: TlsMode = "StartTLS"


@dataclass(frozen=True, slots=True)
class Source:
    """A SendingIP as the relay uses it. `bind_address` None: the pod's own address is the source."""

    name: str
    address: str
    helo_name: str
    bind_address: str | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """Where accepted mail rests. `addresses` are host:port, in order of preference; seconds and bytes throughout."""

    addresses: tuple[str, ...]
    tls: bool = True
    server_name: str | None = None
    vhost: str = "/"
    queue_prefix: str = ""
    replicas: int = 3
    publish_timeout: float = 5.0
    quota_bytes: int = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one relay's SMTP service. Times in seconds, sizes in bytes."""

    message_bytes: int = 25 * 1024**2
    recipients: int = 100
    sessions: int = 1000
    sessions_per_address: int = 100
    session_seconds: float = 300.0
    session_messages: int = 100
    command_seconds: float = 300.0
    data_seconds: float = 180.0
    memory_bytes: int = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class Delivery:
    """How mail leaves. `port` is the remote SMTP port; `resolvers` empty: the pod's /etc/resolv.conf. `sessions_per_destination`: at most, from
    each source. `lanes`: all relays of the pool take from provider lanes, so mail goes there. `parks`: mail for a destination that nobody reaches is parked."""

    port: int = 25
    sessions_per_destination: int = 20
    messages_per_session: int = 100
    prefetch: int = 200
    resolvers: tuple[str, ...] = ()
    lanes: bool = False
    parks: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """When a deferred mail is tried again: `first` seconds, then each wait `factor_percent` of the last, up to `longest`."""

    first: float = 60.0
    factor_percent: int = 200
    longest: float = 14400.0
    lifetime: float = 432000.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A DKIM key: its selector, and the file with it, by the name of the Secret and of the entry in it."""

    selector: str
    secret: str
    entry: str


@dataclass(frozen=True, slots=True)
class SigningDomain:
    """A domain (A-labels, lower case) whose mail is signed. `verify_dns`: of the keys of one algorithm by the first that is in DNS; else, and where
    an older operator said nothing, by each of the keys."""

    domain: str
    keys: tuple[SigningKey, ...]
    verify_dns: bool = False


@dataclass(frozen=True, slots=True)
class SuppressionEntry:
    """A file of the suppression list, by the name of the Secret and of the entry in it."""

    secret: str
    entry: str


@dataclass(frozen=True, slots=True)
class Submitter:
    """A credential that may send for these domains (A-labels, lower case) and what is below them, and for no others."""

    name: str
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubmissionLimit:
    """How many recipients a credential may submit mail for, at all relays of the pool together: in a minute, and in a day (UTC). None: no limit. Not a
    part of `Submitter`: to a relay that knows no limits an entry there without domains would mean that none is allowed."""

    credential: str
    per_minute: int | None = None
    per_day: int | None = None


@dataclass(frozen=True, slots=True)
class RuleTerm:
    """`what` of a mail (recipientDomain, sender, senderDomain, credential) is this value; acceptedBefore: it was accepted before that. Domains are A-labels
    in lower case, the null sender is `<>`, times are of RFC 3339."""

    what: str
    value: str


@dataclass(frozen=True, slots=True)
class DeliveryRule:
    """What becomes of accepted mail for which all terms hold: Hold, Bounce or Purge. Text and no Literal, as in the terms: a relay passes over a rule
    that has a word which it does not know, and reads the rest of the document."""

    name: str
    action: str
    terms: tuple[RuleTerm, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Shutdown: new sessions are still served for `unlist` seconds, then what is open has `grace` seconds to finish."""

    unlist: float = 3.0
    grace: float = 60.0


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Everything that a relay is told. `pool` is namespace/name; networks are CIDRs. `seal`: all relays of the pool can open sealed records,
    so mail is sealed before it is stored. `bulk`: the relay takes what the brokers have left."""

    pool: str
    region: str
    broker: Broker
    listeners: tuple[Listener, ...]
    sources: tuple[Source, ...] = ()
    allowed_networks: tuple[str, ...] = ()
    proxy_sources: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    delivery: Delivery = field(default_factory=Delivery)
    retry: Retry = field(default_factory=Retry)
    drain: Drain = field(default_factory=Drain)
    dkim: tuple[SigningDomain, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    seal: bool = False
    submitters: tuple[Submitter, ...] = ()
    suppression: tuple[SuppressionEntry, ...] = ()
    delivery_rules: tuple[DeliveryRule, ...] = ()
    submission_limits: tuple[SubmissionLimit, ...] = ()
    bulk: bool = False
    version: int = VERSION


def dump(config: RelayConfig) -> str:
    """The document as JSON with sorted keys, so that equal configurations give equal texts."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True, indent=1)


def load(text: str) -> RelayConfig:
    """Read a document. Raises ConfigError when it is no JSON, of a newer VERSION, lacks a field, or a field has the wrong type."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"relay configuration is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError("relay configuration must be a JSON object")
    if document.get("version", VERSION) > VERSION:
        raise ConfigError(
            f"relay configuration has version {document['version']}, this relay reads up to {VERSION}: update the relay's image"
        )
    config: RelayConfig = _build(RelayConfig, document, "")
    return config


T = TypeVar("T")


def _build(kind: type[T], document: dict[str, Any], path: str) -> T:
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for each in dataclasses.fields(kind):  # type: ignore[arg-type]
        where = f"{path}.{each.name}".lstrip(".")
        if each.name in document:
            values[each.name] = _value(hints[each.name], document[each.name], where)
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise ConfigError(f"relay configuration lacks {where}")
    return kind(**values)


def _value(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value, path)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], each, f"{path}[{index}]") for index, each in enumerate(value))
    if origin is Literal and value in arguments:
        return value
    if origin is types.UnionType:
        return None if value is None else _value(arguments[0], value, path)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise ConfigError(f"relay configuration: {path} is {value!r}, which is not {getattr(hint, '__name__', hint)}")
