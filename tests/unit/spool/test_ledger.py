"""All relays read one order and come to one answer: no recipient is ever granted to two of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.reports.notify import report_id
from relayfleet.relay.spool.interface import Seen
from relayfleet.relay.spool.rabbitmq import ledger
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode, encode
from relayfleet.relay.spool.rabbitmq.ledger import GENERATION, KEEP, Ledger
from relayfleet.relay.spool.record import Recipient, Record

ONE, TWO = "one/1", "two/2"
ENTRIES = st.lists(
    st.builds(
        Entry,
        kind=st.sampled_from(("claim", "outcome", "withdrawal", "purge", "settled")),
        key=st.sampled_from(("k.0", "k.1")),
        recipients=st.lists(st.sampled_from("abc"), unique=True, min_size=1).map(tuple),
        holder=st.sampled_from((ONE, TWO)),
        time=st.just(1000.0),
        number=st.integers(0, 3),
        source=st.text(max_size=10),
        host=st.text(max_size=10),
        delivered=st.booleans(),
        answer=st.text(max_size=20),
    ),
    max_size=30,
)


def claim(holder: str, *recipients: str, key: str = "k.0") -> Entry:
    return Entry("claim", key, recipients, holder, 1000.0, 1)


def withdrawal(holder: str, *recipients: str, number: int = 1) -> Entry:
    return Entry("withdrawal", "k.0", recipients, holder, 1000.0, number)


def purge(holder: str, *recipients: str) -> Entry:
    return Entry("purge", "k.0", recipients, holder, 1000.0, 2, rule="wrong-campaign")


def settled(holder: str, *recipients: str, key: str = "k.0") -> Entry:
    return Entry("settled", key, recipients, holder, 1000.0, 3)


def outcome(holder: str, *recipients: str, delivered: bool, key: str = "k.0") -> Entry:
    return Entry("outcome", key, recipients, holder, 1000.0, 2, delivered=delivered)


@pytest.mark.parametrize(
    ("sentence", "before", "granted"),
    [
        ("nobody said anything", [], True),
        ("another relay holds the claim", [claim(TWO, "a")], False),
        ("we hold it ourselves", [claim(ONE, "a")], True),
        ("it was delivered by another", [claim(TWO, "a"), outcome(TWO, "a", delivered=True)], False),
        ("it was delivered by us", [claim(ONE, "a"), outcome(ONE, "a", delivered=True)], False),
        ("the other side refused it", [claim(TWO, "a"), outcome(TWO, "a", delivered=False)], True),
        ("a rule purged it", [purge(TWO, "a")], False),
        ("it was purged after the other side refused it", [outcome(TWO, "a", delivered=False), purge(TWO, "a")], False),
        ("it was purged after we had claimed it", [claim(ONE, "a"), purge(TWO, "a")], True),
        ("another has put it off", [settled(TWO, "a")], False),
        ("we have put it off", [claim(ONE, "a"), settled(ONE, "a")], False),
        (
            "the other side refused it, and it was put off",
            [outcome(TWO, "a", delivered=False), settled(TWO, "a")],
            False,
        ),
        (
            "it was put off by one, and refused to another that was sending it",
            [claim(TWO, "a"), settled(ONE, "a"), outcome(TWO, "a", delivered=False)],
            False,
        ),
        (
            "it was put off by one, and withdrawn by another",
            [claim(TWO, "a"), settled(ONE, "a"), withdrawal(TWO, "a")],
            False,
        ),
        ("another recipient was put off", [settled(TWO, "b")], True),
        ("an earlier attempt of it was put off", [settled(TWO, "a", key="k.1")], True),
        ("it was withdrawn", [claim(TWO, "a"), withdrawal(TWO, "a")], True),
        ("an earlier claim of the holder was withdrawn", [claim(TWO, "a"), withdrawal(TWO, "a", number=0)], False),
        ("another relay withdrew its own", [claim(TWO, "a"), withdrawal("three/3", "a")], False),
        (
            "it was withdrawn after it was delivered",
            [claim(TWO, "a"), outcome(TWO, "a", delivered=True), withdrawal(TWO, "a")],
            False,
        ),
        ("another recipient is claimed", [claim(TWO, "b")], True),
        ("the same recipient of another attempt is claimed", [claim(TWO, "a", key="k.1")], True),
        ("a claim that was itself refused", [claim(TWO, "a", "b"), claim(TWO, "a")], False),
    ],
)
def test_a_claim_is_granted_when(sentence: str, before: list[Entry], granted: bool) -> None:
    ledger = Ledger()
    for each in before:
        ledger.apply(each, 0.0)
    assert ledger.apply(claim(ONE, "a"), 0.0) is granted, sentence


def test_a_claim_of_several_is_granted_whole_or_leaves_no_trace() -> None:
    ledger = Ledger()
    ledger.apply(claim(TWO, "b"), 0.0)
    assert not ledger.apply(claim(ONE, "a", "b"), 0.0)
    assert ledger.seen("k.0", "ab", TWO) == Seen(uncertain=frozenset("b"))
    assert ledger.apply(claim(TWO, "a"), 0.0)


def test_what_is_seen() -> None:
    ledger = Ledger()
    ledger.apply(claim(ONE, "a", "b", "c"), 0.0)
    ledger.apply(outcome(ONE, "a", delivered=True), 0.0)
    ledger.apply(outcome(ONE, "b", delivered=False), 0.0)
    assert ledger.seen("k.0", "abcd", ONE) == Seen(frozenset("a"), frozenset("c"))
    assert ledger.seen("l.0", "abcd") == Seen()


def test_who_went_on_is_seen_under_the_copys_own_name_until_somebody_delivers() -> None:
    """Its successor is another copy, which is still to be tried."""
    ledger = Ledger()
    ledger.apply(claim(TWO, "a"), 0.0)
    ledger.apply(settled(ONE, "a", "b"), 0.0)
    assert ledger.seen("k.0", "abc") == Seen(settled=frozenset("ab"))
    assert ledger.seen("k.1", "abc") == Seen()
    ledger.apply(outcome(TWO, "a", delivered=True), 0.0)
    assert ledger.seen("k.0", "abc") == Seen(frozenset("a"), settled=frozenset("b"))
    assert ledger.seen("k.1", "abc") == Seen(frozenset("a"))
    ledger.apply(settled(ONE, "a"), 0.0)
    assert ledger.seen("k.0", "a") == Seen(frozenset("a"))


def test_whose_claim_it_is_that_stands_open() -> None:
    ledger = Ledger()
    ledger.apply(claim(ONE, "a"), 0.0)
    ledger.apply(claim(TWO, "b"), 0.0)
    assert ledger.seen("k.0", "abc", ONE) == Seen(uncertain=frozenset("ab"), elsewhere=frozenset("b"))
    assert ledger.seen("k.0", "a", "three/3") == Seen(uncertain=frozenset("a"), elsewhere=frozenset("a"))


def cut_back(*before: Entry) -> Ledger:
    """What is left of the stream has nothing of these."""
    old = Ledger()
    for each in before:
        old.apply(each, 0.0)
    return Ledger(old, 0.0)


def test_what_was_known_before_the_stream_was_cut_back_is_still_known() -> None:
    ledger = cut_back(
        claim(ONE, "a", "b", "c", "d"), outcome(ONE, "a", delivered=True), outcome(ONE, "b", delivered=False)
    )
    known = Seen(frozenset("a"), uncertain=frozenset("cd"))
    assert ledger.seen("k.0", "abcd", ONE) == known
    assert ledger.seen("k.0", "abcd", TWO) == Seen(frozenset("a"), frozenset("cd"), frozenset("cd"))
    ledger.apply(outcome(ONE, "c", delivered=True), 0.0)
    ledger.apply(withdrawal(ONE, "d"), 0.0)
    assert ledger.seen("k.0", "abcd", ONE) == Seen(frozenset("ac"))


def test_that_a_copy_was_settled_is_known_although_the_rest_of_the_stream_has_less() -> None:
    rest = [claim(ONE, "a"), outcome(ONE, "a", delivered=False)]
    ledger = cut_back(*rest, settled(ONE, "a"))
    for each in rest:
        ledger.apply(each, 0.0)
    assert ledger.seen("k.0", "a") == Seen(settled=frozenset("a"))


def test_cut_back_often_it_keeps_two_memories_and_no_more() -> None:
    ledger = cut_back(outcome(ONE, "a", delivered=True))
    for number in range(5):
        ledger.apply(outcome(ONE, f"b{number}", delivered=True), number * GENERATION)
        ledger = Ledger(ledger, number * GENERATION)
    names = ["a", *(f"b{number}" for number in range(5))]
    assert ledger.seen("k.0", names) == Seen(frozenset(names))
    assert ledger._before is not None
    assert ledger._before._before is None


def test_claims_go_by_what_is_left_of_the_stream_and_so_all_come_to_the_same_answer() -> None:
    """One reader has read what was cut off, another begins after that."""
    one, other = cut_back(claim(TWO, "a"), outcome(TWO, "b", delivered=True)), Ledger()
    for entry in (claim(ONE, "a"), claim(TWO, "a"), claim(ONE, "b"), withdrawal(TWO, "a"), claim(TWO, "a", "b")):
        assert one.apply(entry, 0.0) is other.apply(entry, 0.0)


def test_what_was_known_before_is_forgotten_in_time() -> None:
    ledger = cut_back(outcome(ONE, "a", delivered=True))
    ledger.apply(claim(ONE, "b"), KEEP)
    assert ledger.seen("k.0", "a") == Seen(frozenset("a"))
    ledger.apply(claim(ONE, "c"), KEEP + 1)
    assert ledger.seen("k.0", "a") == Seen()


def test_a_successor_learns_that_its_twin_was_delivered_under_the_earlier_key() -> None:
    """Two copies: one relay delivers to a, another could not and goes on with a and b under the next key."""
    ledger = Ledger()
    ledger.apply(claim(ONE, "a"), 0.0)
    assert ledger.seen("k.1", "ab") == Seen()
    ledger.apply(outcome(ONE, "a", delivered=True), 0.0)
    assert ledger.seen("k.1", "ab") == Seen(frozenset("a"))
    assert ledger.seen("k.2", "ab") == Seen(frozenset("a"))


def test_a_refusal_or_an_open_claim_under_an_earlier_key_stops_no_successor() -> None:
    ledger = Ledger()
    ledger.apply(claim(ONE, "a", "b"), 0.0)
    ledger.apply(outcome(ONE, "a", delivered=False), 0.0)
    assert ledger.seen("k.1", "ab") == Seen()
    assert ledger.apply(claim(TWO, "a", "b", key="k.1"), 0.0)


def on_the_way(*turns: bool) -> str:
    """The key of the copy that was held (True) or deferred (False) so often."""
    record = Record("k", "", (), b"", attempt=5)
    for held in turns:
        record = replace(record, attempt=record.attempt + 1, part=record.part_after(held=held))
    return record.key


TWINS = {
    "a rule came between two copies": ((True,), (False, True)),
    "one was looked at once more": ((True, True, True), (True, True)),
    "one was released and deferred, the other held": ((True, True, False), (True, True, True)),
}


@pytest.mark.parametrize("sentence", TWINS)
def test_twins_that_were_held_know_of_each_other_whatever_way_they_went(sentence: str) -> None:
    for one, other in itertools.permutations(on_the_way(*turns) for turns in TWINS[sentence]):
        for done in (outcome(ONE, "a", delivered=True, key=one), replace(purge(ONE, "a"), key=one)):
            ledger = Ledger()
            assert ledger.apply(claim(TWO, "b", key=other), 0.0)
            ledger.apply(done, 0.0)
            assert ledger.seen(other, "abc", TWO) == Seen(frozenset("a"), frozenset("b"))
            assert not ledger.apply(claim(TWO, "a", key=other), 0.0)
            assert ledger.apply(claim(TWO, "c", key=other), 0.0)


def test_a_purge_of_one_copy_leaves_the_other_to_who_has_claimed_it() -> None:
    ledger = Ledger()
    ledger.apply(claim(TWO, "a"), 0.0)
    ledger.apply(purge(ONE, "a"), 0.0)
    assert ledger.seen("k.1", "a") == Seen(), "the claim stands, and the purge did nothing"


def test_the_report_on_a_mail_is_another_mail() -> None:
    mail = Record("01ABCDEFGH" + 16 * "0", "a", (Recipient("b"),), b"")
    ledger = Ledger()
    ledger.apply(outcome(ONE, "a", delivered=True, key=mail.key), 0.0)
    assert ledger.seen(f"{report_id(mail, [])}.0", "a") == Seen()


@pytest.mark.parametrize("ends", [partial(outcome, delivered=True), settled])
def test_each_recipient_takes_up_one_slot(ends: Callable[..., Entry]) -> None:
    ledger = Ledger()
    for number in range(100):
        ledger.apply(claim(ONE, "a", key=f"{number}.0"), number)
        ledger.apply(ends(ONE, "a", key=f"{number}.0"), number + GENERATION)
    assert sum(len(states) for _, states in ledger._generations) == 100


@given(ENTRIES)
def test_no_recipient_is_granted_to_a_second_relay_before_it_was_refused(entries: list[Entry]) -> None:
    ledger = Ledger()
    holders: dict[tuple[str, str], tuple[str, int]] = {}
    for entry in entries:
        granted = ledger.apply(entry, 0.0)
        for recipient in entry.recipients:
            place = (entry.key, recipient)
            if entry.kind == "outcome" and entry.delivered:
                holders[place] = "delivered", 0
            elif entry.kind == "outcome" or (
                entry.kind == "withdrawal" and holders.get(place) == (entry.holder, entry.number)
            ):
                holders.pop(place, None)
            elif entry.kind == "settled":
                holders.setdefault(place, ("gone on", 0))
            elif entry.kind == "claim" and granted:
                assert holders.get(place, (entry.holder, 0))[0] == entry.holder
                holders[place] = entry.holder, entry.number


@given(ENTRIES)
def test_two_readers_of_one_stream_agree_on_every_claim(entries: list[Entry]) -> None:
    one, two = Ledger(), Ledger()
    assert [one.apply(each, 0.0) for each in entries] == [two.apply(each, 0.0) for each in entries]


def test_what_was_said_is_known_for_as_long_as_promised_and_then_forgotten() -> None:
    ledger = Ledger()
    ledger.apply(claim(ONE, "a"), 0.0)
    time = 0.0
    while time < KEEP - GENERATION:
        time += GENERATION / 3
        ledger.apply(claim(ONE, "x", key=f"other.{time}"), time)
        assert ledger.seen("k.0", "a", ONE) == Seen(uncertain=frozenset("a")), time
    while time < KEEP + 3 * GENERATION:
        time += GENERATION / 3
        ledger.apply(claim(ONE, "x", key=f"other.{time}"), time)
    assert ledger.seen("k.0", "a") == Seen()


@given(ENTRIES)
def test_entries_survive_the_wire(entries: list[Entry]) -> None:
    kept = [replace(each, source="", host="") if each.kind != "claim" else each for each in entries]
    kept = [replace(each, delivered=False, answer="") if each.kind != "outcome" else each for each in kept]
    assert decode(encode(kept)) == kept


@given(st.binary(max_size=200))
def test_lines_that_are_no_entries_are_left_out(data: bytes) -> None:
    assert decode(data) == []


def test_a_line_of_a_newer_relay_does_not_hide_the_others() -> None:
    entry = claim(ONE, "a")
    assert decode(b'["novel","k.0",["a"],"x",1,1]\n' + encode([entry]) + b'\n{"a":1}') == [entry]


def test_a_relay_that_reads_its_hour_in_a_minute_keeps_no_more_than_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST", 1000)
    subject = Ledger()
    for number in range(20_000):
        subject.apply(claim(ONE, "a", key=f"k{number}.0"), now=1.0)
    assert sum(len(states) for _, states in subject._generations) <= 1000


def test_floods_of_what_was_put_off_push_out_nobody_who_has_his_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST", 1000)
    subject = Ledger()
    subject.apply(Entry("outcome", "mail.0", ("a",), ONE, 1000.0, 1, delivered=True), now=1.0)
    for number in range(5000):
        subject.apply(Entry("settled", f"k{number}.0", ("a",), ONE, 1000.0, 1), now=1.0)
    assert subject.seen("mail.0", ["a"]).delivered == {"a"}
    assert sum(len(states) for _, states in subject._generations) <= 1000
