"""Certificates are renewed in time; mail is never deleted on a guess."""

from __future__ import annotations

import datetime

import pytest

from relayfleet.act.authority import new_authority, new_certificate, read
from relayfleet.decide.queue.farewell import PATIENCE, SETTLING, Orphan, Step, next_step
from relayfleet.decide.queue.renewal import MARGIN, VALIDITY, needs_renewal

NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
HOSTS = ["mail-rabbitmq-0.mail-rabbitmq.mail.svc", "mail-rabbitmq-1.mail-rabbitmq.mail.svc"]
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> tuple[str, str]:
    return new_authority("mail", NOW)


def test_a_fresh_certificate_will_do(authority: tuple[str, str]) -> None:
    certificate, key = new_certificate(*authority, "mail", HOSTS, NOW)
    assert needs_renewal(read(certificate, key, authority[0]), HOSTS, NOW) == ""


def test_a_certificate_is_renewed_a_month_before_it_ends(authority: tuple[str, str]) -> None:
    found = read(*new_certificate(*authority, "mail", HOSTS, NOW), authority[0])
    assert needs_renewal(found, HOSTS, NOW + VALIDITY - MARGIN - DAY) == ""
    assert needs_renewal(found, HOSTS, NOW + VALIDITY - MARGIN + DAY).startswith("it ends on 2027-02-22")


def test_a_new_name_needs_a_new_certificate(authority: tuple[str, str]) -> None:
    found = read(*new_certificate(*authority, "mail", HOSTS[:1], NOW), authority[0])
    assert needs_renewal(found, HOSTS, NOW) == "it lacks names"


def test_a_certificate_of_another_authority_is_replaced(authority: tuple[str, str]) -> None:
    other = new_authority("mail", NOW)
    found = read(*new_certificate(*other, "mail", HOSTS, NOW), authority[0])
    assert needs_renewal(found, HOSTS, NOW) == "it is signed by another authority"


def test_a_key_that_is_another_ones_is_noticed(authority: tuple[str, str]) -> None:
    certificate, _ = new_certificate(*authority, "mail", HOSTS, NOW)
    _, key = new_certificate(*authority, "mail", HOSTS, NOW)
    assert needs_renewal(read(certificate, key, authority[0]), HOSTS, NOW) == "its key is another one"


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_is_replaced(authority: tuple[str, str], text: str) -> None:
    assert needs_renewal(read(text, text, authority[0]), HOSTS, NOW) == "there is none"


FAREWELLS = {
    "empty queues: nothing may come in any more": (Orphan(0, 1.0), Step.LOCK),
    "empty, but counts may be old": (Orphan(0, 2.0, locked=SETTLING - 1), Step.WAIT),
    "empty, and nothing came in for a while: it goes": (Orphan(0, 30.0, locked=SETTLING), Step.REMOVE_ALL),
    "records: relays deliver them": (Orphan(3, 1.0), Step.WAIT),
    "records still there after five minutes stay": (Orphan(3, PATIENCE), Step.KEEP_MAIL),
    "a record that slipped in before the lock stays": (Orphan(1, 1.0, locked=1.0), Step.KEEP_MAIL),
    "brokers that do not answer are waited for": (Orphan(None, 1.0), Step.WAIT),
    "and no guess is made about their mail": (Orphan(None, PATIENCE), Step.KEEP_MAIL),
    "nor after the lock": (Orphan(None, PATIENCE, locked=PATIENCE), Step.KEEP_MAIL),
    "a blink after the lock is waited for": (Orphan(None, 40.0, locked=SETTLING + 1), Step.WAIT),
}


@pytest.mark.parametrize(("orphan", "step"), FAREWELLS.values(), ids=FAREWELLS.keys())
def test_farewell(orphan: Orphan, step: Step) -> None:
    assert next_step(orphan) is step
