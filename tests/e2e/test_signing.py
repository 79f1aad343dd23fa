"""A pool that signs: what arrives verifies by an implementation that is not ours, a key that is not in DNS yet is not used, and one of no use
keeps mail back and says so."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator

import pytest

from relayfleet.api.labels import CORDON
from tests.e2e import operating, waiting
from tests.e2e.api import Object
from tests.e2e.fleet import USER, Fleet
from tests.e2e.mailing import greets, send_from_inside
from tests.e2e.objects import relay_pool
from tests.e2e.region import Region
from tests.e2e.signing import KEY_RECORDS
from tests.sink.client import Line, SinkClient
from tests.sink.zone import DOMAIN
from tests.unit.signing.keys import ed25519_key, pem, rsa_key
from tests.unit.signing.oracle import verified

MAIL = "From: sender@{domain}\r\nTo: {to}\r\nSubject: signed\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{to}>\r\n\r\nhello\r\n"
LACKS = 30.0 + operating.TAKEOVER
"""Seconds until a Secret that is missing is named: the kubelet tells it by an event, which the operator reads from a pod's third second on, each five."""
SAID = 60.0
"""Seconds until the status has what a relay says of a key."""
MOUNTED = 180.0
"""Seconds until relays are Ready after a Secret is there: the kubelet tries a mount again after up to twice the time that it has failed for, two minutes
and two seconds at most; then they start."""
KEPT, SIGNED = "kept@example.test", "signed@example.test"
PUBLISHED = {f"{name}.{DOMAIN}": text.encode() for name, text in KEY_RECORDS.items()}


def keys(namespace: str, name: str) -> Object:
    contents = {
        "rsa.pem": pem(rsa_key()),
        "ed.pem": pem(ed25519_key()),
        "next.pem": pem(rsa_key(number=1)),
        "broken.pem": b"no key\n",
    }
    data = {entry: base64.b64encode(content).decode() for entry, content in contents.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "data": data,
    }


@pytest.fixture
async def pool(eu: Region, fleet: Fleet) -> AsyncIterator[Object]:
    """One relay that signs for example.test, by a next key as soon as that is in DNS, and would for broken.test if it had a key."""
    name = f"signing-{secrets.token_hex(2)}"
    domains = [
        {
            "domain": "example.test",
            "keys": [
                {"selector": "next", "secretRef": {"name": name, "key": "next.pem"}},
                {"selector": "rsa1", "secretRef": {"name": name, "key": "rsa.pem"}},
                {"selector": "ed1", "secretRef": {"name": name, "key": "ed.pem"}},
            ],
        },
        {
            "domain": "broken.test",
            "keys": [{"selector": "s1", "secretRef": {"name": name, "key": "broken.pem"}}],
            "verifyDNS": False,
        },
    ]
    selector = {"matchLabels": {"pool": fleet.pool}}
    # Kept in traffic whatever busy cores do: Degraded names one reason, and a relay that is passed over comes before a key.
    kept = {"annotations": {CORDON: "None"}}
    wanted = relay_pool(fleet.namespace, name, fleet.queue, 1, sendingIPSelector=selector, dkim=domains, template=kept)
    secret = keys(fleet.namespace, name)
    try:
        await eu.apply(wanted)
        await waiting.condition(eu.api, wanted, "Ready", "False", LACKS, "SecretNotFound")
        await eu.apply(secret)
        await waiting.ready(eu.api, wanted, budget=MOUNTED)
        yield wanted
    finally:
        await eu.api.delete("RelayPool", fleet.namespace, name)
        await eu.api.delete("Secret", fleet.namespace, name)


def of_this_pool(message: Line) -> bool:
    """Mail of this test: what an earlier one sent may be tried again late, ten minutes after its outcome was in doubt."""
    return not {each["address"] for each in message["recipients"]}.isdisjoint((KEPT, SIGNED))


async def test_signatures_verify_and_mail_without_its_key_waits(
    eu: Region, fleet: Fleet, pool: Object, sink: SinkClient
) -> None:
    signing = Fleet(fleet.namespace, pool["metadata"]["name"], fleet.queue).inside
    await greets(eu, fleet.namespace, signing)
    for domain, to in (("broken.test", KEPT), ("example.test", SIGNED)):
        text = MAIL.format(domain=domain, to=to).encode()
        await send_from_inside(eu, fleet.namespace, signing, USER, [to], text)
    [record] = await sink.wait_for(1, 30, of_this_pool)
    assert [each["address"] for each in record["recipients"]] == [SIGNED]
    assert verified(await sink.raw(record["n"]), PUBLISHED) == [True, True]
    found = await waiting.condition(eu.api, pool, "Degraded", "True", SAID, "SigningKeyUnavailable")
    [said] = [each["message"] for each in found["status"]["conditions"] if each["type"] == "Degraded"]
    assert "broken.pem" in said
    await asyncio.sleep(2)
    assert len([each for each in await sink.messages() if of_this_pool(each)]) == 1
