"""The zone says what its table promises, by a parser that this project did not write."""

from __future__ import annotations

import dns.rdatatype
import dns.zone
import pytest

from tests.sink.zone import DOMAIN, HOSTS, zone

ADDRESSES = {host: f"198.18.0.{number}" for number, host in enumerate(HOSTS, 1)}

EXCHANGERS: dict[str, list[str]] = {
    "@": ["10 mx1", "20 mx2"],
    "equal": ["10 mx1", "10 mx2"],
    "*.isp": ["10 mx1"],
    "second": ["10 mx2"],
    "fallback": ["10 host-dead", "20 mx1"],
    "refusing": ["10 host-refusing", "20 mx1"],
    "dead": ["10 host-dead"],
    "nullmx": ["0 ."],
    "dangling": ["10 nobody"],
    "nomx": [],
    "nodata": [],
}


@pytest.mark.parametrize(("domain", "expected"), EXCHANGERS.items(), ids=EXCHANGERS.keys())
def test_the_exchangers_of(domain: str, expected: list[str]) -> None:
    found = dns.zone.from_text(zone(ADDRESSES), DOMAIN).get_rdataset(domain, dns.rdatatype.MX)
    assert sorted(str(each) for each in found or ()) == expected


@pytest.mark.parametrize(("host", "address"), [("mx1", "mx1"), ("mx2", "mx2"), ("host-dead", "dead"), ("nomx", "mx1")])
def test_the_address_of(host: str, address: str) -> None:
    found = dns.zone.from_text(zone(ADDRESSES), DOMAIN).get_rdataset(host, dns.rdatatype.A)
    assert [str(each) for each in found or ()] == [ADDRESSES[address]]


def test_what_is_not_there_is_not_there() -> None:
    parsed = dns.zone.from_text(zone(ADDRESSES), DOMAIN)
    assert not {"nobody", "nxdomain", "servfail"} & {str(name) for name in parsed.nodes}


def test_long_texts_are_cut_into_strings() -> None:
    text = "v=DKIM1; p=" + "A" * 600
    found = dns.zone.from_text(zone(ADDRESSES, {"s1._domainkey": text}), DOMAIN).get_rdataset("s1._domainkey", "TXT")
    assert found is not None
    (record,) = found
    assert [len(each) for each in record.strings] == [255, 255, 101]
    assert b"".join(record.strings).decode() == text
