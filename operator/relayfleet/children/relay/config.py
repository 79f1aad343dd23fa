"""The ConfigMap that tells the relays what they are, and how a RelayPool becomes the document in it.

Its content is no part of the pod template: relays read it again when it changes, so that no change of it restarts one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from relayfleet.api import dkim, relaypool, service
from relayfleet.api.meta import seconds, size_in_bytes
from relayfleet.api.sendingip import SendingIPSpec
from relayfleet.children.meta import metadata
from relayfleet.children.relay import deliveryrules, dependencies, names, resolvers, submitters, suppression
from relayfleet.protocol.relay_config import (
    Broker,
    Delivery,
    Drain,
    Limits,
    Listener,
    RelayConfig,
    Retry,
    SigningDomain,
    SigningKey,
    Source,
    dump,
)

FILE = "relay.json"


def document(
    pool: dict[str, Any],
    spec: relaypool.RelayPoolSpec,
    sources: Sequence[tuple[str, SendingIPSpec]],
    broker: Broker,
    region: str,
    *,
    seal: bool = False,
    lanes: bool = False,
    parks: bool = False,
) -> RelayConfig:
    """What the relays of a pool are told. `sources` are the SendingIPs of this region, with their names; `seal`: all relays can open sealed mail; `lanes`: all
    take mail from provider lanes, and the user wants it there; `parks`: the same of parked mail."""
    proxy = spec.service.proxy_protocol
    return RelayConfig(
        pool=f"{pool['metadata']['namespace']}/{pool['metadata']['name']}",
        region=region,
        broker=broker,
        listeners=tuple(_listener(number, each) for number, each in enumerate(spec.listeners)),
        sources=tuple(_source(name, each) for name, each in sorted(sources, key=lambda each: each[0])),
        allowed_networks=tuple(spec.allowed_networks),
        proxy_sources=tuple(proxy.sources) if proxy else (),
        limits=_limits(spec.limits),
        delivery=Delivery(
            sessions_per_destination=spec.delivery.max_sessions_per_destination,
            resolvers=resolvers.told(spec.resolvers),
            lanes=lanes,
            parks=parks,
        ),
        retry=Retry(
            seconds(spec.retry.first), spec.retry.factor_percent, seconds(spec.retry.max), seconds(spec.retry.lifetime)
        ),
        drain=Drain(unlist=names.UNLIST, grace=seconds(spec.drain.grace_period)),
        dkim=tuple(_signing(each) for each in spec.dkim),
        dependencies=dependencies.told(spec.dependencies),
        seal=seal,
        submitters=submitters.told(spec.submitters),
        suppression=suppression.told(spec.suppression_list),
        delivery_rules=deliveryrules.told(spec.delivery_rules),
        submission_limits=submitters.limits(spec.submitters),
        bulk=spec.pool_class == relaypool.BULK,
    )


def queue_prefix(pool: dict[str, Any], region: str) -> str:
    """What the names of the pool's queues begin with. An external broker may serve several clusters, so region and namespace are in it."""
    return f"{queue_space(pool['metadata']['namespace'], region)}{pool['metadata']['name']}"


def queue_space(namespace: str, region: str) -> str:
    """What the names of all queues of the namespace's pools begin with."""
    return f"relayfleet.{region}.{namespace}."


def config_map(pool: dict[str, Any], text: str) -> dict[str, Any]:
    """The ConfigMap that the relays mount; `text` is the dumped document."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(pool, names.of(pool["metadata"]["name"])),
        "data": {FILE: text},
    }


def rendered(config: RelayConfig) -> tuple[str, str]:
    """The document as text, and a short digest of it."""
    text = dump(config)
    return text, hashlib.sha256(text.encode()).hexdigest()[:16]


def _listener(number: int, listener: service.Listener) -> Listener:
    ports = tuple(names.listener_port(number, lane) for lane in range(names.LANES))
    return Listener(listener.name, ports, listener.tls)


def _source(name: str, spec: SendingIPSpec) -> Source:
    return Source(name, spec.address, spec.helo_name, spec.egress.direct.bind_address)


def _signing(stated: dkim.SigningDomain) -> SigningDomain:
    keys = (SigningKey(each.selector, each.secret_ref.name, each.secret_ref.key) for each in stated.keys)
    return SigningDomain(stated.domain, tuple(keys), stated.verify_dns)


def _limits(limits: relaypool.Limits) -> Limits:
    return Limits(
        message_bytes=size_in_bytes(limits.message_size),
        sessions=limits.sessions,
        sessions_per_address=limits.sessions_per_address,
        session_seconds=seconds(limits.session_lifetime),
        session_messages=limits.session_messages,
    )
