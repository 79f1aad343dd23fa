"""DNS over real sockets: classes of failure, memory, several resolvers, stale answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import dns.message
import dns.name
import dns.rdatatype
import pytest
import uvloop

from relayfleet.relay.control.tally import Tally
from relayfleet.relay.routing import lookup as lookup_module
from relayfleet.relay.routing import resolver as resolver_module
from relayfleet.relay.routing import servers as servers_module
from relayfleet.relay.routing import standings as standings_module
from relayfleet.relay.routing.errors import DnsError, DnsPermanent, DnsTemporary
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.routing.query import query
from relayfleet.relay.routing.resolver import STALE_AFTER, Exchange, Resolver
from relayfleet.relay.routing.router import Router
from relayfleet.relay.routing.servers import parse_servers, servers_to_ask, system_servers, written
from tests.fakes import ports
from tests.fakes.dns import Responder, responder

ZONE = {
    ("example.org", "MX"): ["10 mx1.example.org.", "20 mx2.example.org."],
    ("mx1.example.org", "A"): ["192.0.2.1", "192.0.2.2"],
    ("mx1.example.org", "AAAA"): ["2001:db8::1"],
    ("plain.example", "A"): ["192.0.2.9"],
    ("null.example", "MX"): ["0 ."],
    ("alias.example", "CNAME"): ["example.org"],
    ("bare.example", "TXT"): ['"nothing for mail"'],
}


HEDGE = lookup_module.HEDGE_SECONDS


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server() -> AsyncIterator[Responder]:
    async with responder(ZONE) as running:
        yield running


def resolver(*servers: Responder, clock: Clock | None = None) -> Resolver:
    return Resolver(Lookup([each.address for each in servers]), clock or Clock())


async def test_exchangers_and_addresses_come_as_in_the_zone(server: Responder) -> None:
    subject = resolver(server)
    assert set(await subject.mail_exchangers("example.org")) == {
        Exchange(10, "mx1.example.org"),
        Exchange(20, "mx2.example.org"),
    }
    assert set(await subject.addresses("mx1.example.org")) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    assert await subject.mail_exchangers("null.example") == (Exchange(0, ""),)
    assert await subject.mail_exchangers("plain.example") == ()
    assert set(await subject.mail_exchangers("alias.example")) == {
        Exchange(10, "mx1.example.org"),
        Exchange(20, "mx2.example.org"),
    }


async def test_a_name_that_does_not_exist_is_permanent(server: Responder) -> None:
    with pytest.raises(DnsPermanent) as caught:
        await resolver(server).mail_exchangers("nowhere.example")
    assert caught.value.status == "5.1.2"


@pytest.mark.parametrize("mood", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
async def test_a_resolver_that_cannot_say_is_temporary(server: Responder, mood: str) -> None:
    server.mood = mood
    with pytest.raises(DnsTemporary) as caught:
        await resolver(server).mail_exchangers("example.org")
    assert mood in caught.value.text


async def test_silence_is_temporary(server: Responder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup_module, "LIFETIME_SECONDS", 0.2)
    server.mood = "silent"
    with pytest.raises(DnsTemporary):
        await resolver(server).mail_exchangers("example.org")


async def test_answers_are_remembered_for_their_ttl_positive_and_negative(server: Responder) -> None:
    clock = Clock()
    subject = resolver(server, clock=clock)
    for _ in range(3):
        await subject.mail_exchangers("example.org")
        with pytest.raises(DnsPermanent):
            await subject.mail_exchangers("nowhere.example")
    assert len(server.asked) == 2
    clock.now += 61
    await subject.mail_exchangers("Example.ORG")
    assert server.asked[2:] == [("example.org", "MX")]


async def test_a_failure_is_remembered_for_seconds_only(server: Responder) -> None:
    clock = Clock()
    subject = resolver(server, clock=clock)
    server.mood = "SERVFAIL"
    for _ in range(3):
        with pytest.raises(DnsTemporary):
            await subject.mail_exchangers("example.org")
    assert len(server.asked) == lookup_module.ROUNDS
    server.mood = "answer"
    clock.now += 6
    assert await subject.mail_exchangers("example.org")


async def test_a_hundred_mails_that_want_one_name_ask_once(server: Responder) -> None:
    subject = resolver(server)
    await asyncio.gather(*(subject.mail_exchangers("example.org") for _ in range(100)))
    assert len(server.asked) == 1


async def test_who_gives_up_waiting_does_not_take_the_answer_from_others(server: Responder) -> None:
    server.delay = 0.05
    subject = resolver(server)
    impatient = asyncio.create_task(subject.mail_exchangers("example.org"))
    patient = asyncio.create_task(subject.mail_exchangers("example.org"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert len(await patient) == 2


async def test_stale_answers_carry_on_when_all_resolvers_fail(server: Responder) -> None:
    clock = Clock()
    subject = resolver(server, clock=clock)
    before = await subject.mail_exchangers("example.org")
    server.mood = "SERVFAIL"
    clock.now += 3600
    assert await subject.mail_exchangers("example.org") == before
    assert subject.counters.stale == 1
    clock.now += 2 * 86400
    with pytest.raises(DnsTemporary):
        await subject.mail_exchangers("example.org")


async def test_a_stale_answer_is_given_before_the_question_is_given_up(
    server: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    subject = resolver(server, clock=clock)
    before = await subject.mail_exchangers("example.org")
    server.mood = "silent"
    clock.now += 3600
    monkeypatch.setattr(lookup_module, "LIFETIME_SECONDS", 60.0)
    began = time.monotonic()
    assert await subject.mail_exchangers("example.org") == before
    assert STALE_AFTER * 0.9 < time.monotonic() - began < 20
    monkeypatch.setattr(resolver_module, "STALE_AFTER", 60.0)
    again = time.monotonic()
    assert await subject.mail_exchangers("example.org") == before
    assert time.monotonic() - again < 20, "the next mail does not wait"
    assert subject.counters.stale == 2


async def test_an_answer_that_comes_late_is_remembered_for_the_next_one(server: Responder) -> None:
    clock = Clock()
    subject = resolver(server, clock=clock)
    before = await subject.mail_exchangers("example.org")
    server.records["example.org", "MX"] = ["10 new.example.org."]
    server.delay = STALE_AFTER + 0.3
    clock.now += 3600
    assert await subject.mail_exchangers("example.org") == before
    (late,) = subject._under_way.values()
    await late
    assert await subject.mail_exchangers("example.org") == (Exchange(10, "new.example.org"),)


async def test_a_silent_resolver_is_overtaken_and_then_asked_last(
    server: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with responder(ZONE) as silent:
        silent.mood = "silent"
        subject = resolver(silent, server)
        with monkeypatch.context() as hasty:
            hasty.setattr(lookup_module, "HEDGE_SECONDS", 1.0)
            assert await subject.mail_exchangers("example.org")
        assert len(silent.asked) == 1
        assert await subject.mail_exchangers("null.example")
        assert len(silent.asked) == 1


async def test_a_broken_resolver_is_passed_over_at_once_and_then_asked_last(server: Responder) -> None:
    async with responder(ZONE) as broken:
        broken.mood = "SERVFAIL"
        subject = Lookup([broken.address, server.address])
        began = time.monotonic()
        assert (await subject.ask("example.org", "MX")).values
        assert time.monotonic() - began < lookup_module.HEDGE_SECONDS
        assert subject.standings.order() == [server.address, broken.address]


async def test_a_name_that_no_resolver_can_look_up_is_blamed_on_none_of_them(server: Responder) -> None:
    async with responder(ZONE) as other:
        server.mood = other.mood = "SERVFAIL"
        subject = Lookup([server.address, other.address])
        with pytest.raises(DnsTemporary):
            await subject.ask("broken.example", "MX")
        server.mood = other.mood = "answer"
        assert await subject.ask("example.org", "MX")
        assert subject.standings.trial(1e9) is None
        assert len(other.asked) == lookup_module.ROUNDS


async def test_a_resolver_that_is_not_there_is_passed_over_at_once(server: Responder) -> None:
    async with responder(ZONE, port=ports.unused()[0]) as gone:
        pass
    subject = Lookup([gone.address, server.address])
    began = time.monotonic()
    assert await subject.ask("example.org", "MX")
    assert time.monotonic() - began < lookup_module.HEDGE_SECONDS
    assert subject.standings.order() == [server.address, gone.address]


async def test_a_resolver_that_needs_as_long_as_the_other_one_is_not_blamed(
    server: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name takes a while at both: whoever was asked later answers later."""
    monkeypatch.setattr(lookup_module, "HEDGE_SECONDS", HEDGE)
    async with responder(ZONE) as other:
        server.delay = other.delay = lookup_module.HEDGE_SECONDS * 2
        subject = Lookup([server.address, other.address])
        assert await subject.ask("example.org", "MX")
        assert len(other.asked) == 1
        assert subject.standings.order() == [server.address, other.address]
        assert subject.standings.trial(1e9) is None


