"""A workload keeps its pod template until the user asks for something else."""

from __future__ import annotations

import pytest

from relayfleet.decide.rollout import choose_template, digest

OLD = {"spec": {"containers": [{"image": "relay:1"}]}}
NEW = {"spec": {"containers": [{"image": "relay:2"}]}}


def test_the_first_template_is_the_built_one() -> None:
    choice = choose_template(None, None, digest({"replicas": 3}), OLD)
    assert (choice.template, choice.kept) == (OLD, False)


def test_a_newer_operator_that_builds_another_template_changes_nothing() -> None:
    first = choose_template(None, None, digest({"image": None}), OLD)
    second = choose_template(first.text, first.inputs, digest({"image": None}), NEW)
    assert (second.template, second.kept) == (OLD, True)
    assert (second.text, second.inputs) == (first.text, first.inputs), "nothing to write either"


def test_a_changed_input_takes_the_built_template() -> None:
    first = choose_template(None, None, digest({"image": None}), OLD)
    second = choose_template(first.text, first.inputs, digest({"image": "relay:2"}), NEW)
    assert (second.template, second.kept) == (NEW, False)


@pytest.mark.parametrize("text", ["", "not json", "[]", "{}", "null", None])
def test_a_kept_text_that_is_no_template_is_as_good_as_none(text: str | None) -> None:
    assert choose_template(text, digest(1), digest(1), NEW).template == NEW


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
