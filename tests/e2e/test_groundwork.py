"""The ground that the other tests stand on: the world outside is there, and its witnesses see what happens."""

from __future__ import annotations

import pytest

from tests.e2e.mailing import Account, NotAccepted, send_from_inside, send_from_outside
from tests.e2e.receiving import NAMESPACE
from tests.e2e.region import Region
from tests.sink.client import SinkClient

MESSAGE = b"From: s@example.com\r\nX-Test-Id: ground\r\nSubject: x\r\n\r\n.dots\r\n"


async def test_a_mail_from_a_pod_reaches_the_sink_by_its_name_in_dns(
    eu: Region, namespace: str, mail_client: str, sink: SinkClient
) -> None:
    account = Account("mx1.example.test", 25)
    text = await send_from_inside(eu, namespace, account, "s@example.com", ["a@example.test"], MESSAGE)
    [record] = await sink.wait_for(1, 5, lambda each: each["test_id"] == "ground")  # others of before may come late
    assert text == f"2.0.0 stored as {record['n']}"
    assert (record["test_id"], record["tls"]) == ("ground", "TLSv1.3")
    assert await sink.raw(record["n"]) == MESSAGE


async def test_a_refusal_is_told_by_both_clients_in_the_servers_words(
    eu: Region, namespace: str, mail_client: str, sink: SinkClient
) -> None:
    nobody = f"{namespace}@example.test"  # late mail of other tests is not for this one
    await sink.put_rules({"stage": "rcpt", "recipient": nobody, "code": 550, "text": "5.1.1 nobody here"})
    with pytest.raises(NotAccepted, match=r"550 5\.1\.1 nobody here"):
        await send_from_inside(eu, namespace, Account("mx1.example.test", 25), "s@example.com", [nobody], MESSAGE)
    service = await eu.api.get("Service", NAMESPACE, "mx1")
    assert service is not None
    port = next(each["nodePort"] for each in service["spec"]["ports"] if each["name"] == "smtp")
    outside = Account(max((await eu.node_addresses()).values()), port)
    with pytest.raises(NotAccepted, match=r"550 5\.1\.1 nobody here"):
        await send_from_outside(outside, "s@example.com", [nobody], MESSAGE)
    assert len(await sink.deeds()) == 2


ANSWERS = {
    "example.test": "10 mx1.example.test. 20 mx2.example.test.",
    "yahoo.isp.example.test": "10 mx1.example.test.",
    "nullmx.example.test": "0 .",
    "nomx.example.test": "",
    "servfail.example.test": "SERVFAIL",
    "nxdomain.example.test": "NXDOMAIN",
}


async def test_dns_answers_as_the_zone_says(eu: Region, namespace: str, mail_client: str, sink: SinkClient) -> None:
    said = {}
    for domain in ANSWERS:
        answer = await eu.execute(
            namespace, mail_client, "dig", "+nocookie", "+noall", "+answer", "+comments", "MX", domain
        )
        status = answer.partition("status: ")[2].partition(",")[0]
        found = sorted(line.partition("\tMX\t")[2] for line in answer.splitlines() if "\tMX\t" in line)
        said[domain] = " ".join(found) if status == "NOERROR" else status
    assert said == ANSWERS


async def test_both_regions_have_sinks_of_their_own(sinks: dict[str, dict[str, SinkClient]]) -> None:
    """What one is told, no other knows. Not that none has a mail: what another test left may be tried again late."""
    all_ = {f"{region}-{name}": sink for region, own in sinks.items() for name, sink in own.items()}
    assert len({sink.url for sink in all_.values()}) == len(all_) == 4
    for name, sink in all_.items():
        await sink.put_rules({"stage": "rcpt", "recipient": f"{name}@example.test", "code": 550, "text": name})
    told = {name: [each["recipient"] for each in await sink.rules()] for name, sink in all_.items()}
    assert told == {name: [f"{name}@example.test"] for name in all_}
