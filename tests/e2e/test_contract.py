"""The API server refuses what makes no sense, in words that name the field and the cure, and fills in what was left out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.e2e.api import ApiError, Object
from tests.e2e.region import Region
from tests.testbed.clusters import kubectl

pytestmark = pytest.mark.usefixtures("installed_fleet")

QUEUE = {"kind": "QueueCluster", "spec": {"type": "RabbitMQ"}}
IP = {"kind": "SendingIP", "spec": {"address": "203.0.113.1", "region": "eu", "heloName": "a.example.com"}}
POOL = {
    "kind": "RelayPool",
    "spec": {
        "queueRef": {"name": "mail"},
        "sendingIPSelector": {"matchLabels": {"pool": "a"}},
        "authSecretRef": {"name": "submitters"},
        "tlsSecretRef": {"name": "smtp-tls"},
    },
}
ORDER: dict[str, Any] = {"name": "incident", "match": {"credential": "news"}, "action": "Hold"}
WHOLE_MATCH = {
    "recipientDomain": "example.org",
    "sender": "News@example.com",
    "credential": "news",
    "acceptedBefore": "2026-11-28T16:00:00Z",
}
KEY = {"selector": "s1", "secretRef": {"name": "dkim"}}
ED25519 = {"selector": "s2", "secretRef": {"name": "dkim", "key": "ed25519.pem"}}
DATABASE = {"address": "db:5432", "database": "mail", "credentialsSecretRef": {"name": "asker"}}
EXTERNAL: dict[str, Any] = {
    "kind": "QueueCluster",
    "spec": {"type": "External", "external": {"addresses": ["b:5671"], "credentialsRef": {"name": "x"}}},
}


def manifest(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with changes by path (`a.b`); None removes."""
    obj = copy.deepcopy(base)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = obj["spec"]
        for each in parents:
            node = node.setdefault(each, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return {
        "apiVersion": "relayfleet.io/v1alpha1",
        "metadata": {"name": "contract-test", "namespace": "default"},
        **obj,
    }


def nested(changes: dict[str, Any]) -> dict[str, Any]:
    """Values by dotted path as a merge patch; None removes."""
    patch: dict[str, Any] = {}
    for path, value in changes.items():
        *parents, last = path.split(".")
        node = patch
        for each in parents:
            node = node.setdefault(each, {})
        node[last] = value
    return patch


async def offer(region: Region, obj: Object) -> Object:
    """The object as it would be stored. ApiError: it would not, with the API server's words."""
    return await region.api.create(obj, dry_run=True)


@pytest.mark.parametrize(
    ("base", "changes", "says"),
    [
        (POOL, {"authSecretRef": None}, "nobody could send: set authSecretRef or allowedNetworks"),
        (POOL, {"tlsSecretRef": None}, "listeners with tls StartTLS or Implicit need tlsSecretRef"),
        (POOL, {"queueRef": None}, "spec.queueRef: Required value"),
        (
            POOL,
            {"allowedNetworks": ["192.0.2.0/24"], "service.externalTrafficPolicy": "Cluster"},
            "everybody could send",
        ),
        (POOL, {"allowedNetworks": ["192.0.2.0"]}, "allowedNetworks must be networks such as 192.0.2.0/24"),
        (POOL, {"allowedNetworks": ["192.0.2.0/24", "192.0.2.0/24"]}, "Duplicate value"),
        (POOL, {"listeners": [{"name": "a", "port": 25}, {"name": "b", "port": 25}]}, "a port of its own"),
        (POOL, {"listeners": [{"name": "a", "port": 25}, {"name": "a", "port": 26}]}, "Duplicate value"),
        (POOL, {"listeners": []}, "should have at least 1 items"),
        (POOL, {"listeners": [{"name": "a", "port": 0}]}, "should be greater than or equal to 1"),
        (POOL, {"listeners": [{"name": "a", "port": 25, "nodePort": 30025}]}, "nodePort needs service.type NodePort"),
        (POOL, {"listeners": [{"name": "a", "port": 25, "tls": "starttls"}]}, "Unsupported value"),
        (POOL, {"service.type": "ExternalName"}, "Unsupported value"),
        (POOL, {"service.proxyProtocol.sources": ["10.0.0.1"]}, "must be networks such as 10.0.0.0/8"),
        (POOL, {"replicas": -1}, "should be greater than or equal to 0"),
        (POOL, {"limits.messageSize": "10"}, "at least 64Ki"),
        (POOL, {"limits.messageSize": "1Gi"}, "at most 100Mi"),
        (POOL, {"limits.messageSize": "1.5Mi"}, "should match"),
        (POOL, {"limits.sessionLifetime": "1s"}, "at least 10s"),
        (POOL, {"drain.gracePeriod": "1d"}, "should match"),
        (POOL, {"drain.gracePeriod": "2h"}, "between 1s and 1h"),
        (POOL, {"quota": "10"}, "quota must be at least 1Mi"),
        (POOL, {"dkim": [{"domain": "Example.com", "keys": [KEY]}]}, "a lower-case domain name such as example.com"),
        (POOL, {"dkim": [{"domain": "a.example", "keys": [KEY]}] * 2}, "Duplicate value"),
        (POOL, {"dkim": [{"domain": "a.example", "keys": []}]}, "should have at least 1 items"),
        (
            POOL,
            {"dkim": [{"domain": "a.example", "keys": [KEY | {"selector": "S_1"}]}]},
            "lower-case DNS labels such as s2026",
        ),
        (
            POOL,
            {"dkim": [{"domain": "a.example", "keys": [KEY, KEY | {"selector": "s2"}]}]},
            "an entry of a Secret each",
        ),
        (POOL, {"dkim": [{"domain": "a.example", "keys": [{"selector": "s1"}]}]}, "secretRef: Required value"),
        (POOL, {"submitters": [{"name": "a", "domains": ["A.test"]}]}, "should match"),
        (POOL, {"submitters": [{"name": "a", "domains": ["a.test"]}] * 2}, "Duplicate value"),
        (POOL, {"submitters": [{"name": "a"}]}, "an entry without limits does nothing: state domains"),
        (POOL, {"submitters": [{"name": "a", "recipientsPerMinute": 0}]}, "should be greater than or equal to 1"),
        (POOL, {"submitters": [{"name": "a", "recipientsPerDay": 10**9}]}, "should be less than or equal to"),
        (
            POOL,
            {"submitters": [{"name": "a", "recipientsPerMinute": 9, "recipientsPerDay": 8}]},
            "recipientsPerMinute above recipientsPerDay is never reached",
        ),
        (
            POOL,
            {
                "submitters": [{"name": "a", "domains": ["a.test"]}],
                "authSecretRef": None,
                "allowedNetworks": ["192.0.2.0/24"],
            },
            "submitters are credentials of authSecretRef",
        ),
        (POOL, {"suppressionList": {"secretRefs": []}}, "should have at least 1 items"),
        (POOL, {"deliveryRules": [ORDER | {"match": {}}]}, "match must not mean all mail: set recipientDomain"),
        (
            POOL,
            {"deliveryRules": [ORDER | {"match": {"acceptedBefore": "2026-11-28T16:00:00Z"}}]},
            "match must not mean all mail",
        ),
        (
            POOL,
            {"deliveryRules": [ORDER | {"match": {"sender": "a@a.test", "senderDomain": "a.test"}}]},
            "remove match.sender or match.senderDomain",
        ),
        (POOL, {"deliveryRules": [ORDER | {"match": {"sender": "@a.test"}}]}, "match.sender must be an address"),
        (
            POOL,
            {"deliveryRules": [ORDER | {"match": {"senderDomain": "A.test"}}]},
            "match.senderDomain must be a lower",
        ),
        (POOL, {"deliveryRules": [ORDER | {"match": {"recipientDomain": "*.test"}}]}, "match.recipientDomain must be"),
        (
            POOL,
            {"deliveryRules": [ORDER | {"match": {"credential": "a", "acceptedBefore": "2026-11-28"}}]},
            "match.acceptedBefore must be a moment in UTC such as",
        ),
        (POOL, {"deliveryRules": [ORDER | {"action": "Defer"}]}, "Unsupported value"),
        (POOL, {"deliveryRules": [ORDER | {"action": "Requeue"}]}, "action Requeue needs match.deferredBefore"),
        (
            POOL,
            {"deliveryRules": [ORDER | {"match": {"credential": "a", "deferredBefore": "2026-11-28T16:00:00Z"}}]},
            "match.deferredBefore is for action Requeue",
        ),
        (
            POOL,
            {"deliveryRules": [ORDER | {"match": {"credential": "a", "deferredBefore": "now"}, "action": "Requeue"}]},
            "match.deferredBefore must be a moment in UTC such as",
        ),
        (POOL, {"deliveryRules": [ORDER, ORDER]}, "Duplicate value"),
        (
            POOL,
            {"deliveryRules": [ORDER], "authSecretRef": None, "allowedNetworks": ["192.0.2.0/24"]},
            "match.credential of deliveryRules is one of authSecretRef",
        ),
        (POOL, {"suppressionList": {"secretRefs": [{"name": "a"}, {"name": "a"}]}}, "Duplicate value"),
        (POOL, {"retry.lifetime": "2881h"}, "retry.lifetime must be at most 2880h"),
        (POOL, {"resolvers": ["192.0.2.53"]}, "one resolver is a single point of failure: name at least two"),
        (POOL, {"resolvers": ["192.0.2.53", "dns.example.com"]}, "resolvers must be IP addresses"),
        (POOL, {"resolvers": ["192.0.2.53", "2001:DB8::53"]}, "resolvers must be IP addresses, written as usual"),
        (POOL, {"resolvers": ["192.0.2.53", "192.0.2.54:53"]}, "resolvers must be IP addresses"),
        (POOL, {"resolvers": ["192.0.2.53", "192.0.2.53"]}, "Duplicate value"),
        (POOL, {"dependencies": [{"name": "d", "type": "TCP"}]}, "type TCP needs its settings: add `tcp`"),
        (POOL, {"dependencies": [{"name": "d", "type": "DNS", "tcp": {"address": "a:1"}}]}, "add `dns`"),
        (
            POOL,
            {"dependencies": [{"name": "d", "type": "TCP", "tcp": {"address": "a:1"}, "http": {"url": "http://a"}}]},
            "`http` is only for type HTTP",
        ),
        (
            POOL,
            {"dependencies": [{"name": "d", "type": "TCP", "tcp": {"address": "a:1"}, "onFailure": "UseBackup"}]},
            "onFailure UseBackup needs another one to use",
        ),
        (
            POOL,
            {"dependencies": [{"name": "d", "type": "TCP", "tcp": {"address": "a:1"}, "timeout": "3s"}]},
            "timeout must not be longer than interval",
        ),
        (POOL, {"dependencies": [{"name": "d", "type": "TCP", "tcp": {"address": "a:1"}}] * 2}, "Duplicate value"),
        (IP, {"address": "mail.example.com"}, "address must be an IP address such as 203.0.113.10"),
        (IP, {"heloName": "localhost"}, "should match"),
        (IP, {"egress.direct.bindAddress": "eth0"}, "bindAddress must be an IP address"),
        (IP, {"egress.type": "Socks5"}, "Unsupported value"),
        (IP, {"region": None}, "spec.region: Required value"),
        (QUEUE, {"rabbitmq.replicas": 2}, "Unsupported value: 2"),
        (QUEUE, {"type": "Kafka"}, 'Unsupported value: "Kafka"'),
        (QUEUE, {"type": "External"}, "type External needs `external`"),
        (QUEUE, {"external": EXTERNAL["spec"]["external"]}, "only for type External"),
        (EXTERNAL, {"rabbitmq": {"replicas": 3}}, "only for type RabbitMQ"),
        (EXTERNAL, {"external.addresses": ["amqp://b:5671"]}, "should match"),
        (QUEUE, {"deletionPolicy": "Keep"}, "Unsupported value"),
        (QUEUE, {"sealing.rotateEvery": "23h"}, "sealing.rotateEvery must be at least 24h"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    us: Region, base: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ApiError) as refused:
        await offer(us, manifest(base, changes))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (POOL, {}),
        (POOL, {"authSecretRef": None, "allowedNetworks": ["192.0.2.0/24", "2001:db8::/32"]}),
        (POOL, {"tlsSecretRef": None, "listeners": [{"name": "in", "port": 25, "tls": "None"}]}),
        (POOL, {"service": {"type": "NodePort"}, "listeners": [{"name": "a", "port": 587, "nodePort": 30587}]}),
        (POOL, {"dkim": [{"domain": "a.example", "keys": [KEY, ED25519]}, {"domain": "b.a.example", "keys": [KEY]}]}),
        (POOL, {"suppressionList": {"secretRefs": [{"name": "a"}, {"name": "a", "key": "b.txt"}, {"name": "b"}]}}),
        (POOL, {"deliveryRules": [ORDER | {"match": WHOLE_MATCH}, {**ORDER, "name": "b", "match": {"sender": "<>"}}]}),
        (
            POOL,
            {
                "deliveryRules": [
                    {
                        "name": "again",
                        "action": "Requeue",
                        "match": WHOLE_MATCH | {"deferredBefore": "2026-11-28T16:00:00Z"},
                    }
                ]
            },
        ),
        (
            POOL,
            {
                "deliveryRules": [ORDER | {"match": {"senderDomain": "a.test"}, "action": "Purge"}],
                "authSecretRef": None,
                "allowedNetworks": ["192.0.2.0/24"],
            },
        ),
        (POOL, {"dependencies": [{"name": "d", "type": "TCP", "tcp": {"address": "a:1"}, "onFailure": "TempFail"}]}),
        (
            POOL,
            {
                "dependencies": [
                    {
                        "name": "d",
                        "type": "PostgreSQL",
                        "postgresql": DATABASE,
                        "onFailure": "UseBackup",
                        "backup": {"postgresql": DATABASE},
                    }
                ]
            },
        ),
        (POOL, {"dependencies": [{"name": "d", "type": "HTTP", "http": {"url": "https://a/x", "tls": {}}}]}),
        (
            POOL,
            {
                "dependencies": [
                    {"name": "d", "type": "DNS", "dns": {"address": "[2001:db8::1]:53", "name": "a.example"}}
                ]
            },
        ),
        (POOL, {"resolvers": []}),
        (POOL, {"resolvers": ["192.0.2.53", "2001:db8::53"]}),
        (IP, {}),
        (IP, {"address": "2001:db8::1", "egress.direct.bindAddress": "192.0.2.7"}),
        (QUEUE, {}),
        (QUEUE, {"rabbitmq.replicas": 5}),
        (EXTERNAL, {}),
    ],
)
async def test_what_makes_sense_is_taken(us: Region, base: dict[str, Any], changes: dict[str, Any]) -> None:
    await offer(us, manifest(base, changes))


async def test_defaults_are_what_runs(us: Region) -> None:
    spec = (await offer(us, manifest(POOL, {})))["spec"]
    assert spec["listeners"] == [{"name": "submission", "port": 587, "tls": "StartTLS"}]
    assert spec["service"] == {"externalTrafficPolicy": "Local", "type": "ClusterIP"}
    assert spec["retry"]["lifetime"] == "120h"


@pytest.mark.parametrize(
    ("base", "before", "after", "says"),
    [
        (QUEUE, {"rabbitmq.replicas": 5}, {"rabbitmq.replicas": 3}, "replicas cannot shrink"),
        (QUEUE, {"rabbitmq.replicas": 5}, {"rabbitmq.replicas": None}, "replicas cannot shrink"),
        (QUEUE, {}, {"rabbitmq.storage.size": "20Gi"}, "storage.size cannot change"),
        (QUEUE, {"rabbitmq.storage.size": "20Gi"}, {"rabbitmq.storage.size": "30Gi"}, "storage.size cannot change"),
        (QUEUE, {"rabbitmq.storage.size": "20Gi"}, {"rabbitmq": None}, "storage.size cannot change"),
        (QUEUE, {}, {"rabbitmq.storage.storageClassName": "fast"}, "storageClassName cannot change"),
        (
            QUEUE,
            {},
            {"type": "External", "external": EXTERNAL["spec"]["external"], "rabbitmq": None},
            "type cannot change",
        ),
        (POOL, {}, {"queueRef.name": "other"}, "queueRef cannot change"),
        (IP, {}, {"address": "203.0.113.2"}, "address cannot change"),
    ],
)
async def test_what_must_not_change_cannot(
    us: Region, base: dict[str, Any], before: dict[str, Any], after: dict[str, Any], says: str
) -> None:
    old = manifest(base, before)
    old["metadata"]["annotations"] = {"relayfleet.io/paused": "true"}
    about = (old["kind"], old["metadata"]["namespace"], old["metadata"]["name"])
    await us.api.create(old)
    try:
        # A patch, not a replacement: that fails when the operator writes the status in the same moment.
        with pytest.raises(ApiError) as refused:
            await us.api.patch(*about, {"spec": nested(after)})
        assert says in str(refused.value)
    finally:
        await us.api.delete(*about)


@pytest.mark.parametrize(
    "field", ["relaypools.spec.retry.lifetime", "queueclusters.spec.deletionPolicy", "sendingips.spec.heloName"]
)
def test_kubectl_explains_fields(field: str) -> None:
    assert "DESCRIPTION:" in kubectl("us", "explain", field)
