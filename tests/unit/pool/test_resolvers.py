"""What a pool's status says of its relays' resolvers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.api.conditions import Reason, Type
from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.facts import ANSWERS, DOWN, UNKNOWN, Declared, Pod, Pool, Queue, Resolvers, Sources, Word
from relayfleet.decide.pool.relays import Place
from relayfleet.decide.pool.resolvers import hindering, statement
from relayfleet.decide.pool.statements import statements

UP = tuple(Pod(name, listed=True, serves=True) for name in ("a", "b", "c"))
WELL = Pool("eu", 3, Queue("mail"), Sources(("eu-1",)), UP)
AT = "2026-11-24T12:00:07Z"
WHY = "took more than 0.5 s to answer"
NAMES = ("192.0.2.53:53", "192.0.2.54:53")
SEEN = st.lists(st.text("adu-", min_size=3, max_size=3), max_size=2)


def resolvers(*seen: str, named: bool = True) -> Resolvers:
    """How the relays a, b and c see each: d(own), u(nknown), anything else answers; "-" tells nothing."""
    known = {"d": Word(DOWN, AT, WHY), "u": Word(UNKNOWN)}
    return Resolvers(
        tuple(
            Declared(
                name,
                words={
                    relay: known.get(each, Word(ANSWERS))
                    for relay, each in zip("abc", states, strict=True)
                    if each != "-"
                },
            )
            for name, states in zip(NAMES, seen, strict=False)
        ),
        named,
    )


def condition(found: Resolvers) -> tuple[str, str, str]:
    said = statement(found)
    assert said is not None
    return said.status, said.reason, said.message


def test_a_pool_of_relays_that_tell_nothing_says_nothing() -> None:
    assert statement(resolvers(named=False)) is None
    assert statement(resolvers("---", named=False)) is None
    assert condition(resolvers("---", "---"))[:2] == ("Unknown", "NotTold")


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (("daa", "aaa"), f"resolver {NAMES[0]} does not answer 1 of 3 relays since {AT}: {WHY}; they ask the others"),
        (("-aa", "-dd"), f"resolver {NAMES[1]} does not answer 2 of 2 relays since {AT}: {WHY}; they ask the others"),
        (
            ("dda", "dda"),
            f"resolver {NAMES[0]} does not answer 2 of 3 relays since {AT}: {WHY}; "
            f"resolver {NAMES[1]} does not answer 2 of 3 relays since {AT}: {WHY}; "
            "2 of 3 relays have no other one: they deliver to names that they asked for within a day, other mail waits",
        ),
    ],
)
def test_the_condition_names_the_resolver_how_many_relays_see_it_down_and_what_follows(
    seen: tuple[str, ...], message: str
) -> None:
    assert condition(resolvers(*seen)) == ("False", "ResolverDown", message)


def test_resolvers_that_answer_are_named() -> None:
    assert condition(resolvers("aaa", "aa-")) == (
        "True",
        "ResolversAnswer",
        f"all relays that tell get answers from {NAMES[0]}, {NAMES[1]}",
    )


def test_that_relays_have_but_one_is_said_with_the_cure_and_is_no_fault() -> None:
    status, reason, message = condition(resolvers("aaa", named=False))
    assert (status, reason) == ("True", "OneResolver")
    assert NAMES[0] in message
    assert message.endswith("Name at least two in spec.resolvers")
    assert condition(resolvers("aaa", "aaa", named=False))[1] == "ResolversAnswer"
    assert condition(resolvers("aa-", "--a", named=False))[1] == "OneResolver", "each relay has one"


@pytest.mark.parametrize(
    ("seen", "hurt"), [(("daa", "aaa"), False), (("daa", "ada"), False), (("daa", "daa"), True), (("d--", "---"), True)]
)
def test_the_pool_is_degraded_where_a_relay_has_none_left_and_takes_mail_all_the_same(
    seen: tuple[str, ...], hurt: bool
) -> None:
    said = {each.type: each for each in statements(replace(WELL, resolvers=resolvers(*seen)))}
    assert (said["Degraded"].reason == "ResolverDown") is hurt
    assert (said["Ready"].status, said["Ready"].reason) == ("True", "Serving")


def test_that_no_resolver_is_left_comes_before_a_relay_that_is_out_of_traffic() -> None:
    out = Pod("a", serves=True, place=Place(Level.SOFT, reason="Slow", message="slow"))
    pool = replace(WELL, pods=(out, *UP[1:]), resolvers=resolvers("ddd"))
    said = {each.type: each for each in statements(pool)}
    assert said["Degraded"].reason == "ResolverDown"
    said = {each.type: each for each in statements(replace(pool, resolvers=resolvers("aaa")))}
    assert said["Degraded"].reason == Reason.SLOW


@given(SEEN, st.booleans())
def test_any_words_make_a_condition_of_known_words(seen: list[str], named: bool) -> None:
    found = resolvers(*seen, named=named)
    said = {each.type: each for each in statements(replace(WELL, resolvers=found))}.get(Type.RESOLVERS_READY)
    if said is None:
        assert not any(each.words for each in found.seen)
        return
    assert said.reason in set(Reason)
    assert said.status == {"ResolverDown": "False", "NotTold": "Unknown"}.get(said.reason, "True")
    assert said.message
    if hindering(found):
        assert said.reason == "ResolverDown"