async def test_one_that_was_silent_is_tried_beside_others_and_comes_back(
    server: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings_module, "TRIAL_EVERY", 0.02)
    monkeypatch.setattr(lookup_module, "HEDGE_SECONDS", HEDGE)
    async with responder(ZONE) as silent:
        silent.mood = "silent"
        subject = Lookup([silent.address, server.address])
        await subject.ask("example.org", "MX")
        silent.mood = "answer"
        monkeypatch.setattr(lookup_module, "HEDGE_SECONDS", 3.0)  # longer than busy cores take
        async with asyncio.timeout(10):
            while subject.standings.order() != [silent.address, server.address]:
                began = time.monotonic()
                await subject.ask("example.org", "MX")
                assert time.monotonic() - began < lookup_module.HEDGE_SECONDS, "nobody waits for a trial"
                await asyncio.sleep(0.02)
        heard = len(server.asked)
        await subject.ask("example.org", "MX")
        assert len(server.asked) == heard


async def test_a_trial_that_is_not_answered_costs_nothing_and_changes_nothing(
    server: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings_module, "TRIAL_EVERY", 0.02)
    monkeypatch.setattr(lookup_module, "HEDGE_SECONDS", HEDGE)
    async with responder(ZONE) as silent:
        silent.mood = "silent"
        subject = Lookup([silent.address, server.address])
        await subject.ask("example.org", "MX")
        await asyncio.sleep(0.03)
        for _ in range(3):
            await subject.ask("example.org", "MX")
        await asyncio.gather(*subject._trials)
        assert len(silent.asked) > 1
        assert subject.standings.order() == [server.address, silent.address]


