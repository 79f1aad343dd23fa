"""The words between leader and relay: what is said is understood, also by another version, and what is not said right is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.telemetry import (
    MOST_BYTES,
    MOST_DEPENDENCIES,
    MOST_RESOLVERS,
    MOST_ROWS,
    MOST_UNPUBLISHED,
    MOST_USAGES,
    Attempts,
    Confirms,
    Dependency,
    DependencyState,
    Hello,
    Lookups,
    Order,
    PoolUsage,
    Stand,
    TelemetryError,
    Usage,
    Usages,
    Window,
    Word,
    decode_window,
    decode_word,
    encode,
)

NAMES = st.text(max_size=80)
COUNTS = st.integers(0, 10**9)
AMOUNTS = st.floats(0, 1e9)
ROWS = {
    "attempts": st.builds(Attempts, NAMES, NAMES, COUNTS, COUNTS, COUNTS, COUNTS),
    "confirms": st.builds(Confirms, NAMES, COUNTS, COUNTS),
    "dependencies": st.builds(Dependency, NAMES, st.sampled_from(DependencyState), AMOUNTS, NAMES),
    "resolvers": st.builds(Dependency, NAMES, st.sampled_from(DependencyState), AMOUNTS, NAMES),
    "lookups": st.builds(Lookups, st.sampled_from(["Resolver", "Dependency"]), NAMES, COUNTS, COUNTS),
}
USAGE_ROWS = st.lists(st.builds(Usage, NAMES, COUNTS, COUNTS, COUNTS), max_size=4).map(tuple)
WINDOWS = st.builds(
    Window,
    accepted=COUNTS,
    deferred=COUNTS,
    unfit=NAMES,
    strain=AMOUNTS,
    stand=st.sampled_from(Stand),
    age=AMOUNTS,
    opens=st.booleans(),
    sealing=NAMES,
    suppression=NAMES,
    withholds=st.booleans(),
    lanes=st.booleans(),
    usage=st.none() | st.builds(Usages, COUNTS, NAMES, USAGE_ROWS),
    **{name: st.lists(rows, max_size=4).map(tuple) for name, rows in ROWS.items()},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
FIELDS = (*ROWS, "usage", "accepted", "deferred", "unfit", "strain", "stand", "age")


def line(**body: Any) -> bytes:
    return json.dumps(body).encode() + b"\n"


@given(
    st.builds(Hello, NAMES, st.integers(0, 2**63))
    | st.builds(Order, st.sampled_from(Stand), NAMES)
    | st.builds(PoolUsage, COUNTS, USAGE_ROWS)
)
def test_a_word_arrives_as_it_was_said(word: Word) -> None:
    assert decode_word(encode(word)) == word


@given(WINDOWS)
def test_a_window_arrives_as_it_was_told(window: Window) -> None:
    told = encode(window)
    assert decode_window(told) == window
    assert told.count(b"\n") == 1
    assert told.endswith(b"\n")


def test_a_full_window_of_names_as_long_as_domain_names_fits_into_a_line() -> None:
    attempts = tuple(Attempts("s" * 253, "p" * 127, *([10**9] * 4)) for _ in range(MOST_ROWS))
    confirms = tuple(Confirms("b" * 256, 10**9, 10**9) for _ in range(MOST_ROWS))
    lookups = tuple(Lookups("Resolver", "r" * 256, 10**9, 10**9) for _ in range(MOST_ROWS))
    state = DependencyState.UNKNOWN
    asked = tuple(Dependency("d" * 63, state, 1e9, "\x00" * 256) for _ in range(MOST_DEPENDENCIES))
    resolvers = tuple(Dependency("r" * 64, state, 1e9, "\x00" * 256) for _ in range(MOST_RESOLVERS))
    usage = Usages(10**9, "f" * 16, (Usage("\U0001f4e7" * 255, 10**9, 10**9, 10**9),) * MOST_USAGES)
    whole = Window(
        attempts=attempts, confirms=confirms, lookups=lookups, dependencies=asked, resolvers=resolvers, usage=usage
    )
    assert len(encode(whole)) < MOST_BYTES
    assert len(encode(PoolUsage(10**9, usage.rows))) < MOST_BYTES


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_raises_nothing_but_the_error_of_this_protocol(garbage: bytes) -> None:
    with contextlib.suppress(TelemetryError):
        decode_word(garbage)
    with contextlib.suppress(TelemetryError):
        decode_window(garbage)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON | st.lists(st.dictionaries(NAMES, JSON), max_size=2)))
def test_a_window_of_anything_is_a_window_or_an_error_of_this_protocol(fields: dict[str, Any]) -> None:
    with contextlib.suppress(TelemetryError):
        assert decode_window(encode(decode_window(line(window=fields))))


@pytest.mark.parametrize(
    "body",
    [
        {"hello": {"identity": "x"}},
        {"hello": {"identity": "x", "epoch": True}},
        {"hello": {"identity": "x", "epoch": -1}},
        {"hello": {"identity": "x", "epoch": 1.5}},
        {"order": {"stand": "Dance", "reason": ""}},
        {"order": {"stand": "Leave", "reason": 1}},
        {"window": {}},
        {"poolusage": {}},
        {"poolusage": {"day": -1}},
        {"poolusage": {"day": 1, "rows": [{"own": 1}]}},
        {"poolusage": {"day": 1, "rows": [{"credential": "a", "pool": 10**10}]}},
        {"poolusage": {"day": 1, "rows": [{"credential": "a"}] * (MOST_USAGES + 1)}},
    ],
)
def test_what_is_no_word_of_a_leader_is_refused(body: Any) -> None:
    with pytest.raises(TelemetryError):
        decode_word(line(**body))


@pytest.mark.parametrize(
    "fields",
    [
        {"accepted": -1},
        {"accepted": True},
        {"deferred": 1.5},
        {"accepted": 10**10},
        {"attempts": {}},
        {"attempts": [{"source": "a"}]},
        {"attempts": ["row"]},
        {"confirms": [{"broker": "b", "late": -1}]},
        {"confirms": [{"broker": "b"}] * (MOST_ROWS + 1)},
        {"lookups": [{"kind": "Oracle", "name": "x"}]},
        {"dependencies": [{"name": "db"}]},
        {"dependencies": [{"name": "db", "state": "Fine"}]},
        {"dependencies": [{"name": "db", "state": "Down", "seconds": -1}]},
        {"dependencies": [{"name": 7, "state": "Down"}]},
        {"dependencies": [{"name": "db", "state": "Down"}] * (MOST_DEPENDENCIES + 1)},
        {"resolvers": [{"name": "192.0.2.53:53", "state": "Fine"}]},
        {"resolvers": [{"name": "192.0.2.53:53", "state": "Down"}] * (MOST_RESOLVERS + 1)},
        {"strain": -0.1},
        {"strain": 10**400},
        {"age": float("nan")},
        {"age": float("inf")},
        {"stand": "Dance"},
        {"stand": []},
        {"unfit": None},
        {"usage": []},
        {"usage": {"day": 1}},
        {"usage": {"day": "1", "run": "a"}},
        {"usage": {"day": 1, "run": "a", "rows": [{"credential": 7}]}},
        {"usage": {"day": 1, "run": "a", "rows": [{"credential": "a"}] * (MOST_USAGES + 1)}},
    ],
)
def test_what_is_no_window_of_a_relay_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TelemetryError):
        decode_window(line(window=fields))


def test_json_nested_without_end_is_refused() -> None:
    with pytest.raises(TelemetryError):
        decode_word(b"[" * 100_000)


def test_a_newer_version_may_say_more() -> None:
    assert decode_word(line(hello={"identity": "x", "epoch": 3, "speaks": ["v2"]})) == Hello("x", 3)
    assert decode_word(line(order={"stand": "Leave", "reason": "r", "until": 9})) == Order(Stand.LEAVE, "r")
    told = {"day": 3, "hour": 4, "rows": [{"credential": "a", "own": 1, "pool": 2, "mood": "good"}]}
    assert decode_word(line(poolusage=told)) == PoolUsage(3, (Usage("a", 1, 2),))
    more = {"accepted": 2, "mood": "good", "confirms": [{"broker": "b:1", "confirmed": 1, "lost": 7}]}
    assert decode_window(line(window=more)) == Window(accepted=2, confirms=(Confirms("b:1", 1),))


def test_an_older_version_may_say_less() -> None:
    assert decode_word(line(order={"stand": "Serve"})) == Order(Stand.SERVE)
    assert decode_window(line(window={})) == Window()
    rows = {"attempts": [{"source": "s", "provider": "p"}], "lookups": [{"kind": "Dependency", "name": "d"}]}
    assert decode_window(line(window=rows)) == Window(
        attempts=(Attempts("s", "p"),), lookups=(Lookups("Dependency", "d"),)
    )


def test_text_without_end_is_cut() -> None:
    assert decode_word(encode(Order(Stand.LEAVE, "r" * 5000))) == Order(Stand.LEAVE, "r" * 256)
    assert decode_window(encode(Window(unfit="u" * 5000))).unfit == "u" * 256
    assert decode_window(encode(Window(signing="s" * 5000))).signing == "s" * 256
    assert decode_window(encode(Window(unpublished="u" * 5000))).unpublished == "u" * MOST_UNPUBLISHED
    endless = Window(dependencies=(Dependency("d" * 5000, DependencyState.DOWN, 1.0, "w" * 5000),))
    assert decode_window(encode(endless)).dependencies == (Dependency("d" * 256, DependencyState.DOWN, 1.0, "w" * 256),)


def test_windows_of_relays_that_know_no_dependencies_are_read_as_ever() -> None:
    assert decode_window(line(window={"accepted": 1})) == Window(accepted=1, dependencies=())
    least = {"dependencies": [{"name": "db", "state": "OnBackup", "mood": "good"}]}
    assert decode_window(line(window=least)).dependencies == (Dependency("db", DependencyState.ON_BACKUP),)
