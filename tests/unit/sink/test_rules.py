"""Which deed the script finds for whom, how often, and what it says about rules that make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sink.actions import Action, Stage
from tests.sink.orders import orders_in
from tests.sink.rules import Facts, RuleError, read_rules
from tests.sink.script import Script

FACTS = Facts(session=1, client="198.18.3.7", port=2525, helo="EU-1.mail.example.com", sender="Shop@Example.com")
TO = ("a@one.test", "b@two.test")

MATCHES: dict[str, tuple[dict[str, Any], bool]] = {
    "no condition fits everyone": ({}, True),
    "a recipient's domain": ({"recipient": "*@two.test"}, True),
    "a recipient in other letters": ({"recipient": "B@TWO.*"}, True),
    "no recipient like it": ({"recipient": "*@three.test"}, False),
    "brackets are no pattern": ({"recipient": "[ab]@one.test"}, False),
    "a sender": ({"sender": "shop@*"}, True),
    "another sender": ({"sender": "news@*"}, False),
    "a greeting": ({"helo": "eu-?.mail.example.com"}, True),
    "another greeting": ({"helo": "us-?.mail.example.com"}, False),
    "a client's network": ({"client": "198.18.0.0/16"}, True),
    "another network": ({"client": "198.19.0.0/16"}, False),
    "an address of the other family": ({"client": "2001:db8::/32"}, False),
    "our port": ({"port": 2525}, True),
    "another port": ({"port": 25}, False),
    "a window that is open": ({"window": [0, 3600]}, True),
    "a window that comes later": ({"window": [3600, 7200]}, False),
    "all of several conditions": ({"sender": "shop@*", "recipient": "a@*"}, True),
    "one of several does not hold": ({"sender": "shop@*", "recipient": "c@*"}, False),
}


@pytest.mark.parametrize(("conditions", "fits"), MATCHES.values(), ids=MATCHES.keys())
def test_a_rule_applies_to(conditions: dict[str, Any], fits: bool) -> None:
    script = Script()
    script.put([{"stage": "dot", "code": 451, **conditions}])
    assert (script.find("dot", FACTS, TO) is not None) == fits


def deeds(script: Script, stage: Stage, times: int, *recipients: str) -> str:
    """One letter a time: x when the script steps in."""
    return "".join("x" if script.find(stage, FACTS, recipients) else "." for _ in range(times))


COUNTS: dict[str, tuple[dict[str, Any], str]] = {
    "always": ({}, "xxxxx"),
    "the first two": ({"first": 2}, "xx..."),
    "not the first two": ({"skip": 2}, "..xxx"),
    "two after one": ({"skip": 1, "first": 2}, ".xx.."),
    "never": ({"share": 0}, "....."),
}


@pytest.mark.parametrize(("limits", "seen"), COUNTS.values(), ids=COUNTS.keys())
def test_a_rule_applies_this_often(limits: dict[str, Any], seen: str) -> None:
    script = Script()
    script.put([{"stage": "rcpt", "code": 451, **limits}])
    assert deeds(script, "rcpt", 5, "a@one.test") == seen


def test_counting_per_recipient_counts_each_by_itself() -> None:
    script = Script()
    script.put([{"stage": "rcpt", "code": 451, "first": 1, "per": "recipient"}])
    assert deeds(script, "rcpt", 2, "a@one.test") + deeds(script, "rcpt", 2, "b@one.test") == "x.x."


def test_a_share_is_drawn_from_its_seed() -> None:
    rule = {"stage": "rcpt", "code": 451, "share": 0.3, "seed": 5}
    seen = []
    for _ in range(2):
        script = Script()
        script.put([rule])
        seen.append(deeds(script, "rcpt", 1000, "a@one.test"))
    assert seen[0] == seen[1]
    assert 200 < seen[0].count("x") < 400


def test_the_first_rule_that_fits_wins_and_rules_come_before_orders() -> None:
    script = Script()
    script.put(
        [
            {"stage": "rcpt", "code": 450, "recipient": "z*"},
            {"stage": "any", "code": 451},
            {"stage": "rcpt", "code": 452},
        ]
    )
    found = script.find("rcpt", FACTS, ("a+rcpt-550@one.test",))
    assert found is not None
    assert found.code == 451


def test_new_rules_begin_to_count_anew_and_bad_ones_change_nothing() -> None:
    script = Script()
    script.put([{"stage": "rcpt", "code": 451, "first": 1}])
    assert deeds(script, "rcpt", 2, "a@one.test") == "x."
    script.put([{"stage": "rcpt", "code": 451, "first": 1}])
    with pytest.raises(RuleError):
        script.put([{"stage": "never"}])
    assert deeds(script, "rcpt", 2, "a@one.test") == "x."
    assert [rule.hits for rule in script.rules] == [1]


BAD: dict[str, tuple[Any, str]] = {
    "not a list": ({}, "must be a JSON list"),
    "not an object": (["x"], "rule 0 must be an object"),
    "no stage": ([{"code": 451}], "rule 0: stage must be one of connect"),
    "an unknown field": ([{"stage": "rcpt", "cod": 451}], "unknown fields cod"),
    "a code that is none": ([{"stage": "rcpt", "code": 999}], "code 999 is no SMTP reply code"),
    "a reply without a code": ([{"stage": "rcpt", "do": "reply"}], "do reply needs a code"),
    "a code without a reply": ([{"stage": "rcpt", "do": "hang", "code": 451}], "do hang takes no code"),
    "text without a code": ([{"stage": "rcpt", "text": "x"}], "text needs a code"),
    "text that is no text": ([{"stage": "rcpt", "code": 451, "text": [1]}], "text must be"),
    "a network that is none": ([{"stage": "rcpt", "client": "198.18.0.1/8"}], "client must be an address or a network"),
    "a window backwards": ([{"stage": "rcpt", "window": [5, 1]}], "window must be"),
    "a delay below zero": ([{"stage": "rcpt", "delay": -1}], "delay must be"),
    "a share above one": ([{"stage": "rcpt", "code": 451, "share": 2}], "share must be a number from 0 to 1"),
    "storing before the dot": ([{"stage": "rcpt", "do": "reset", "store": True}], "store is for stage dot only"),
    "early before the dot": ([{"stage": "rcpt", "early": True}], "early is for accept at stage dot only"),
    "early and refused": ([{"stage": "dot", "early": True, "code": 451}], "early is for accept at stage dot only"),
    "something after a reset": ([{"stage": "rcpt", "do": "reset", "then": "close"}], "nothing follows do reset"),
    "true as a number": ([{"stage": "rcpt", "code": 451, "first": True}], "first must be a number"),
}


@pytest.mark.parametrize(("document", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_rule_is_refused_with_its_place_and_a_cure(document: Any, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        read_rules(document)


ORDERS: dict[str, list[tuple[str, Action, int]]] = {
    "bob@example.test": [],
    "bob+news@example.test": [],
    "bob+rcpt-451@example.test": [("rcpt", Action("reply", 451), 0)],
    "Bob+DOT-550-3x@example.test": [("dot", Action("reply", 550), 3)],
    "bob+dot-accept-1.5s@example.test": [("dot", Action("accept", delay=(1.5, 1.5)), 0)],
    "bob+dot-lost-1x@example.test": [("dot", Action("reset", store=True), 1)],
    "bob+data-451-2x-0.5s+x+dot-hang@b": [
        ("data", Action("reply", 451, delay=(0.5, 0.5)), 2),
        ("dot", Action("hang"), 0),
    ],
    "bob+rcpt-351@example.test": [],
    "bob+mail-close": [("mail", Action("close"), 0)],
    "bob@dot-451.example.test": [],
}


@pytest.mark.parametrize(("address", "orders"), ORDERS.items(), ids=ORDERS.keys())
def test_orders_in(address: str, orders: list[tuple[str, Action, int]]) -> None:
    assert [(each.stage, each.action, each.first) for each in orders_in(address)] == orders


def test_orders_are_carried_out_as_often_as_the_address_says_and_for_each_address() -> None:
    script = Script()
    assert deeds(script, "rcpt", 3, "a+rcpt-451-2x@one.test") == "xx."
    assert deeds(script, "rcpt", 3, "b+rcpt-451-2x@one.test") == "xx."
    assert deeds(script, "dot", 2, "plain@one.test", "c+dot-hang-1x@one.test") == "x."
    assert script.find("mail", Facts(1, "198.18.0.1", 25, sender="s+mail-550@x")) == Action("reply", 550)
