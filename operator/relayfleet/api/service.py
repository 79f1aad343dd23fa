"""Where mail comes in: the Service in front of a pool's relays, and its SMTP ports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from relayfleet.api.meta import Cidr, Model, rule, rules


class ProxyProtocol(Model):
    """Balancers that say the client's address by the PROXY protocol, version 1 or 2."""

    sources: list[Cidr] = Field(
        min_length=1,
        max_length=32,
        json_schema_extra={
            "x-kubernetes-list-type": "set",
            **rules(rule("self.all(each, isCIDR(each))", "proxyProtocol.sources must be networks such as 10.0.0.0/8")),
        },
        description="Networks of the balancers. Only connections from there may, and must, begin with a PROXY header.",
    )


class ServiceSettings(Model):
    """The Service in front of the relays. Its endpoints are written by the operator."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the Service."
    )
    external_traffic_policy: Literal["Local", "Cluster"] = Field(
        default="Local",
        description="Local keeps the clients' source addresses; Cluster also reaches nodes without a relay.",
    )
    load_balancer_class: str | None = Field(
        default=None, min_length=1, max_length=253, description="Which balancer implementation serves it."
    )
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default={}, max_length=32, description="Annotations of the Service."
    )
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = Field(
        default=None, description="As in a Service."
    )
    ip_families: list[Literal["IPv4", "IPv6"]] = Field(
        default=[], max_length=2, json_schema_extra={"x-kubernetes-list-type": "atomic"}, description="As in a Service."
    )
    proxy_protocol: ProxyProtocol | None = Field(
        default=None, description="Read the client's address from a PROXY header."
    )


class Listener(Model):
    """One SMTP port of the Service."""

    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=15)] = Field(
        description="Name of the port."
    )
    port: int = Field(ge=1, le=65535, description="Port of the Service.")
    node_port: int | None = Field(
        default=None, ge=1, le=65535, description="Node port for types NodePort and LoadBalancer. Default: any."
    )
    tls: Literal["None", "StartTLS", "Implicit"] = Field(
        default="StartTLS",
        description="StartTLS: offered after EHLO, and AUTH only after it. Implicit: TLS from the first byte. None: no TLS and no AUTH.",
    )
