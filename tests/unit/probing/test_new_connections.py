"""A server that answers its old sessions and greets no new one: conntrack tables fill up, accept queues overflow."""

from __future__ import annotations

from tests.relay.server.harness import eventually
from tests.unit.probing.script import Scene, probed


def unmet(scene: Scene) -> set[float]:
    """When the new connections began that were stated to be overdue."""
    return {sent for each in scene.of("Connect") if each.kind == "Silent" for sent in each.sent}


async def test_new_connections_that_nobody_greets_are_stated_and_tried_again_while_the_old_session_is_answered() -> (
    None
):
    async with probed(discard="") as scene:
        scene.script.greets = 1
        await eventually(lambda: len(unmet(scene)) >= 4, "four new connections without a greeting")
        assert [each.kind for each in scene.of("Connect") if each.kind != "Silent"] == []
        stated = max(unmet(scene))
        await eventually(
            lambda: any(each.kind == "Answered" and each.at > stated for each in scene.of("Dialogue")),
            "an answer after",
        )


async def test_a_leader_that_looks_closer_has_a_new_connection_made_at_once() -> None:
    async with probed(discard="") as scene:
        await eventually(lambda: scene.of("Dialogue") != [], "a session")
        before = len(scene.of("Connect"))
        scene.fleet.burst([scene.target.key])
        await eventually(lambda: len(scene.of("Connect")) > before, "a whole conversation")
