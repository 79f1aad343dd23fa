"""Durations, sizes and selectors as users write them."""

from __future__ import annotations

import pytest

from relayfleet.api.meta import LabelSelector, field_name, seconds, size_in_bytes


@pytest.mark.parametrize(("text", "expected"), [("250ms", 0.25), ("30s", 30.0), ("1h30m", 5400.0), ("120h", 432000.0)])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "5", "1d", "-1s", "1.5h", "s", "1h 2m"])
def test_what_is_no_duration_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("64Ki", 65536), ("25Mi", 26214400), ("2G", 2_000_000_000), ("1Ti", 2**40)]
)
def test_sizes(text: str, expected: int) -> None:
    assert size_in_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "1.5Gi", "10GB", "-1", "Mi", "1K"])
def test_what_is_no_size_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of bytes"):
        size_in_bytes(text)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"matchLabels": {"pool": "a"}}, True),
        ({"matchLabels": {"pool": "b"}}, False),
        ({"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "pool", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "pool", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "pool", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"pool": "a"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
    ],
)
def test_selectors(selector: dict[str, object], matches: bool) -> None:
    assert LabelSelector.model_validate(selector).matches({"pool": "a"}) is matches


def test_names_are_written_as_kubernetes_does() -> None:
    assert [field_name(each) for each in ("sending_ip_selector", "sending_ips", "ip_families", "queue_ref")] == [
        "sendingIPSelector",
        "sendingIPs",
        "ipFamilies",
        "queueRef",
    ]
