"""Parts of the scale benchmark: how long each may take, and what is said of what was not measured."""

from __future__ import annotations

import pytest

from tests.bench import _scale_plan as plan

ALL = plan.parts(plan.DEFAULT)


def test_what_the_issue_asks_for_is_measured_by_default() -> None:
    names = {name for part in ALL for name in part.units}
    assert {f"scale.{size}.{what}" for size in (10, 100, 1000) for what in plan.SIZED} <= names
    assert {"scale.frozen_watch.order", "scale.blocked_loop.standby", "scale.blocked_loop.alone"} <= names


def test_the_whole_is_over_within_eight_minutes() -> None:
    now = 0.0
    for number in range(len(ALL)):
        now = plan.until(now, plan.SECONDS, ALL[number:])
    assert now == pytest.approx(plan.SECONDS) and now <= 8 * 60 - 10


def test_what_a_part_does_not_need_the_later_ones_have() -> None:
    planned = plan.until(130.0, plan.SECONDS, ALL[1:]) - 130.0
    assert plan.until(50.0, plan.SECONDS, ALL[1:]) - 50.0 > planned


def test_the_largest_fleet_has_the_largest_share_wherever_it_stands() -> None:
    shares = {part.name: part.share for part in plan.parts("1000,10,100")}
    assert shares["1000"] > shares["10"] == shares["100"]


def test_a_part_that_begins_too_late_has_no_time() -> None:
    assert plan.until(500.0, 465.0, ALL[3:]) == 500.0


BAD = {
    "": "''",
    "10,,100": "''",
    "ten": "'ten'",
    "10,-1": "'-1'",
    "0": "'0'",
    "10,heal": "'heal'",
    "10,10": "twice",
}


@pytest.mark.parametrize("text", BAD)
def test_parts_that_cannot_be_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"SCALE_PARTS.*{BAD[text]}"):
        plan.parts(text)


@pytest.mark.parametrize("text", ["0", "-3", "soon", "1.2.3", "nan", "inf", "1e3", "."])
def test_seconds_that_cannot_be_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"SCALE_REST is .*above zero"):
        plan.seconds("SCALE_REST", text)


def test_seconds_may_have_a_fraction() -> None:
    assert plan.seconds("SCALE_REST", "7.5") == 7.5


def test_rows_that_are_missing_say_why_and_have_no_value() -> None:
    (part,) = plan.parts("10")
    rows = plan.left_out(part, {"scale.10.cpu", "scale.10.cold_start"}, {"10": "its time was over"})
    assert {row["name"] for row in rows} == part.units.keys() - {"scale.10.cpu", "scale.10.cold_start"}
    assert all(row["value"] is None and row["n"] == 0 for row in rows)
    assert {row["detail"]["left_out"] for row in rows} == {"its time was over"}
    assert {row["name"]: row["unit"] for row in rows}["scale.10.decision.p99"] == "ms"


def test_a_row_is_left_out_for_what_its_own_job_says() -> None:
    (part,) = plan.parts("healing")
    measured = {"scale.frozen_watch.order", "scale.frozen_watch.renewed"}
    rows = plan.left_out(part, measured, {"blocked_alone": "its time was over"})
    told = {row["name"]: row["detail"]["left_out"] for row in rows}
    assert told == {
        "scale.blocked_loop.standby": "it was not measured",
        "scale.blocked_loop.alone": "its time was over",
    }


def test_what_had_no_time_to_heal_was_not_measured() -> None:
    assert "28 s after it died" in plan.not_cured(28.2)["left_out"]
    assert plan.not_cured(90.0) == {"not_within": 90.0}
