"""RelayPool: a fleet of relays that take mail over SMTP, store it in a queue and deliver it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from relayfleet.api.deliveryrules import MOST_RULES, DeliveryRule
from relayfleet.api.dependencies import Dependency
from relayfleet.api.dkim import MOST_DOMAINS, SigningDomain
from relayfleet.api.meta import (
    Cidr,
    Duration,
    IPAddress,
    LabelSelector,
    LocalRef,
    Model,
    Name,
    PodTemplate,
    Quantity,
    Status,
    list_map,
    rule,
    rules,
)
from relayfleet.api.service import Listener, ServiceSettings
from relayfleet.api.submitters import MOST_SUBMITTERS, Submitter
from relayfleet.api.suppression import SuppressionList

MOST_RESOLVERS = 8
BY_PROVIDER = "ByProvider"
"""The one way of provider lanes that there is."""
PARK = "Park"
BULK = "Bulk"


class Limits(Model):
    """Bounds of one relay's SMTP service."""

    message_size: Quantity = Field(
        default="25Mi",
        json_schema_extra=rules(
            rule(
                "quantity(self).compareTo(quantity('64Ki')) >= 0", "limits.messageSize must be at least 64Ki (RFC 5321)"
            ),
            rule(
                "quantity(self).compareTo(quantity('100Mi')) <= 0",
                "limits.messageSize must be at most 100Mi: a record is one broker message",
            ),
        ),
        description="Largest message, announced as SIZE.",
    )
    sessions: int = Field(default=1000, ge=1, le=100_000, description="SMTP sessions at a time in one relay.")
    sessions_per_address: int = Field(
        default=100, ge=1, le=100_000, description="SMTP sessions at a time from one client address."
    )
    session_lifetime: Duration = Field(
        default="5m",
        json_schema_extra=rules(
            rule("duration(self) >= duration('10s')", "limits.sessionLifetime must be at least 10s")
        ),
        description="A session older than this is closed after its mail, so that traffic follows the endpoints.",
    )
    session_messages: int = Field(
        default=100, ge=1, le=1_000_000, description="Mails in one session before it is closed."
    )


class DrainSettings(Model):
    """How a relay leaves."""

    grace_period: Duration = Field(
        default="60s",
        json_schema_extra=rules(
            rule(
                "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
                "drain.gracePeriod must be between 1s and 1h",
            )
        ),
        description="Time for open sessions and deliveries to finish; what is not finished is handed to other relays.",
    )


class DeliverySettings(Model):
    """How mail leaves."""

    max_sessions_per_destination: int = Field(
        default=20,
        ge=1,
        le=100,
        description="SMTP sessions at a time from one relay and one SendingIP to one set of MX hosts, at most. A relay begins with 5 or fewer, opens more while "
        "mail is taken, and fewer when the destination says that it is too much. Reckon with replicas × this number at the destination.",
    )
    provider_lanes: Literal["None", "ByProvider"] = Field(
        default="None",
        description="ByProvider: mail for each of the largest mailbox providers waits in a queue of its own, and all other mail in eight that are shared by "
        "destination, so that a slow provider keeps no mail for others waiting. 17 more queues for the pool. Used once each relay of the pool takes "
        "from them (status.providerLanes); relays from before are replaced for it, once. None: one queue for all; what lanes still hold is delivered.",
    )
    dead_destinations: Literal["Retry", "Park"] = Field(
        default="Retry",
        description="Park: mail for a destination of which no MX host can be reached at any address, for some minutes, is not tried any more but parked; the destination is tried "
        "by itself, about once a minute, and when it answers its mail goes on, few at first. A queue more for the pool, two without provider lanes. Used once each relay of the pool "
        "knows it (status.parking); relays from before are replaced for it, once. Retry: such mail is tried by its retries, as any other; what is parked still is tried within "
        "25 minutes.",
    )


class RetrySettings(Model):
    """When mail that was deferred is tried again."""

    first: Duration = Field(default="1m", description="Wait after the first failure.")
    factor_percent: int = Field(
        default=200, ge=100, le=1000, description="Each wait is this many percent of the one before."
    )
    max: Duration = Field(default="4h", description="Longest wait.")
    lifetime: Duration = Field(
        default="120h",
        json_schema_extra=rules(
            rule(
                "duration(self) <= duration('2880h')",
                "retry.lifetime must be at most 2880h: keys that seal mail are not kept for longer",
            )
        ),
        description="Age at which a mail is given up and its sender gets a report. RFC 5321 asks for 4 to 5 days.",
    )


