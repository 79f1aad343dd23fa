"""Operator and relay make the same user of the same name and seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.children.rabbitmq import names
from relayfleet.protocol import brokeruser
from relayfleet.relay.files import Files, files_of

SEED = "the password that relays share"


def mounted(root: Path) -> Path:
    folder = root / "broker"
    folder.mkdir()
    (folder / "username").write_text("relay\n")
    (folder / "password").write_text(f"{SEED}\n")
    return root


def test_a_relay_with_a_user_of_its_own_logs_in_as_what_the_operator_makes(tmp_path: Path) -> None:
    files = Files(mounted(tmp_path), broker_user="tx-relay-1")
    assert files.broker_credentials() == (brokeruser.username("tx-relay-1"), brokeruser.password("tx-relay-1", SEED))


def test_a_relay_of_an_older_pod_or_at_somebody_elses_brokers_logs_in_as_its_files_say(tmp_path: Path) -> None:
    assert Files(mounted(tmp_path)).broker_credentials() == ("relay", SEED)


@pytest.mark.parametrize(("value", "user"), [("Own", "a"), ("", ""), ("Shared", ""), (None, "")])
def test_the_pods_environment_says_which(monkeypatch: pytest.MonkeyPatch, value: str | None, user: str) -> None:
    monkeypatch.delenv(brokeruser.VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(brokeruser.VARIABLE, value)
    assert files_of("a").broker_user == user


def test_every_relay_and_every_seed_has_another_password() -> None:
    words = {brokeruser.password(relay, seed) for relay in ("a", "b") for seed in (SEED, "another")}
    assert len(words) == 4


def test_users_of_relays_are_told_from_all_others() -> None:
    assert brokeruser.relay_of(brokeruser.username("tx-relay-1")) == "tx-relay-1"
    assert [brokeruser.relay_of(each) for each in (names.CLIENT_USER, names.ADMIN_USER, "guest")] == [None] * 3
