"""Tables survive the way to the wire and back; hostile ones cost bounded work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode as other_decode
from pamqp import encode as other_encode

from relayfleet.amqp.errors import MalformedFrame
from relayfleet.amqp.fields import DEPTH, Reader, long_string, short_string, table

NAMES = st.text(max_size=30)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=50)
    | st.binary(max_size=50)
    | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_a_table_comes_back_as_it_was(values: dict[str, Any]) -> None:
    assert Reader(table(values)).table() == values


@given(st.binary(max_size=300))
def test_any_bytes_give_a_table_or_an_error(data: bytes) -> None:
    try:
        Reader(long_string(data)).table()
    except MalformedFrame:
        return


@pytest.mark.parametrize(
    "values",
    [
        {"x-queue-type": "quorum", "x-message-ttl": 60000, "x-delivery-limit": -1},
        {"capabilities": {"basic.nack": True, "other": False}, "list": ["a", 1, None], "half": 0.5},
    ],
)
def test_an_independent_codec_reads_our_tables_and_we_read_its(values: dict[str, Any]) -> None:
    assert other_decode.field_table(table(values))[1] == values
    assert Reader(other_encode.field_table(values)).table() == values


def test_tables_nested_too_deep_are_refused() -> None:
    values: dict[str, Any] = {}
    for _ in range(DEPTH + 2):
        values = {"a": values}
    with pytest.raises(MalformedFrame, match="nested"):
        Reader(table(values)).table()


def test_a_short_string_over_255_bytes_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        short_string("x" * 256)
