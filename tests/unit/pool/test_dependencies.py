"""What a pool's status says of its dependencies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.api.conditions import Reason, Type
from relayfleet.decide.pool.dependencies import statement
from relayfleet.decide.pool.facts import ANSWERS, DOWN, ON_BACKUP, UNKNOWN, Declared, Pod, Pool, Queue, Sources, Word
from relayfleet.decide.pool.statements import statements
from relayfleet.decide.statement import Statement

UP = tuple(Pod(name, listed=True, serves=True) for name in ("a", "b", "c"))
WELL = Pool("eu", 3, Queue("mail"), Sources(("eu-1",)), UP)
EARLY, LATE = "2026-11-24T12:00:00Z", "2026-11-24T12:00:07Z"
WHY = "cannot be connected to: Connection refused"

STATES = st.sampled_from([ANSWERS, ON_BACKUP, DOWN, UNKNOWN])
DECLARED = st.builds(
    Declared,
    st.sampled_from(["db", "web"]),
    st.booleans(),
    st.dictionaries(st.sampled_from("abc"), st.builds(Word, STATES, st.sampled_from([EARLY, LATE]))),
)


def declared(states: str, name: str = "db", *, defers: bool = False) -> Declared:
    """Relays a, b, c... see it: d(own), o(n backup), u(nknown), anything else answers; "-" tells nothing."""
    known = {"d": Word(DOWN, LATE, WHY), "o": Word(ON_BACKUP, EARLY, WHY), "u": Word(UNKNOWN)}
    words = {relay: known.get(each, Word(ANSWERS)) for relay, each in zip("abc", states, strict=False) if each != "-"}
    return Declared(name, defers, words)


def condition(*each: Declared) -> tuple[str, str, str]:
    found = statement(each)
    assert found is not None
    return found.status, found.reason, found.message


def said(pool: Pool) -> dict[str, Statement]:
    return {each.type: each for each in statements(pool)}


def test_a_pool_that_declares_none_says_nothing_of_them() -> None:
    assert "DependenciesReady" not in said(WELL)
    assert statement(()) is None


@pytest.mark.parametrize(
    ("seen", "status", "reason", "message"),
    [
        ("aaa", "True", "AllAnswer", "all relays that tell get answers from db"),
        ("aa-", "True", "AllAnswer", "all relays that tell get answers from db"),
        ("aau", "True", "AllAnswer", "all relays that tell get answers from db"),
        ("---", "Unknown", "NotTold", "no relay has asked dependency db yet"),
        ("uuu", "Unknown", "NotTold", "no relay has asked dependency db yet"),
        ("add", "False", "DependencyDown", f"dependency db does not answer 2 of 3 relays since {LATE}: {WHY}"),
        ("d--", "False", "DependencyDown", f"dependency db does not answer 1 of 1 relays since {LATE}: {WHY}"),
        ("oaa", "True", "OnBackup", f"the backup of dependency db is used by 1 of 3 relays since {EARLY}: {WHY}"),
    ],
)
def test_the_condition_names_the_dependency_how_many_relays_see_it_so_and_since_when(
    seen: str, status: str, reason: str, message: str
) -> None:
    assert condition(declared(seen)) == (status, reason, message)


def test_the_earliest_of_the_relays_says_since_when() -> None:
    words = {"a": Word(DOWN, LATE, WHY), "b": Word(DOWN, EARLY, WHY)}
    assert EARLY in condition(Declared("db", False, words))[2]


def test_the_worst_is_told_and_all_that_are_down_are_named() -> None:
    three = (declared("aaa", "one"), declared("daa", "two"), declared("---", "three"), declared("ddd", "four"))
    status, reason, message = condition(*three)
    assert (status, reason) == ("False", "DependencyDown")
    assert ["two" in message, "four" in message, "one" in message] == [True, True, False]
    assert condition(declared("aaa", "one"), declared("---", "two"), declared("ooo", "three"))[1] == "NotTold"


def test_that_credentials_are_missing_is_said() -> None:
    lacking = Declared("db", True, {"a": Word(UNKNOWN, EARLY, "its credentials are not mounted in this relay yet")})
    assert condition(lacking)[2].endswith("yet: its credentials are not mounted in this relay yet")


def test_a_dead_database_that_is_only_reported_leaves_the_pool_as_it_is() -> None:
    before, after = said(WELL), said(replace(WELL, dependencies=(declared("ddd"),)))
    assert {each: after[each] for each in before} == before


def test_relays_that_put_mail_off_degrade_the_pool_and_make_it_unready_when_all_do() -> None:
    some = said(replace(WELL, dependencies=(declared("daa", defers=True),)))
    assert (some["Ready"].status, some["Ready"].reason) == ("True", "Serving")
    assert (some["Degraded"].status, some["Degraded"].reason) == ("True", "DependencyDown")
    assert "1 of 3 relays" in some["Degraded"].message
    assert "451" in some["Degraded"].message
    every = said(replace(WELL, dependencies=(declared("ddd", defers=True),)))
    assert (every["Ready"].status, every["Ready"].reason) == ("False", "DependencyDown")
    assert every["Ready"].message.startswith("no new mail is taken: dependency db does not answer 3 of 3 relays")
    assert every["Degraded"].reason == "DependencyDown"
    assert (every["Stalled"].status, every["Reconciling"].status) == ("False", "False")


def test_mail_that_each_relay_puts_off_for_another_dependency_is_not_taken_either() -> None:
    both = (declared("dda", "one", defers=True), declared("-ad", "two", defers=True))
    assert said(replace(WELL, dependencies=both))["Ready"].reason == "DependencyDown"


@given(st.lists(DECLARED, min_size=1, max_size=3))
def test_any_words_make_a_condition_of_known_words(each: list[Declared]) -> None:
    found = said(replace(WELL, dependencies=tuple(each)))[Type.DEPENDENCIES_READY]
    assert found.reason in set(Reason)
    assert found.status == {"DependencyDown": "False", "NotTold": "Unknown"}.get(found.reason, "True")
    assert found.message
