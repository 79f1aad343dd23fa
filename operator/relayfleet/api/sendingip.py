"""SendingIP: one outbound address. Its reputation is earned slowly, so it is a thing of its own and not a pod's accident."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from relayfleet.api.meta import HostName, Model, Name, Status, rule, rules


class DirectEgress(Model):
    """The relay binds an address of its own node or pod."""

    bind_address: str | None = Field(
        default=None,
        max_length=45,
        json_schema_extra=rules(rule("isIP(self)", "bindAddress must be an IP address such as 192.0.2.7")),
        description="The address to bind when connecting. Behind NAT it differs from `address`. Default: the pod's own address.",
    )


class Egress(Model):
    """How mail leaves by this address."""

    type: Literal["Direct"] = Field(default="Direct", description="Direct: relays connect by themselves.")
    direct: DirectEgress = Field(default=DirectEgress(), description="Settings for type Direct.")


class SendingIPSpec(Model):
    """What a user states about an outbound address."""

    address: str = Field(
        max_length=45,
        json_schema_extra=rules(
            rule("isIP(self)", "address must be an IP address such as 203.0.113.10"),
            rule("self == oldSelf", "address cannot change, its reputation is its own: create another SendingIP"),
        ),
        description="The address that the world sees. Claimed cluster-wide by the oldest SendingIP that names it.",
    )
    region: Name = Field(
        description="The region whose relays may use it; the operator of another region leaves it alone."
    )
    helo_name: HostName = Field(
        description="The name said in EHLO. Should be the address's PTR name, which should resolve back to it."
    )
    egress: Egress = Field(default=Egress(), description="How mail leaves by this address.")


class SendingIPStatus(Status):
    """What the operator says about it."""

    pools: list[Name] = Field(
        default=[],
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="RelayPools of this namespace that send by this address.",
    )
