"""What a queue's status says, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayfleet.api.conditions import Reason
from relayfleet.decide.queue import external
from relayfleet.decide.queue.facts import Brokers, Cluster, Pod, Probed, Queue, Silent
from relayfleet.decide.queue.statements import invalid, statements
from relayfleet.decide.statement import Statement


def pod(number: int, **what: object) -> Pod:
    base = Pod(f"q-{number}", f"node-{number}", ready=True, started=True, age=600.0)
    return replace(base, **what)  # type: ignore[arg-type]


NODES = frozenset(f"node-{number}" for number in range(3))
SEEN = Brokers("4.0.5", running=NODES, known=NODES, queues=(Queue("/", "ready", NODES, NODES, "node-0"),))
WELL = Cluster(3, 3, tuple(pod(number) for number in range(3)), SEEN, set_up=True, served=True)
NEW = Cluster(3, 3, tuple(pod(number, ready=False, started=False, age=5.0) for number in range(3)))


def one_bad(**what: object) -> Cluster:
    return replace(WELL, pods=(pod(0), pod(1), pod(2, ready=False, **what)))


def all_bad(**what: object) -> Cluster:
    return replace(
        NEW, pods=tuple(pod(number, **{"ready": False, "started": False, "age": 6.0} | what) for number in range(3))
    )


def silent(*numbers: int, known: bool = True, **what: bool) -> Probed:
    """These brokers do not answer the probers."""
    return Probed(
        tuple(Silent(f"q-{each}", "BrokerSilent", f"broker q-{each} is mute", known) for each in numbers), **what
    )


# name: facts, Ready, Degraded, Reconciling, Stalled (reasons; AsAsked says that a condition is not so), words of the message
CASES: dict[str, tuple[Cluster, str, str, str, str, str]] = {
    "all is well": (WELL, "Serving", "AsAsked", "AsAsked", "AsAsked", "3 of 3 brokers serve"),
    "it is new": (NEW, "Creating", "AsAsked", "Creating", "AsAsked", "0 of 3 brokers serve, 2 are needed"),
    "brokers run, relays cannot log in yet": (
        replace(WELL, set_up=False, brokers=None), "Creating", "AsAsked", "Creating", "AsAsked", "user is being made",
    ),
    "brokers run, management does not answer at the start": (
        replace(WELL, set_up=False, brokers=None, unreachable="no route"),
        "BrokerUnreachable", "AsAsked", "Creating", "AsAsked", "no route",
    ),
    "management does not answer later: mail goes on": (
        replace(WELL, brokers=None, unreachable="no route"),
        "Serving", "BrokerUnreachable", "AsAsked", "AsAsked", "3 of 3",
    ),
    "brokers do not count their queues": (
        replace(WELL, brokers=replace(SEEN, uncounted="500 <0.4711.0> noproc")),
        "Serving", "CountsUnknown", "AsAsked", "AsAsked", "3 of 3",
    ),
    "a broker is away": (one_bad(), "Serving", "Starting", "AsAsked", "AsAsked", "2 of 3"),
    "a broker was just killed": (one_bad(age=2.0), "Serving", "AsAsked", "Starting", "AsAsked", "2 of 3"),
    "two brokers are away": (
        replace(WELL, pods=(pod(0), pod(1, ready=False, age=9.0), pod(2, ready=False, age=9.0))),
        "NoMajority", "AsAsked", "Starting", "AsAsked", "451",
    ),
    "a broker's pod is gone": (replace(WELL, pods=(pod(0), pod(1))), "Serving", "AsAsked", "Scaling", "AsAsked", "2 of 3"),
    "the first of three has started": (
        replace(NEW, pods=(pod(0), *NEW.pods[1:]), set_up=True),
        "Creating", "AsAsked", "Starting", "AsAsked", "1 of 3 brokers serve, 2 are needed; they are starting",
    ),
    "the image cannot be pulled": (
        all_bad(waiting="ImagePullBackOff", message="no such image"),
        "ImageNotPulled", "ImageNotPulled", "Creating", "AsAsked", "spec.template: no such image",
    ),
    "the new image cannot be pulled: the old brokers go on": (
        one_bad(waiting="ErrImagePull", message="no such image", current=False),
        "Serving", "ImageNotPulled", "Rolling", "AsAsked", "2 of 3",
    ),
    "no node has room": (
        all_bad(unschedulable="insufficient memory"),
        "Unschedulable", "Unschedulable", "Creating", "AsAsked", "insufficient memory",
    ),
    "no volume comes": (
        replace(all_bad(placed=False, age=40.0), unbound=("data-q-0", "data-q-1", "data-q-2")),
        "VolumePending", "VolumePending", "Creating", "AsAsked", "StorageClass",
    ),
    "brokers crash": (
        all_bad(waiting="CrashLoopBackOff", ended="last exit code 137, OOMKilled"),
        "Crashing", "Crashing", "Creating", "AsAsked", "OOMKilled",
    ),
    "the API server refuses a child": (
        replace(NEW, pods=(), refused="quota exceeded"), "ApplyFailed", "ApplyFailed", "AsAsked", "ApplyFailed", "quota",
    ),
    "credentials are lost while brokers run": (
        replace(WELL, lost="restore it"),
        "CredentialsLost", "CredentialsLost", "AsAsked", "CredentialsLost", "restore it",
    ),
    "a disk is full": (
        replace(WELL, brokers=replace(SEEN, alarms=(("node-1", "disk"),))),
        "Serving", "BrokerAlarm", "AsAsked", "AsAsked", "3 of 3",
    ),
    "an image of the user's own is too old": (
        replace(WELL, brokers=replace(SEEN, version="3.13.7")),
        "Serving", "VersionUnsupported", "AsAsked", "AsAsked", "3 of 3",
    ),
    "it is too old and a disk is full, which is more urgent": (
        replace(WELL, brokers=replace(SEEN, version="4.0.1", alarms=(("node-1", "disk"),))),
        "Serving", "BrokerAlarm", "AsAsked", "AsAsked", "3 of 3",
    ),
    "queues lack members after growing": (
        replace(WELL, brokers=replace(SEEN, queues=(Queue("/", "ready", NODES - {"node-2"}, NODES - {"node-2"}),))),
        "Serving", "MembersMissing", "MembersMissing", "AsAsked", "3 of 3",
    ),
    "it grows": (
        replace(WELL, wanted=5, stated=5), "Serving", "AsAsked", "Scaling", "AsAsked", "3 of 5 brokers serve",
    ),
    "it rolls": (
        replace(WELL, pods=(pod(0, current=False), pod(1, current=False), pod(2))),
        "Serving", "AsAsked", "Rolling", "AsAsked", "3 of 3",
    ),
    "brokers do not see each other": (
        replace(WELL, brokers=replace(SEEN, running=frozenset({"node-0"}))),
        "NoMajority", "AsAsked", "AsAsked", "AsAsked", "only 1 of 3 belong together",
    ),
    "a broker stands still and its kernel takes connections": (
        replace(WELL, probed=silent(1)), "Serving", "BrokerSilent", "AsAsked", "AsAsked", "2 of 3 brokers serve",
    ),
    "a majority stands still": (
        replace(WELL, probed=silent(0, 1)), "NoMajority", "BrokerSilent", "AsAsked", "AsAsked", "broker q-1 is mute",
    ),
    "probers miss a majority, but relays publish": (
        replace(WELL, probed=silent(0, 1, publishing=True)), "Serving", "BrokerSilent", "AsAsked", "AsAsked", "3 of 3",
    ),
    "probers hear nothing at all": (
        replace(WELL, probed=Probed(dark=True)), "Serving", "BrokerUnreachable", "AsAsked", "AsAsked", "3 of 3",
    ),
    "a broker was killed, and it was known": (
        replace(one_bad(age=2.0), probed=silent(2)), "Serving", "BrokerSilent", "Starting", "AsAsked", "2 of 3",
    ),
    "a broker leaves: it is no wonder that it is silent": (
        replace(WELL, pods=(pod(0), pod(1), pod(2, leaving=True)), probed=silent(2)),
        "Serving", "MembersMissing", "AsAsked", "AsAsked", "2 of 3",
    ),
    "a broker is ready and makes its queues": (
        replace(WELL, pods=(pod(0), pod(1), pod(2, age=3.0)), probed=silent(2, known=False)),
        "Serving", "AsAsked", "AsAsked", "AsAsked", "3 of 3",
    ),
    "it has had its time": (
        replace(WELL, pods=(pod(0), pod(1), pod(2, age=30.0)), probed=silent(2, known=False)),
        "Serving", "BrokerSilent", "AsAsked", "AsAsked", "2 of 3",
    ),
    "a broker crashes: its own words say more": (
        replace(one_bad(waiting="CrashLoopBackOff", ended="last exit code 1"), probed=silent(2)),
        "Serving", "Crashing", "AsAsked", "AsAsked", "2 of 3",
    ),
    "a new resource is smaller than its volumes": (
        replace(WELL, stated=1), "Serving", "AsAsked", "AsAsked", "ScaleDownRefused", "3 of 3",
    ),
    "paused": (replace(WELL, paused=True), "Paused", "AsAsked", "Paused", "AsAsked", "relayfleet.io/paused"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_statements(case: tuple[Cluster, str, str, str, str, str]) -> None:
    cluster, *reasons, words = case
    said = {each.type: each for each in statements(cluster)}
    assert [said[kind].reason for kind in ("Ready", "Degraded", "Reconciling", "Stalled")] == reasons
    assert words in said["Ready"].message
    assert (said["Ready"].status == "True") == (reasons[0] in ("Serving", "Paused"))
    for kind in ("Degraded", "Reconciling", "Stalled"):
        assert (said[kind].status == "True") == (said[kind].reason not in ("AsAsked", "Paused"))


def test_every_reason_is_a_word_of_the_interface() -> None:
    known = {each.value for each in Reason}
    said: list[Statement] = [each for case in CASES.values() for each in statements(case[0])]
    assert {each.reason for each in [*said, *invalid("x")]} <= known


def test_external_brokers_are_ready_while_a_majority_of_addresses_answers() -> None:
    def said(*failures: str) -> dict[str, tuple[str, str]]:
        seen = [external.Address(f"broker-{number}:5671", failure) for number, failure in enumerate(failures)]
        return {each.type: (each.status, each.reason) for each in external.statements(seen)}

    assert said("", "", "")["Ready"] == ("True", "Serving")
    assert said("", "", "refused")["Ready"] == ("True", "Serving")
    assert said("", "", "refused")["Degraded"] == ("True", "BrokerUnreachable")
    assert said("", "refused", "refused")["Ready"] == ("False", "BrokerUnreachable")


def test_external_brokers_that_are_too_old_are_told_with_what_to_do() -> None:
    def said(*versions: str, failure: str = "") -> Statement:
        seen = [external.Address(f"broker-{n}:5671", failure, version) for n, version in enumerate(versions)]
        return next(each for each in external.statements(seen) if each.type == "Degraded")

    assert (said("4.0.5", "4.1.5", "").status, said("4.0.5", "4.1.5", "").reason) == ("False", "AsAsked")
    old = said("4.0.5", "3.13.7", "4.0.2")
    assert (old.status, old.reason) == ("True", "VersionUnsupported")
    assert "broker-1:5671: RabbitMQ 3.13.7" in old.message and "dropped" in old.message and "upgrade" in old.message
    assert said("3.13.7", failure="refused").reason == "BrokerUnreachable"
