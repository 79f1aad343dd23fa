"""The table of rules: its form, the user's own rules, and errors that say where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.relay.replies.classify import Classifier
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.replies.rules import RulesError, load_rules, parse_rules
from relayfleet.relay.replies.verdict import Action, Scope, Verdict

RULE = """
[providers]
mine = ["mine.test"]
[[rule]]
name = "house-rule"
provider = "mine"
code = ["55", "421"]
status = ["7.1"]
text = "come (back|again)"
phase = ["rcpt"]
scope = "IP"
reason = "Throttled"
action = "Cap"
"""

MATCHES = {
    "all fields fit": (550, "5.7.1 Come Back", "mx.mine.test", "rcpt", True),
    "another code": (450, "4.7.1 come back", "mx.mine.test", "rcpt", False),
    "a whole code": (421, "4.7.1 come again", "mx.mine.test", "rcpt", True),
    "another status": (550, "5.7.2 come back", "mx.mine.test", "rcpt", False),
    "no status": (550, "come back", "mx.mine.test", "rcpt", False),
    "another text": (550, "5.7.1 go away", "mx.mine.test", "rcpt", False),
    "another phase": (550, "5.7.1 come back", "mx.mine.test", "end", False),
    "another provider": (550, "5.7.1 come back", "mx.yours.test", "rcpt", False),
    "host names know no case": (550, "5.7.1 come back", "MX.MINE.TEST", "rcpt", True),
}


@pytest.mark.parametrize("case", MATCHES)
def test_a_rule_matches_when_all_its_fields_do(case: str) -> None:
    code, text, host, phase, expected = MATCHES[case]
    verdict = Classifier(parse_rules(RULE, "test")).classify(Reply(code, (text,)), host, phase)
    assert (verdict.rule == "house-rule") is expected


def test_the_users_rules_are_asked_first(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULE)
    verdict = Classifier(load_rules(path)).classify(
        Reply(550, ("5.7.1 come back: no such user",)), "mx.mine.test", "rcpt"
    )
    assert verdict == Verdict(Scope.IP, "Throttled", Action.CAP, "house-rule")
    assert len(load_rules(path)) == len(load_rules()) + 1


BROKEN = {
    "no TOML": ("[[rule", "rules.toml"),
    "no name": ('[[rule]]\nscope = "IP"\nreason = "X"\naction = "Cap"', "'name' is missing"),
    "no action": ('[[rule]]\nname = "a"\nscope = "IP"\nreason = "X"', "'action' is missing"),
    "an action that is none": (
        '[[rule]]\nname = "a"\nscope = "IP"\nreason = "X"\naction = "Drop"',
        "'Drop' is not a valid Action",
    ),
    "a scope that is none": (
        '[[rule]]\nname = "a"\nscope = "ip"\nreason = "X"\naction = "Cap"',
        "'ip' is not a valid Scope",
    ),
    "an unknown field": (RULE.replace("phase", "fase"), "unknown field fase"),
    "an unknown provider": (RULE.replace('provider = "mine"', 'provider = "yours"'), "'yours'"),
    "no regular expression": (RULE.replace("(back|again)", "(back"), "house-rule"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_table_says_where_and_why(case: str) -> None:
    text, expected = BROKEN[case]
    with pytest.raises(RulesError, match=r"rules\.toml") as caught:
        parse_rules(text, "rules.toml")
    assert expected in str(caught.value)


def test_every_rule_of_ours_has_a_name_of_its_own_and_a_reason_in_one_word() -> None:
    rules = load_rules()
    names = [each.verdict.rule for each in rules]
    assert len(set(names)) == len(names)
    assert all(each.verdict.reason.isalnum() for each in rules)
