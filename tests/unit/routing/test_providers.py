"""Mail of one provider goes to one lane, by whatever is known of its destination."""

from __future__ import annotations

from collections import Counter

import pytest

from relayfleet.relay.routing.errors import DnsTemporary
from relayfleet.relay.routing.lookup import Answer
from relayfleet.relay.routing.providers import LaneFinder, Providers
from relayfleet.relay.routing.resolver import Exchange, Resolver
from relayfleet.relay.spool.places import FRONT, LOOK, NAMED, PLACES, PROVIDER_LANES, leads_to
from relayfleet.relay.spool.record import Recipient

TABLE = Providers()
GOOGLE, MICROSOFT = 0, 1


class Zone:
    """Answers MX questions; what is not in it gets no answer. Counts what is asked."""

    def __init__(self, **exchanges: str) -> None:
        self.exchanges = {name.replace("_", "."): host for name, host in exchanges.items()}
        self.asked: list[str] = []

    async def ask(self, name: str, kind: str) -> Answer:
        self.asked.append(name)
        if name not in self.exchanges:
            raise DnsTemporary("nobody answers")
        return Answer((f"10 {self.exchanges[name]}.",), 60.0)


def finder(**exchanges: str) -> tuple[LaneFinder, Zone, Resolver]:
    zone = Zone(**exchanges)
    resolver = Resolver(zone)
    return LaneFinder(resolver, TABLE), zone, resolver


def to(*domains: str) -> list[Recipient]:
    return [Recipient(f"someone@{each}") for each in domains]


@pytest.mark.parametrize(
    ("domain", "exchanges", "lane"),
    [
        ("gmail.com", None, GOOGLE),
        ("gmail.com", [(5, "gmail-smtp-in.l.google.com")], GOOGLE),
        ("shop.test", [(1, "ASPMX.L.GOOGLE.com"), (5, "alt1.aspmx.l.google.com")], GOOGLE),
        ("shop.test", [(10, "shop-test.mail.protection.outlook.com")], MICROSOFT),
        ("shop.test", [(20, "mx.shop.test"), (10, "mx1.pphosted.com")], 6),
        ("hotmail.com", None, MICROSOFT),
    ],
)
def test_a_provider_is_known_by_a_well_known_domain_and_by_its_best_exchanger(
    domain: str, exchanges: list[tuple[int, str]] | None, lane: int
) -> None:
    assert TABLE.lane(domain, None if exchanges is None else [Exchange(*each) for each in exchanges]) == lane


@pytest.mark.parametrize("host", ["notgoogle.com", "google.com.evil.test", "mx.google.org"])
def test_a_name_that_only_looks_like_a_providers_shares_a_lane(host: str) -> None:
    assert TABLE.lane("shop.test", [Exchange(1, host)]) >= NAMED


def test_domains_with_one_set_of_exchangers_share_a_lane_and_others_are_spread() -> None:
    def hosted(domain: str, *hosts: str) -> int:
        return TABLE.lane(domain, [Exchange(10, each) for each in hosts])

    assert len({hosted(f"{each}.test", "b.hoster.test", "a.hoster.test") for each in range(50)}) == 1
    assert hosted("x.test", "a.hoster.test", "b.hoster.test") == hosted("y.test", "b.hoster.test", "a.hoster.test")
    spread = Counter(TABLE.lane(f"{each}.test", None) for each in range(800))
    assert set(spread) == set(PROVIDER_LANES[NAMED:])
    assert max(spread.values()) < 150
    assert TABLE.lane("none.test", ()) == TABLE.lane("none.test", None)


def test_every_lane_has_a_name_and_every_named_one_a_provider() -> None:
    assert len(set(TABLE.names)) == len(PROVIDER_LANES)
    assert TABLE.names[GOOGLE] == "google"
    assert not any(each.isdigit() for each in TABLE.names)


async def test_at_acceptance_nobody_is_asked_and_what_is_remembered_counts() -> None:
    find, zone, resolver = finder(shop_test="aspmx.l.google.com")
    assert find.at_once(to("shop.test")) == TABLE.lane("shop.test", None)
    assert zone.asked == []
    await resolver.mail_exchangers("shop.test")
    assert find.at_once(to("shop.test", "gmail.com")) == GOOGLE
    assert zone.asked == ["shop.test"]


async def test_at_delivery_dns_is_asked_and_says_nothing_where_it_does_not_answer() -> None:
    find, _, _ = finder(shop_test="aspmx.l.google.com", other_test="mx.other.test")
    assert await find.of(["shop.test", "gmail.com"][:1]) == GOOGLE
    assert await find.of(["shop.test", "other.test"]) is None
    assert await find.of(["silent.test"]) is None
    assert await find.of(["[192.0.2.1]"]) == TABLE.lane("[192.0.2.1]", None)


def test_recipients_of_several_providers_or_of_no_domain_have_no_lane() -> None:
    find, _, _ = finder()
    assert find.at_once(to("gmail.com", "hotmail.com")) is None
    assert find.at_once(to("gmail.com", "..")) is None
    assert find.at_once(to("GMail.com", "googlemail.com.")) == GOOGLE


def test_moves_come_to_an_end_whoever_thinks_what_of_a_record() -> None:
    assert all(leads_to(place, lane) for place in (FRONT, LOOK) for lane in PROVIDER_LANES)
    named, shared = PROVIDER_LANES[:NAMED], PROVIDER_LANES[NAMED:]
    assert all(leads_to(place, lane) for place in shared for lane in named)
    assert not any(leads_to(place, lane) for place in shared for lane in shared)
    assert not any(leads_to(place, lane) for place in named for lane in PROVIDER_LANES)
    assert len(PLACES) == len(set(PLACES)) == 18
