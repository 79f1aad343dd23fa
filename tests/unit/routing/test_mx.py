"""Which hosts are tried for a domain, and in which order."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.mx import domain_of, literal_address, order
from relayfleet.relay.routing.resolver import Exchange

A, B, C = Exchange(10, "a.example"), Exchange(20, "b.example"), Exchange(20, "C.example")
NULL = Exchange(0, "")

ORDERS = {
    "the domain itself stands in when there is no MX": ((), {("example.org",)}),
    "a lower preference comes first": ((B, A), {("a.example", "b.example")}),
    "equal preferences are shuffled": (
        (C, B, A),
        {("a.example", "b.example", "c.example"), ("a.example", "c.example", "b.example")},
    ),
    "a dot beside real exchangers is ignored": ((NULL, A), {("a.example",)}),
    "one host listed twice is tried once": ((A, Exchange(30, "A.example")), {("a.example",)}),
    "exchangers equal to or worse than ourselves are dropped": (
        (A, Exchange(20, "us.example"), B, Exchange(30, "d.example")),
        {("a.example",)},
    ),
}


@pytest.mark.parametrize("case", ORDERS)
def test_order(case: str) -> None:
    exchanges, expected = ORDERS[case]
    seen = {order("example.org", exchanges, {"us.example"}, Random(seed)) for seed in range(50)}
    assert seen == expected


def test_equal_preferences_share_the_load_evenly() -> None:
    random = Random(7)
    first = Counter(order("example.org", (B, C), (), random)[0] for _ in range(2000))
    assert set(first) == {"b.example", "c.example"}
    assert min(first.values()) > 900


REFUSALS = {
    "null MX": ((NULL,), "5.1.10"),
    "several null MX": ((NULL, Exchange(5, "")), "5.1.10"),
    "only ourselves": ((Exchange(10, "us.example"), B), "5.4.6"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_permanent_and_carry_the_code_for_the_report(case: str) -> None:
    exchanges, status = REFUSALS[case]
    with pytest.raises(DnsPermanent) as caught:
        order("example.org", exchanges, {"us.example"}, Random(1))
    assert caught.value.status == status


def test_a_domain_with_hundreds_of_exchangers_costs_ten_tries() -> None:
    many = [Exchange(10, f"mx{number}.example") for number in range(300)]
    assert len(order("example.org", many, (), Random(1))) == 10


DOMAINS = {
    "a@Example.ORG": "example.org",
    "a@example.org.": "example.org",
    '"odd@local"@example.org': "example.org",
    "a@bücher.example": "xn--bcher-kva.example",
    "a@BÜCHER.example": "xn--bcher-kva.example",
    "a@straße.example": "xn--strae-oqa.example",
    "a@under_score.example": "under_score.example",
    "a@[192.0.2.1]": "[192.0.2.1]",
}


@pytest.mark.parametrize("address", DOMAINS)
def test_the_domain_as_it_goes_into_dns(address: str) -> None:
    assert domain_of(address) == DOMAINS[address]


@pytest.mark.parametrize(
    "address", ["a@", "a@x..example", f"a@{'x' * 64}.example", f"a@{'x.' * 130}example", "a@\u2028.example"]
)
def test_what_can_be_no_domain_is_permanent(address: str) -> None:
    with pytest.raises(DnsPermanent) as caught:
        domain_of(address)
    assert caught.value.status == "5.1.2"


def test_address_literals() -> None:
    assert literal_address("example.org") is None
    assert literal_address("[192.0.2.1]") == "192.0.2.1"
    assert literal_address("[ipv6:2001:db8::1]") == "2001:db8::1"
    for broken in ("[192.0.2]", "[2001:db8::1]", "[192.0.2.1", "[ipv6:192.0.2.1]", "[]"):
        with pytest.raises(DnsPermanent):
            literal_address(broken)
