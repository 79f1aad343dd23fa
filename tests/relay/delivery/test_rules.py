"""What a person orders for mail that is accepted already: what a receiving server hears of it, what becomes of the record, and what the sender is told."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import DeliveryRule, Retry, RuleTerm, SuppressionEntry
from relayfleet.relay.spool.interface import ClaimRefusedError, Seen, SpoolUnavailable
from relayfleet.relay.spool.record import Recipient
from relayfleet.relay.status import rule_metrics
from relayfleet.relay.suppression.suppression import SuppressionList
from tests.fakes.peer import Peer, peer
from tests.relay.delivery.desk import Desk, a_record, desk, until
from tests.relay.delivery.test_expiry import reports
from tests.relay.delivery.test_signing import ZONE, Receiver
from tests.relay.delivery.test_suppression import recipients

DAY = 86400.0


def rule(action: str, name: str = "incident", **terms: str) -> DeliveryRule:
    return DeliveryRule(name, action, tuple(RuleTerm(what, value) for what, value in terms.items()))


@asynccontextmanager
async def scene(
    *rules: DeliveryRule, suppression: SuppressionList | None = None, retry: Retry | None = None
) -> AsyncIterator[tuple[Desk, Receiver, Peer]]:
    receiver = Receiver()
    async with (
        peer(receiver) as running,
        desk(ZONE, running.port, rules=rules, suppression=suppression, retry=retry) as subject,
    ):
        yield subject, receiver, running


async def test_held_mail_waits_untried_and_goes_when_the_rule_is_removed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scene(rule("Hold", senderDomain="sender.test")) as (subject, _, running):
        record = a_record("bob@one.test")
        await subject.deliver(record)
        assert (running.talks, subject.dns.asked, subject.journal.claims, reports_of(subject)) == ([], [], [], [])
        (waiting,) = subject.spool.delayed
        assert (waiting.record.recipients, waiting.delay) == (record.recipients, 120.0)
        assert subject.fates == {"Held": 1}
        assert (
            f"id={record.id} attempt=0 class=Held reason=HoldByRule from=<a@sender.test> to=<bob@one.test>"
            in caplog.text
        )
        assert "the pool's delivery rule incident holds this mail" in caplog.text
        subject.spool.elapse()
        await until(lambda: subject.fates == {"Held": 2})
        await until(lambda: len(subject.later) == 1)
        assert subject.service.counters.attempts == 0, "a look is no try"
        subject.state()
        subject.spool.elapse()
        await until(lambda: subject.fates.get("Delivered") == 1)
        assert recipients(running) == ["bob@one.test"]
        await until(lambda: subject.spool.held == [])
        assert subject.later == []


async def test_who_is_not_meant_does_not_wait_and_who_is_deferred_waits_by_himself() -> None:
    async with scene(rule("Hold", recipientDomain="two.test")) as (subject, receiver, running):
        receiver.refuse["RCPT TO:<rob"] = b"451 4.2.0 later\r\n"
        await subject.deliver(a_record("bob@one.test", "rob@one.test", "carol@two.test", "dave@two.test"))
        assert recipients(running) == ["bob@one.test", "rob@one.test"]
        apart = {tuple(each.address for each in waiting.recipients): waiting for waiting in subject.later}
        assert set(apart) == {("rob@one.test",), ("carol@two.test", "dave@two.test")}
        assert len({each.key for each in apart.values()}) == 2
        assert apart["carol@two.test", "dave@two.test"].last_answer == ""
        receiver.refuse.clear()
        subject.state()
        subject.spool.elapse()
        await until(lambda: subject.fates.get("Delivered") == 4)
        assert sorted(recipients(running)[2:]) == ["carol@two.test", "dave@two.test", "rob@one.test"]


async def test_a_rule_counts_from_the_next_attempt_on_also_for_mail_that_waits() -> None:
    async with scene() as (subject, receiver, running):
        receiver.refuse["RCPT TO:<bob"] = b"451 4.2.0 later\r\n"
        await subject.deliver(a_record("bob@one.test", credential="news"))
        (waiting,) = subject.later
        subject.state(rule("Hold", credential="news"))
        subject.spool.elapse()
        await until(lambda: subject.fates == {"Transient": 1, "Held": 1})
        await until(lambda: len(subject.later) == 1)
        (held,) = subject.later
        assert (held.last_answer, held.attempt) == (waiting.last_answer, 2)
        assert recipients(running) == ["bob@one.test"]


async def test_no_hold_is_too_long_and_released_mail_has_a_try() -> None:
    accepted = time.time() - 6 * DAY
    async with scene(rule("Hold", credential="news"), retry=Retry()) as (subject, receiver, running):
        await subject.deliver(a_record("bob@one.test", credential="news", accepted_at=accepted))
        assert (len(subject.later), receiver.mails) == (1, [])
        subject.state()
        subject.spool.elapse()
        await until(lambda: subject.fates.get("Delivered") == 1)
        assert recipients(running) == ["bob@one.test"]
        receiver.refuse["RCPT TO:<rob"] = b"451 4.2.0 later\r\n"
        await subject.deliver(a_record("rob@one.test", credential="news", accepted_at=accepted))
        await until(lambda: len(reports(receiver)) == 1)
        assert subject.later == []


async def test_released_mail_that_is_greylisted_at_first_is_tried_once_more() -> None:
    async with scene(rule("Hold", credential="news"), retry=Retry()) as (subject, receiver, running):
        receiver.refuse["RCPT TO:<bob"] = b"450 4.2.0 Greylisted, try again later\r\n"
        await subject.deliver(a_record("bob@one.test", credential="news", accepted_at=time.time() - 6 * DAY))
        subject.state()
        subject.spool.elapse()
        await until(lambda: subject.fates == {"Held": 1, "Transient": 1})
        await until(lambda: len(subject.later) == 1)
        receiver.refuse.clear()
        subject.spool.elapse()
        await until(lambda: subject.fates.get("Delivered") == 1)
        assert recipients(running) == ["bob@one.test"] * 2
        assert reports(receiver) == []


async def test_a_mail_that_its_sender_gave_up_while_it_was_held_is_not_sent_any_more() -> None:
    now = time.time()
    async with scene(rule("Hold", sender="a@sender.test")) as (subject, receiver, running):
        await subject.deliver(a_record("bob@one.test", accepted_at=now - 60, expires_at=now - 1))
        assert (len(subject.later), running.talks) == (1, [])
        subject.state()
        subject.spool.elapse()
        await until(lambda: len(reports(receiver)) == 1)
        assert recipients(running) == []
        assert b"Status: 4.4.7\r\n" in reports(receiver)[0]


async def test_who_is_bounced_is_not_asked_for_and_the_sender_gets_a_report() -> None:
    async with scene(rule("Bounce", "typo", recipientDomain="two.test")) as (subject, receiver, running):
        await subject.deliver(a_record("bob@one.test", "carol@two.test", credential="news"))
        await until(lambda: len(reports(receiver)) == 1)
        assert recipients(running) == ["bob@one.test"]
        assert not any(name == "two.test" for name, _ in subject.dns.asked)
        (report,) = reports(receiver)
        assert b"Final-Recipient: rfc822;carol@two.test\r\nAction: failed\r\nStatus: 5.7.1\r\n" in report
        assert b"the pool's delivery rule typo has ended this mail: it is not tried any more" in report
        assert subject.service.counters.answers["", "BounceByRule"] == 1
        assert (subject.later, subject.journal.purged) == ([], [])


@pytest.mark.parametrize("terms", [{"credential": "news"}, {"recipientDomain": "sender.test"}])
async def test_a_bounce_does_not_end_the_reports_that_it_causes(terms: dict[str, str]) -> None:
    async with scene(rule("Bounce", **terms)) as (subject, receiver, _):
        await subject.deliver(a_record("bob@sender.test", credential="news"))
        await until(lambda: len(reports(receiver)) == 1)
        assert b"Final-Recipient: rfc822;bob@sender.test\r\nAction: failed\r\nStatus: 5.7.1\r\n" in reports(receiver)[0]


async def test_who_asked_for_no_report_gets_none() -> None:
    async with scene(rule("Bounce", senderDomain="sender.test")) as (subject, _, running):
        await subject.deliver(a_record(recipients=(Recipient("bob@one.test", "NEVER"),)))
        assert (running.talks, len(subject.spool.stored)) == ([], 1)


async def test_what_is_purged_ends_without_a_word_to_anybody_but_the_journal_and_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with scene(rule("Purge", "wrong", credential="news", recipientDomain="one.test")) as (subject, _, running):
        record = a_record("bob@one.test", "rob@one.test", "carol@two.test", credential="news")
        await subject.deliver(record, a_record("bob@one.test", credential="shop"))
        assert sorted(recipients(running)) == ["bob@one.test", "carol@two.test"], "that of the other credential"
        assert subject.journal.purged == [(record.key, ("bob@one.test", "rob@one.test"), "wrong")]
        assert len(subject.spool.stored) == 2, "no successor, no report"
        assert subject.fates == {"Purged": 2, "Delivered": 2}
        assert (
            f"id={record.id} attempt=0 class=Purged reason=PurgeByRule from=<a@sender.test> to=<bob@one.test>,<rob@one.test>"
            in caplog.text
        )
        told = {
            each.name: [(sample.labels, sample.value) for sample in each.samples]
            for each in rule_metrics(subject.service)
        }
        assert told["relayfleet_relay_delivery_rules"] == [({}, 1)]
        assert told["relayfleet_relay_ruled"] == [({"rule": "wrong", "action": "Purge"}, 2)]


async def test_a_purge_that_the_journal_does_not_take_yet_is_stated_again() -> None:
    async with scene(rule("Purge", credential="news")) as (subject, _, running):
        subject.journal.fail_purges.append(SpoolUnavailable("away"))
        record = a_record("bob@one.test", credential="news")
        await subject.deliver(record)
        assert subject.journal.purged == [(record.key, ("bob@one.test",), "incident")]
        assert (subject.fates, running.talks) == ({"Purged": 1}, [])


async def test_a_record_that_is_with_others_is_not_purged_here() -> None:
    async with scene(rule("Purge", credential="news")) as (subject, _, _):
        subject.journal.fail_purges.append(ClaimRefusedError("with others"))
        await subject.deliver(a_record("bob@one.test", credential="news"))
        await until(lambda: subject.fates == {"Purged": 1})
        assert subject.service.counters.records_released == 1, "it went back, and was purged when it came again"


async def test_a_copy_of_what_was_purged_is_dropped_after_the_rule_is_gone() -> None:
    async with scene() as (subject, _, running):
        record = a_record("bob@one.test")
        subject.journal.known[record.key] = Seen(delivered=frozenset({"bob@one.test"}))
        await subject.deliver(record)
        assert (running.talks, subject.service.counters.duplicates_dropped) == ([], 1)


async def test_rules_are_asked_before_the_suppression_list_which_may_be_away(tmp_path: Path) -> None:
    missing = SuppressionList(tmp_path, [SuppressionEntry("bounced", "addresses.txt")])
    rules = (rule("Purge", "p", recipientDomain="one.test"), rule("Hold", "h", recipientDomain="two.test"))
    async with scene(*rules, suppression=missing) as (subject, _, running):
        await subject.deliver(a_record("bob@one.test", "carol@two.test"))
        assert (subject.fates, running.talks) == ({"Purged": 1, "Held": 1}, [])


async def test_who_is_listed_and_held_is_reported_when_he_is_released(tmp_path: Path) -> None:
    (tmp_path / "bounced").mkdir()
    (tmp_path / "bounced" / "a.txt").write_text("bob@one.test")
    listed = SuppressionList(tmp_path, [SuppressionEntry("bounced", "a.txt")])
    await listed.read()
    async with scene(rule("Hold", recipientDomain="one.test"), suppression=listed) as (subject, receiver, running):
        await subject.deliver(a_record("bob@one.test"))
        assert (subject.fates, running.talks) == ({"Held": 1}, [])
        subject.state()
        subject.spool.elapse()
        await until(lambda: len(reports(receiver)) == 1)
        assert subject.fates["Permanent"] == 1
        assert recipients(running) == []


async def test_reports_to_the_senders_of_a_credential_are_meant_with_it() -> None:
    async with scene(rule("Bounce", "b", recipientDomain="one.test")) as (subject, _, running):
        subject.state(
            rule("Bounce", "b", recipientDomain="one.test"), rule("Purge", "p", credential="news", sender="<>")
        )
        await subject.deliver(a_record("bob@one.test", credential="news"))
        await until(lambda: subject.fates == {"Permanent": 1, "Purged": 1})
        assert running.talks == []


def reports_of(subject: Desk) -> list[str]:
    return [each.id for each in subject.spool.stored if not each.sender]
