"""The relay's orders survive a different version on the other side, and say what is wrong with them."""

from __future__ import annotations

import json

import pytest

from relayfleet.protocol.dependency import Dependency, DnsTarget, HttpTarget, PostgreSQLTarget, Target, TcpTarget, Trust
from relayfleet.protocol.relay_config import (
    Broker,
    ConfigError,
    Delivery,
    DeliveryRule,
    Listener,
    RelayConfig,
    RuleTerm,
    SigningDomain,
    SigningKey,
    Source,
    SubmissionLimit,
    SuppressionEntry,
    dump,
    load,
)

CONFIG = RelayConfig(
    pool="mail/transactional",
    region="eu",
    broker=Broker(addresses=("mail-0:5671", "mail-1:5671"), server_name="mail"),
    listeners=(Listener("submission", (2520,)),),
    sources=(Source("eu-1", "203.0.113.10", "eu-1.mail.example.com", "192.0.2.7"),),
    allowed_networks=("192.0.2.0/24",),
    dkim=(SigningDomain("example.com", (SigningKey("s1", "keys", "private.pem"),), verify_dns=True),),
    dependencies=(
        Dependency("port", Target(tcp=TcpTarget("a:1")), 1.0, 0.2, "UseBackup", Target(tcp=TcpTarget("b:1"))),
        Dependency("web", Target(http=HttpTarget("https://a/", Trust(True, "web.example")))),
        Dependency("db", Target(postgresql=PostgreSQLTarget("a:5432", "mail", "SELECT 2")), on_failure="TempFail"),
        Dependency("names", Target(dns=DnsTarget("a:53", "example.com", "MX"))),
    ),
    suppression=(SuppressionEntry("bounced", "addresses.txt"),),
    delivery_rules=(DeliveryRule("wait", "Hold", (RuleTerm("credential", "news"), RuleTerm("sender", "<>"))),),
    submission_limits=(SubmissionLimit("news", 60), SubmissionLimit("shop", None, 5000)),
    delivery=Delivery(resolvers=("192.0.2.53:53", "[2001:db8::53]:53")),
)


def test_what_is_written_is_read() -> None:
    assert load(dump(CONFIG)) == CONFIG


def test_equal_configurations_give_equal_texts() -> None:
    assert dump(CONFIG) == dump(load(dump(CONFIG)))


def test_fields_of_a_newer_operator_are_ignored() -> None:
    document = json.loads(dump(CONFIG)) | {"novelty": {"a": 1}}
    document["broker"]["shards"] = 4
    assert load(json.dumps(document)) == CONFIG


def test_fields_that_an_older_operator_did_not_write_have_defaults() -> None:
    document = json.loads(dump(CONFIG))
    del document["drain"], document["broker"]["quota_bytes"]
    assert load(json.dumps(document)) == CONFIG
    del document["dependencies"]
    assert load(json.dumps(document)).dependencies == ()
    del document["dkim"][0]["verify_dns"]
    assert load(json.dumps(document)).dkim[0].verify_dns is False
    del document["suppression"]
    assert load(json.dumps(document)).suppression == ()
    del document["delivery_rules"]
    assert load(json.dumps(document)).delivery_rules == ()
    del document["submission_limits"]
    assert load(json.dumps(document)).submission_limits == ()


def test_a_rule_with_words_of_a_newer_operator_spoils_nothing() -> None:
    document = json.loads(dump(CONFIG))
    document["delivery_rules"] = [
        {"name": "a", "action": "Defer", "terms": [{"what": "subject", "value": "b"}], "c": 1}
    ]
    assert load(json.dumps(document)).delivery_rules == (DeliveryRule("a", "Defer", (RuleTerm("subject", "b"),)),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pool": None}, "pool is None, which is not str"),
        ({"listeners": [{"name": "a", "ports": ["x"]}]}, r"listeners\[0\].ports\[0\] is 'x', which is not int"),
        ({"listeners": [{"name": "a", "ports": [1], "tls": "Maybe"}]}, r"listeners\[0\].tls"),
        ({"limits": {"recipients": True}}, "limits.recipients"),
        ({"version": 99}, "update the relay's image"),
        ({"broker": {}}, "lacks broker.addresses"),
    ],
)
def test_a_wrong_document_says_what_is_wrong(change: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(json.dumps(json.loads(dump(CONFIG)) | change))


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        load(text)