async def test_other_resolvers_are_asked_from_the_next_question_on(server: Responder) -> None:
    async with responder(ZONE) as other:
        subject = Lookup([server.address])
        await subject.ask("example.org", "MX")
        subject.reconfigure([other.address])
        await subject.ask("example.org", "MX")
        assert (len(server.asked), len(other.asked)) == (1, 1)
        assert subject.counts == {(written(other.address), True): 1}


async def test_what_is_no_answer_to_the_question_is_passed_over(server: Responder) -> None:
    """Garbage, an answer to another question, one with another number: whatever somebody sends in the server's name."""
    right = server.response

    def wrong_first(query: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        stranger = dns.message.make_response(dns.message.make_query("other.example", "MX"))
        assert server._transport is not None
        for wire in (b"", b"garbage", stranger.to_wire(), query.to_wire()):
            server._transport.sendto(wire, server.last)
        return right(query, name, kind)

    server.response = wrong_first  # type: ignore[method-assign]
    assert (await Lookup([server.address]).ask("example.org", "MX")).values


def test_a_question_that_is_called_off_leaves_no_socket_at_any_moment_of_it() -> None:
    """On uvloop, which leaves the transport of a datagram socket open when its maker is cancelled."""
    name, kind = dns.name.from_text("example.org"), dns.rdatatype.MX

    async def ask_and_call_off(turns: int) -> None:
        async with responder(ZONE) as server:
            before = len(list(Path("/proc/self/fd").iterdir()))
            asking = asyncio.create_task(query(name, kind, server.address, 5.0))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            outcome = await asyncio.gather(asking, return_exceptions=True)
            after = len(list(Path("/proc/self/fd").iterdir()))
            assert after == before, f"called off after {turns} turns of the loop: {outcome}"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for turns in range(8):
            runner.run(ask_and_call_off(turns))


async def test_routes(server: Responder) -> None:
    router = Router(resolver(server), {"MX2.example.org."}, {"192.0.2.2", "192.0.2.9"}, Random(1))
    assert (await router.route("example.org")).hosts == ("mx1.example.org",)
    assert (await router.route("plain.example")).hosts == ("plain.example",)
    assert (await router.route("[192.0.2.7]")).hosts == ("[192.0.2.7]",)
    assert await router.addresses("mx1.example.org", 4) == ("192.0.2.1",)
    assert await router.addresses("mx1.example.org", 6) == ("2001:db8::1",)
    assert await router.addresses("[192.0.2.7]", 4) == ("192.0.2.7",)


ADDRESS_FAILURES: dict[str, tuple[str, int | None, type[DnsError], str]] = {
    "the host has no address": ("bare.example", None, DnsPermanent, "5.4.4"),
    "the host does not exist": ("nowhere.example", None, DnsPermanent, "5.4.4"),
    "the host has no address of this source's family": ("plain.example", 6, DnsTemporary, "4.4.4"),
    "the host's address is our own": ("plain.example", 4, DnsPermanent, "5.4.6"),
}


@pytest.mark.parametrize("case", ADDRESS_FAILURES)
async def test_hosts_without_a_usable_address(server: Responder, case: str) -> None:
    host, family, kind, status = ADDRESS_FAILURES[case]
    router = Router(resolver(server), (), {"192.0.2.9"}, Random(1))
    with pytest.raises(kind) as caught:
        await router.addresses(host, family)
    assert caught.value.status == status


def test_resolver_addresses() -> None:
    assert parse_servers(["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353", "[2001:db8::1]"]) == (
        ("192.0.2.1", 53),
        ("192.0.2.1", 5353),
        ("2001:db8::1", 53),
        ("2001:db8::1", 5353),
        ("2001:db8::1", 53),
    )
    for broken in ("resolver.example", "192.0.2.1:x", ""):
        with pytest.raises(ValueError):
            parse_servers([broken])


def test_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# made by kubelet\nsearch a.svc\nnameserver 198.18.0.10\nnameserver fe80::1%eth0\noptions ndots:5\n"
    )
    assert system_servers(path) == (("198.18.0.10", 53), ("fe80::1%eth0", 53))