class HealthSettings(Model):
    """How relays are watched, and how many may be taken out of traffic."""

    interval: Duration = Field(
        default="250ms",
        json_schema_extra=rules(
            rule(
                "duration(self) >= duration('100ms') && duration(self) <= duration('10s')",
                "health.interval must be between 100ms and 10s",
            )
        ),
        description="Time between two probes of a relay by one replica of the operator.",
    )
    timeout: Duration = Field(
        default="500ms",
        json_schema_extra=rules(
            rule(
                "duration(self) >= duration('100ms') && duration(self) <= duration('10s')",
                "health.timeout must be between 100ms and 10s",
            )
        ),
        description="An answer later than this counts as late. Silence counts from the first 30 ms, the more the longer it lasts.",
    )
    max_cordoned: Annotated[str, Field(pattern=r"^(100|[1-9]?[0-9])%$", max_length=4)] = Field(
        default="50%",
        description="Largest share of relays that may get no traffic at all, or little for slowness or errors. A silent relay that is only "
        "passed over while others take mail does not count.",
    )


class RelayPoolSpec(Model):
    """What a user states about a fleet of relays."""

    replicas: int = Field(default=3, ge=0, le=1000, description="Relays in this region.")
    queue_ref: LocalRef = Field(
        json_schema_extra=rules(
            rule(
                "self == oldSelf",
                "queueRef cannot change: mail in the old queue would be left behind. Create another RelayPool",
            )
        ),
        description="The QueueCluster that holds the pool's mail. Cannot change later.",
    )
    pool_class: Literal["Transactional", "Bulk"] = Field(
        default="Transactional",
        validation_alias="class",
        serialization_alias="class",
        description="Bulk: its relays take what the brokers have left. While confirms take 25 ms longer than the shortest of recent minutes, they take in and deliver less at a time, though "
        "never nothing; a mail that finds no place within two seconds gets 451 4.3.2. Mail that is accepted is as safe as any. Relays follow a change within seconds; those from before Bulk are replaced for "
        "it, once. Transactional: waits for nobody.",
    )
    sending_ip_selector: LabelSelector = Field(
        description="Selects the SendingIPs of this namespace that the pool sends by, in turn."
    )
    service: ServiceSettings = Field(default=ServiceSettings(), description="The Service in front of the relays.")
    listeners: list[Listener] = Field(
        default=[Listener(name="submission", port=587)],
        min_length=1,
        max_length=8,
        json_schema_extra={
            **list_map("name"),
            **rules(rule("self.all(a, self.exists_one(b, a.port == b.port))", "each listener needs a port of its own")),
        },
        description="SMTP ports.",
    )
    auth_secret_ref: LocalRef | None = Field(
        default=None,
        description="Secret whose entries hold lines `name:hash` as `htpasswd -B` writes them: who may submit mail.",
    )
    submitters: list[Submitter] = Field(
        default=[],
        max_length=MOST_SUBMITTERS,
        json_schema_extra=list_map("name"),
        description="Credentials of `authSecretRef` that may send for certain domains only, or only so much. One that is not named here may send for all, "
        "without a limit. Clients of `allowedNetworks` that do not authenticate are not held to any of it.",
    )
    tls_secret_ref: LocalRef | None = Field(
        default=None, description="Secret of type kubernetes.io/tls with the relays' certificate."
    )
    allowed_networks: list[Cidr] = Field(
        default=[],
        max_length=64,
        json_schema_extra={
            "x-kubernetes-list-type": "set",
            **rules(rule("self.all(each, isCIDR(each))", "allowedNetworks must be networks such as 192.0.2.0/24")),
        },
        description="Networks whose clients may submit mail without AUTH. Default: none.",
    )
    dkim: list[SigningDomain] = Field(
        default=[],
        max_length=MOST_DOMAINS,
        json_schema_extra=list_map("domain"),
        description="Domains whose mail is signed as it leaves. Mail of one whose key cannot be read waits; mail of others leaves unsigned.",
    )
    suppression_list: SuppressionList | None = Field(
        default=None,
        description="To whom nothing is sent. Asked at each attempt: a recipient that is on it fails for good with 5.7.1, and the sender gets a report. While "
        "it cannot be read the last good one is in use, and mail waits where there is none. Default: everybody may get mail.",
    )
    delivery_rules: list[DeliveryRule] = Field(
        default=[],
        max_length=MOST_RULES,
        json_schema_extra=list_map("name"),
        description="What becomes of accepted mail instead of an attempt, asked at each attempt before all else. Relays follow a change within seconds, "
        "without a restart; waiting mail when its wait is over, or when a Requeue ends that. Of several rules that match, Hold goes before Bounce before Purge, in "
        "whatever order they stand.",
    )
    limits: Limits = Field(default=Limits(), description="Bounds of one relay's SMTP service.")
    quota: Quantity = Field(
        default="2Gi",
        json_schema_extra=rules(rule("quantity(self).compareTo(quantity('1Mi')) >= 0", "quota must be at least 1Mi")),
        description="Mail of this pool in the queue, in bytes, beyond which relays answer 452 to new mail. Keep it well below the brokers' storage.",
    )
    delivery: DeliverySettings = Field(default=DeliverySettings(), description="How mail leaves.")
    retry: RetrySettings = Field(default=RetrySettings(), description="When deferred mail is tried again.")
    drain: DrainSettings = Field(default=DrainSettings(), description="How a relay leaves.")
    health: HealthSettings = Field(default=HealthSettings(), description="When a relay leaves traffic and comes back.")
    dependencies: list[Dependency] = Field(
        default=[],
        max_length=16,
        json_schema_extra=list_map("name"),
        description="What the pool's mail depends on besides queue and destinations: each relay asks for it, and none is blamed for it.",
    )
    resolvers: list[IPAddress] = Field(
        default=[],
        max_length=MOST_RESOLVERS,
        json_schema_extra={
            "x-kubernetes-list-type": "set",
            **rules(
                rule(
                    "self.all(each, isIP(each) && ip.isCanonical(each))",
                    "resolvers must be IP addresses, written as usual: 192.0.2.53 or 2001:db8::53",
                ),
                rule(
                    "size(self) != 1",
                    "one resolver is a single point of failure: name at least two, or none to use the pods' resolv.conf",
                ),
            ),
        },
        description="DNS resolvers (port 53) that relays look up the destinations of mail by, at least two: the first that answers is asked, "
        "and another one as well within half a second. Default: those of the pods' resolv.conf, often only one. All other names are "
        "always looked up by resolv.conf.",
    )
    template: PodTemplate = Field(default=PodTemplate(), description="What the relays' pods look like.")


