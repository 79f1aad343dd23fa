"""Which RabbitMQ is too old, and that the number is the same wherever a user reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.api.queuecluster import ExternalBroker, QueueClusterSpec
from relayfleet.decide.queue.versions import MINIMUM, oldest, why_unsupported

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("version", ["4.0.5", "4.0.10", "4.1.0", "4.2.0-rc.1", "10.0.0", "", "unknown", "4.0", "4.0.x"])
def test_nothing_is_said_of_what_is_new_enough_or_cannot_be_read(version: str) -> None:
    assert why_unsupported(version) == ""


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("4.0.4", "nothing older is tested"),
        ("4.0.0+rc.1", "nothing older"),
        ("3.13.7", "dropped"),
        ("3.9.0", "dropped"),
    ],
)
def test_what_is_too_old_is_told_with_the_risk_and_the_cure(version: str, words: str) -> None:
    why = why_unsupported(version)
    assert why.startswith(f"RabbitMQ {version} ") and MINIMUM in why and words in why and "upgrade" in why


def test_the_oldest_is_found_by_number_and_not_by_letter() -> None:
    assert oldest(["4.0.10", "4.0.9", "", "what"]) == "4.0.9"
    assert oldest(["", "what"]) == ""


def test_users_read_the_same_number_everywhere() -> None:
    fields = QueueClusterSpec.model_fields
    for text in (fields["external"].description, fields["template"].description, ExternalBroker.__doc__):
        assert text and f"RabbitMQ {MINIMUM} or later" in text
    readme = (ROOT / "README.md").read_text()
    assert f"RabbitMQ {MINIMUM} or later" in readme
