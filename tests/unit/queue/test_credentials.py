"""What becomes of a queue's Secrets."""

from __future__ import annotations

import pytest

from relayfleet.decide.queue.credentials import ADMIN_KEYS, Step, admin, client, lost

WHOLE = {key: f"some {key}" for key in ADMIN_KEYS}
OTHER = {key: f"other {key}" for key in ADMIN_KEYS}
PART = WHOLE | {"erlang-cookie": ""}

CASES = {
    "a new queue gets a new Secret": (None, None, False, Step.GENERATE),
    "a Secret that is there is kept": (WHOLE, None, False, Step.KEEP),
    "a Secret that is there is kept beside brokers": (WHOLE, None, True, Step.KEEP),
    "a Secret of an earlier resource is adopted with its volumes": (WHOLE, None, True, Step.KEEP),
    "a deleted Secret is restored by a leader that remembers it": (None, WHOLE, True, Step.RESTORE),
    "so is one that was deleted before any broker came": (None, WHOLE, False, Step.RESTORE),
    "an edited Secret is restored": (OTHER, WHOLE, True, Step.RESTORE),
    "a Secret that lost a key is restored": (PART, WHOLE, True, Step.RESTORE),
    "an unchanged Secret is kept": (WHOLE, WHOLE, True, Step.KEEP),
    "a deleted Secret that nobody remembers is lost, never made anew": (None, None, True, Step.LOST),
    "one without a key that nobody remembers is lost": (PART, None, True, Step.LOST),
    "a Secret that somebody began to write is not written over": (PART, None, False, Step.LOST),
}


@pytest.mark.parametrize(("found", "remembered", "made_before", "step"), CASES.values(), ids=CASES.keys())
def test_admin_secret(
    found: dict[str, str] | None, remembered: dict[str, str] | None, made_before: bool, step: Step
) -> None:
    decision = admin(found, remembered, made_before)
    assert decision.step is step
    if step is Step.RESTORE:
        assert decision.data == WHOLE


def test_lost_credentials_name_what_is_missing_and_the_way_out() -> None:
    decision = admin(PART, None, made_before=True)
    message = lost("mail-rabbitmq-admin", decision.missing, "mail-rabbitmq", "relayfleet.io/queue=mail")
    assert decision.missing == ("erlang-cookie",)
    assert "lacks erlang-cookie" in message
    assert "restore it from a backup" in message


def test_a_deleted_client_secret_gets_a_new_password() -> None:
    assert client(None, "relay", "fresh", "CA") == {"username": "relay", "password": "fresh", "ca.crt": "CA"}


def test_a_password_that_somebody_wrote_stays_and_the_rest_is_put_right() -> None:
    found = {"username": "other", "password": "chosen", "ca.crt": "old"}
    assert client(found, "relay", "fresh", "CA") == {"username": "relay", "password": "chosen", "ca.crt": "CA"}