CRD_RULES = (
    rule(
        "!has(self.submitters) || size(self.submitters) == 0 || has(self.authSecretRef)",
        "submitters are credentials of authSecretRef: set it, or remove them",
    ),
    rule(
        "!has(self.deliveryRules) || self.deliveryRules.all(each, !has(each.match.credential)) || has(self.authSecretRef)",
        "match.credential of deliveryRules is one of authSecretRef: set it, or remove the rule",
    ),
    rule(
        "!has(self.allowedNetworks) || size(self.allowedNetworks) == 0 || self.service.externalTrafficPolicy == 'Local' || has(self.service.proxyProtocol)",
        "allowedNetworks need the clients' real addresses, or everybody could send: set service.externalTrafficPolicy: Local or service.proxyProtocol",
    ),
    rule(
        "self.listeners.all(each, each.tls == 'None') || has(self.tlsSecretRef)",
        "listeners with tls StartTLS or Implicit need tlsSecretRef",
    ),
    rule(
        "has(self.authSecretRef) || (has(self.allowedNetworks) && size(self.allowedNetworks) > 0)",
        "nobody could send: set authSecretRef or allowedNetworks",
    ),
    rule(
        "self.service.type != 'ClusterIP' || self.listeners.all(each, !has(each.nodePort))",
        "nodePort needs service.type NodePort or LoadBalancer",
    ),
)


class CordonedRelay(Model):
    """A relay that is out of traffic, by its evidence or by order."""

    name: Name = Field(description="Name of its pod.")
    level: Literal["SoftCordoned", "HardCordoned"] = Field(
        description="SoftCordoned: new connections only while no other relay takes any. HardCordoned: none."
    )
    reason: str = Field(max_length=64, description="One word for the cause, for programs.")
    message: str = Field(max_length=1024, description="The cause, for people.")


class RelayPoolStatus(Status):
    """What the operator says about it."""

    replicas: int | None = Field(default=None, ge=0, description="Relay pods that exist.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Relays that are listed for traffic.")
    relays: str | None = Field(default=None, description="Relays listed for traffic, of those asked for, as 3/3.")
    selector: str | None = Field(default=None, description="Label selector of the relay pods, for autoscalers.")
    sending_ips: list[Name] = Field(
        default=[],
        max_length=1000,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="SendingIPs that the pool sends by in this region.",
    )
    sealed: bool | None = Field(
        default=None,
        description="Whether mail is encrypted before it is stored. True from the moment on when each relay of the pool can open it.",
    )
    provider_lanes: bool | None = Field(
        default=None,
        description="Whether new mail goes to provider lanes. With delivery.providerLanes ByProvider true from the moment on when each relay of the pool takes mail from them.",
    )
    parking: bool | None = Field(
        default=None,
        description="Whether mail for destinations that are known to be down is parked. With delivery.deadDestinations Park true from the moment on when each relay of the pool knows parked mail.",
    )
    cordoned: list[CordonedRelay] = Field(
        default=[],
        max_length=100,
        json_schema_extra=list_map("name"),
        description="Relays that are out of traffic, and why; the first hundred by name.",
    )