def test_no_resolver_at_all_is_said_at_start() -> None:
    with pytest.raises(ValueError, match="no DNS resolver"):
        Lookup([])


def test_named_resolvers_come_before_those_of_the_pod_and_none_at_all_is_said_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 198.18.0.10\n")
    monkeypatch.setattr(servers_module.system_servers, "__defaults__", (path,))
    assert servers_to_ask(["192.0.2.53:53"]) == (("192.0.2.53", 53),)
    assert servers_to_ask(()) == (("198.18.0.10", 53),)
    path.write_text("search a.svc\n")
    with pytest.raises(ValueError, match=r"name two in spec\.resolvers"):
        servers_to_ask(())


def answers(tally: Tally) -> dict[str, tuple[int, int]]:
    """Answered and failed, by resolver."""
    return {each.name: (each.answered, each.failed) for each in tally.take()[2]}


def named(server: Responder) -> str:
    return "{}:{}".format(*server.address)


async def test_a_name_that_does_not_exist_is_an_answer_and_a_failing_resolver_is_none(server: Responder) -> None:
    tally = Tally()
    async with responder(ZONE) as other:
        other.mood = "SERVFAIL"
        lookup = Lookup([other.address, server.address], tally)
        assert not (await lookup.ask("nowhere.example", "MX")).exists
        assert answers(tally) == {named(server): (1, 0), named(other): (0, 1)}


async def test_a_silent_resolver_has_failed_and_one_that_was_overtaken_has_not(
    server: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup_module, "HEDGE_SECONDS", HEDGE)
    tally = Tally()
    async with responder(ZONE) as silent, responder(ZONE) as slow:
        silent.mood = "silent"
        await Lookup([silent.address, server.address], tally).ask("example.org", "MX")
        assert answers(tally) == {named(server): (1, 0), named(silent): (0, 1)}
        server.delay, slow.mood = lookup_module.HEDGE_SECONDS + 0.1, "silent"
        await Lookup([server.address, slow.address], tally).ask("example.org", "MX")
        assert answers(tally) == {named(server): (1, 0)}
