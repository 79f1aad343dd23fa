"""Who may send by an address, and what its SendingIP says about it."""

from __future__ import annotations

import itertools

import pytest

from relayfleet.api.conditions import Reason
from relayfleet.decide.claims import Claim, holder, normalised
from relayfleet.decide.sending import invalid, statements

OLD = Claim("mail", "eu-1", "1", "203.0.113.10", "2026-11-24T12:00:00Z")
YOUNG = Claim("other", "mine", "2", "203.0.113.10", "2026-11-24T12:00:01Z")
ELSEWHERE = Claim("mail", "eu-2", "3", "203.0.113.11", "2026-11-24T11:00:00Z")


def test_the_oldest_claim_holds_whoever_asks_in_whatever_order() -> None:
    for claims in itertools.permutations([OLD, YOUNG, ELSEWHERE]):
        assert holder(YOUNG, claims) == OLD
        assert holder(OLD, claims) == OLD
        assert holder(ELSEWHERE, claims) == ELSEWHERE


def test_of_claims_of_the_same_second_the_first_by_name_holds() -> None:
    twin = Claim("other", "mine", "2", OLD.address, OLD.created)
    assert holder(twin, [OLD]) == holder(OLD, [twin]) == OLD


@pytest.mark.parametrize(
    "spellings",
    [
        pytest.param(("2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8::0001"), id="one IPv6 address"),
        pytest.param(("203.0.113.10", "::ffff:203.0.113.10", " 203.0.113.10"), id="one IPv4 address"),
    ],
)
def test_spellings_of_one_address_are_one_claim(spellings: tuple[str, ...]) -> None:
    assert len({normalised(each) for each in spellings}) == 1


def said(mine: Claim, held_by: Claim, region: str = "eu") -> dict[str, tuple[str, str]]:
    """The conditions in a cluster of region eu."""
    return {each.type: (each.status, each.reason) for each in statements(mine, held_by, region, "eu", ("tx",))}


def test_a_claim_that_holds_is_ready() -> None:
    assert said(OLD, OLD)["Ready"] == ("True", "Claimed")


def test_one_of_another_region_is_ready_and_left_alone() -> None:
    assert said(OLD, OLD, region="us")["Ready"] == ("True", "OtherRegion")


def test_a_younger_claim_is_stalled_and_names_the_holder() -> None:
    conditions = said(YOUNG, OLD)
    assert (conditions["Ready"], conditions["Stalled"]) == (("False", "AddressClaimed"), ("True", "AddressClaimed"))
    claimed = [each.message for each in statements(YOUNG, OLD, "eu", "eu", ()) if each.reason == "AddressClaimed"]
    assert all("mail/eu-1" in message for message in claimed)


def test_every_reason_is_a_word_of_the_contract() -> None:
    every = [*statements(YOUNG, OLD, "eu", "eu", ()), *statements(OLD, OLD, "us", "eu", ()), *invalid("x")]
    assert {each.reason for each in every} <= {str(reason) for reason in Reason}
    assert {each.type for each in every} == {"Ready", "Stalled", "Reconciling", "Degraded"}
