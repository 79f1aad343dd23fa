"""The document of sealing keys: what is written is read, anything else is refused without a word of its contents."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.sealing import Key, SealingError, current, dump, load

TIMES = st.integers(0, 2**40)
KEYS = st.builds(
    Key, st.binary(min_size=8, max_size=8).map(bytes.hex), st.binary(min_size=32, max_size=32), TIMES, TIMES | st.none()
)
ROW = {"id": "0" * 16, "secret": base64.b64encode(bytes(32)).decode(), "made": 1, "since": None}


@given(st.lists(KEYS, min_size=1, max_size=9, unique_by=lambda each: each.id))
def test_what_is_written_is_read(keys: list[Key]) -> None:
    assert set(load(dump(keys))) == set(keys)


@given(st.text(max_size=200))
def test_any_text_gives_keys_or_an_error(text: str) -> None:
    with contextlib.suppress(SealingError):
        load(text)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [ROW, ROW],
        [ROW | {"id": "short"}],
        [ROW | {"id": 7}],
        [ROW | {"secret": base64.b64encode(bytes(16)).decode()}],
        [ROW | {"secret": "no base64!"}],
        [ROW | {"made": "yesterday"}],
        [ROW | {"since": 1.5}],
        [{}],
        ["row"],
        None,
    ],
)
def test_a_document_that_is_not_whole_is_refused_as_a_whole(rows: Any) -> None:
    with pytest.raises(SealingError):
        load(json.dumps({"keys": rows}))


def test_neither_errors_nor_logs_quote_a_secret() -> None:
    secret = base64.b64encode(b"s" * 31).decode()
    with pytest.raises(SealingError) as caught:
        load(json.dumps({"keys": [ROW | {"secret": secret}]}))
    assert secret not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert "ssss" not in repr(Key("0" * 16, b"s" * 32, 1))


def test_the_key_that_came_into_use_last_seals() -> None:
    first, second, coming = (Key(str(n) * 16, bytes(32), n, since) for n, since in ((1, 5), (2, 9), (3, None)))
    assert current([second, coming, first]) == second
    assert current([coming]) is None
