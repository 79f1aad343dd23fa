"""What a pool's status says, as sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayfleet.api.conditions import Reason
from relayfleet.decide.health import words
from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.facts import Pod, Pool, Queue, Sources, Sweep, Waiting
from relayfleet.decide.pool.problems import PATIENCE, problems
from relayfleet.decide.pool.relays import Place
from relayfleet.decide.pool.statements import invalid, statements
from relayfleet.decide.statement import Statement

UP = tuple(Pod(name, listed=True, serves=True) for name in ("a", "b", "c"))
STARTING = Pod("d", age=5)
STUCK = Pod("d", age=PATIENCE)
SOFT = Pod(
    "d",
    serves=True,
    place=Place(
        Level.SOFT,
        reason="Ordered",
        message="cordoned by order: remove its annotation relayfleet.io/cordon to take it back",
    ),
)
NO_SECRET = Pod(
    "d",
    waiting=Waiting("ContainerCreating"),
    mount_failure='MountVolume.SetUp failed for volume "auth" : secret "submitters" not found',
)
UNSIGNED = replace(UP[2], signing="mail of a.test is kept back: entry private.pem of Secret a cannot be used, make one")
UNPUBLISHED = replace(UP[1], unpublished='DKIM key s1 of a.test signs all the same. Publish "v=DKIM1; k=rsa; p=abc"')
UNLISTED = tuple(replace(each, suppression="mail is kept back: create it", withholds=True) for each in UP)
ODDLY_LISTED = replace(UP[2], suppression="lines 3 of entry a of Secret b suppress nobody")
CRASHING = Pod("d", waiting=Waiting("CrashLoopBackOff", last="exit code 1"))
UNANSWERED = Sweep("mail-rabbitmq-1", "relayfleet.eu.mail.tx.v1.ready.a")
WELL = Pool("eu", 3, Queue("mail"), Sources(("eu-1",)), UP)
NEW = replace(WELL, pods=(STARTING,) * 3)


def said(pool: Pool) -> dict[str, str]:
    """Each condition as `Reason`, or as `not Reason` when it is False; without Fencing, which `test_fences` is about."""
    told = [each for each in statements(pool) if each.type != "Fencing"]
    return {each.type: each.reason if each.status == "True" else f"not {each.reason}" for each in told}


@pytest.mark.parametrize(
    ("pool", "ready", "degraded", "reconciling"),
    [
        pytest.param(WELL, "Serving", "not AsAsked", "not AsAsked", id="all as asked"),
        pytest.param(NEW, "not NoRelayReady", "not AsAsked", "Starting", id="new: wait"),
        pytest.param(
            replace(WELL, pods=(*UP[:2], STARTING)), "Serving", "not AsAsked", "Starting", id="one comes back: wait"
        ),
        pytest.param(
            replace(WELL, pods=(*UP[:2], STUCK)),
            "Serving",
            "RelaysNotReady",
            "not AsAsked",
            id="one does not come back",
        ),
        pytest.param(
            replace(WELL, pods=(*UP[:2], SOFT)), "Serving", "Cordoned", "not AsAsked", id="one is cordoned by order"
        ),
        pytest.param(
            replace(WELL, pods=(SOFT,) * 3), "Serving", "Cordoned", "not AsAsked", id="all are, and are the last resort"
        ),
        pytest.param(replace(WELL, pods=UP[:2]), "Serving", "not AsAsked", "Scaling", id="grows"),
        pytest.param(replace(WELL, wanted=2), "Serving", "not AsAsked", "Scaling", id="shrinks"),
        pytest.param(replace(WELL, outdated=1), "Serving", "not AsAsked", "Rolling", id="rolls"),
        pytest.param(replace(WELL, settled=False), "Serving", "not AsAsked", "Rolling", id="spec just changed"),
        pytest.param(
            replace(WELL, wanted=0, pods=()), "ScaledToZero", "not AsAsked", "not AsAsked", id="none were asked for"
        ),
        pytest.param(
            replace(WELL, pods=(NO_SECRET,) * 3), "not SecretNotFound", "SecretNotFound", "not AsAsked", id="no Secret"
        ),
        pytest.param(
            replace(WELL, queue=Queue("mail", found=False), pods=()),
            "not QueueNotFound",
            "not AsAsked",
            "QueueNotFound",
            id="no queue yet",
        ),
        pytest.param(
            replace(WELL, queue=Queue("mail", found=False)),
            "not QueueNotFound",
            "QueueNotFound",
            "QueueNotFound",
            id="the queue of a pool that serves is gone",
        ),
        pytest.param(
            replace(NEW, queue=Queue("mail", ready=False, coming=True)),
            "not QueueNotReady",
            "not AsAsked",
            "QueueNotReady",
            id="queue and pool are new",
        ),
        pytest.param(
            replace(WELL, queue=Queue("mail", ready=False)),
            "not QueueNotReady",
            "QueueNotReady",
            "not AsAsked",
            id="the queue has failed",
        ),
        pytest.param(
            replace(NEW, sweep=Sweep()),
            "not QueuesBeingRemoved",
            "not AsAsked",
            "Starting",
            id="queues of an older pool of its name are going",
        ),
        pytest.param(
            replace(NEW, pods=(CRASHING,) * 3, sweep=UNANSWERED),
            "not QueuesBeingRemoved",
            "QueuesBeingRemoved",
            "not AsAsked",
            id="a broker that was to remove one does not answer",
        ),
        pytest.param(
            replace(WELL, sweep=UNANSWERED), "Serving", "not AsAsked", "not AsAsked", id="relays serve all the same"
        ),
        pytest.param(
            replace(WELL, sources=Sources(elsewhere=("us-1",))),
            "not NoSendingIP",
            "NoSendingIP",
            "not AsAsked",
            id="mail can come in but not go out",
        ),
        pytest.param(
            replace(WELL, pods=(*UP[:2], UNSIGNED)),
            "Serving",
            "SigningKeyUnavailable",
            "not AsAsked",
            id="a Secret with a DKIM key is of no use",
        ),
        pytest.param(
            replace(WELL, pods=(*UP[:2], UNSIGNED), outdated=1),
            "Serving",
            "not AsAsked",
            "Rolling",
            id="a relay that is about to go lacks the new Secret",
        ),
        pytest.param(
            replace(WELL, pods=(UP[0], UNPUBLISHED, UP[2])),
            "Serving",
            "SigningKeyNotPublished",
            "not AsAsked",
            id="a DKIM key is not in DNS",
        ),
        pytest.param(
            replace(WELL, pods=(UP[0], UNPUBLISHED, UNSIGNED)),
            "Serving",
            "SigningKeyUnavailable",
            "not AsAsked",
            id="mail that waits is worse than a key that is not in DNS",
        ),
        pytest.param(
            replace(WELL, pods=(UP[0], UNPUBLISHED, UP[2]), outdated=1),
            "Serving",
            "not AsAsked",
            "Rolling",
            id="a relay that is about to go has the old keys",
        ),
        pytest.param(
            replace(WELL, pods=UNLISTED),
            "not SuppressionListUnavailable",
            "SuppressionListUnavailable",
            "not AsAsked",
            id="no relay can read the suppression list: none sends",
        ),
        pytest.param(
            replace(WELL, pods=UNLISTED, outdated=3),
            "not SuppressionListUnavailable",
            "SuppressionListUnavailable",
            "Rolling",
            id="the Secret of a new suppression list is missing: none sends",
        ),
        pytest.param(
            replace(WELL, pods=(*UNLISTED[:2], UP[2])),
            "Serving",
            "SuppressionListUnavailable",
            "not AsAsked",
            id="some relays cannot read the suppression list",
        ),
        pytest.param(
            replace(WELL, pods=(*UNLISTED[:2], UP[2]), outdated=2),
            "Serving",
            "not AsAsked",
            "Rolling",
            id="relays that are about to go lack the Secret of a new suppression list",
        ),
        pytest.param(
            replace(WELL, pods=(*UP[:2], ODDLY_LISTED)),
            "Serving",
            "SuppressionListInvalid",
            "not AsAsked",
            id="the suppression list has lines of no use, or the last good one is in use",
        ),
        pytest.param(replace(WELL, paused=True), "Paused", "not AsAsked", "not Paused", id="paused"),
        pytest.param(
            replace(WELL, odd_cordons=("d",)), "Serving", "Cordoned", "not AsAsked", id="a cordon that is no known word"
        ),
    ],
)
def test_conditions(pool: Pool, ready: str, degraded: str, reconciling: str) -> None:
    assert said(pool) == {
        "Ready": ready,
        "Degraded": degraded,
        "Reconciling": reconciling,
        "Stalled": "not AsAsked",
    }


def test_a_child_that_the_api_server_refuses_needs_a_person_and_the_rest_serves_on() -> None:
    pool = replace(WELL, refused="Service tx: nodePort 31000 is taken")
    assert said(pool) == {
        "Ready": "Serving",
        "Degraded": "not AsAsked",
        "Reconciling": "not AsAsked",
        "Stalled": "ApplyFailed",
    }
    assert said(replace(pool, pods=()))["Ready"] == "not ApplyFailed"


def test_a_paused_pool_that_cannot_serve_does_not_claim_to() -> None:
    (ready, *_) = statements(replace(WELL, paused=True, pods=()))
    assert (ready.status, ready.reason) == ("False", "Paused")


RULED = replace(WELL, rules=("incident (Hold)", "z (Purge)"))


@pytest.mark.parametrize(
    ("pool", "begins", "ends"),
    [
        (RULED, "3 of 3 relays", "; by deliveryRules some mail is not tried: incident (Hold), z (Purge)"),
        (
            replace(WELL, rules=("again (Requeue)", "incident (Hold)"), outdated=2),
            "3 of 3 relays",
            "; by deliveryRules some mail is not tried: incident (Hold) (perhaps not yet at 2 relays, which have an older template)"
            "; by deliveryRules waiting mail is tried sooner: again (Requeue) (perhaps not yet at 2 relays, which have an older template)",
        ),
        (
            replace(WELL, rules=("again (Requeue)",)),
            "3 of 3 relays",
            "relays take mail, sent by eu-1; by deliveryRules waiting mail is tried sooner: again (Requeue)",
        ),
        (
            replace(RULED, outdated=2),
            "3 of 3 relays",
            "incident (Hold), z (Purge) (perhaps not yet at 2 relays, which have an older template)",
        ),
        (
            replace(RULED, paused=True),
            "paused: ",
            "; deliveryRules are stated, but while paused relays are told of no change to them: incident (Hold), z (Purge)",
        ),
        (
            replace(RULED, sources=Sources(())),
            "mail is accepted and held, none is sent",
            "some mail is not tried: incident (Hold), z (Purge)",
        ),
        (replace(RULED, paused=True, pods=()), "paused: ", "told of no change to them: incident (Hold), z (Purge)"),
    ],
)
def test_delivery_rules_are_told_with_whatever_else_there_is_and_not_as_followed_where_they_may_not_be(
    pool: Pool, begins: str, ends: str
) -> None:
    (ready, *_) = statements(pool)
    assert ready.message.startswith(begins)
    assert ready.message.endswith(ends)


def test_no_sending_ip_says_why_those_that_match_do_not_count() -> None:
    (ready, *_) = statements(replace(WELL, sources=Sources(elsewhere=("us-1",), unclaimed=("eu-2",))))
    assert "held" in ready.message and "us-1" in ready.message and "eu-2" in ready.message


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        pytest.param(NO_SECRET, "SecretNotFound", ["submitters", "authSecretRef", "create it"], id="Secret missing"),
        pytest.param(
            replace(
                NO_SECRET,
                mount_failure='MountVolume.SetUp failed for volume "suppression" : secret "bounced" not found',
            ),
            "SecretNotFound",
            ["bounced", "suppressionList", "create it"],
            id="Secret of the suppression list missing",
        ),
        pytest.param(
            Pod("d", mount_failure='MountVolume.SetUp failed for volume "dependencies" : secret "asker" not found'),
            "SecretNotFound",
            ["asker", "dependencies", "create it"],
            id="Secret of a dependency missing",
        ),
        pytest.param(
            Pod(
                "d",
                mount_failure='MountVolume.SetUp failed for volume "tls" : references non-existent secret key: tls.key',
            ),
            "SecretInvalid",
            ["tlsSecretRef", "tls.key"],
            id="key missing in a Secret",
        ),
        pytest.param(
            Pod("d", mount_failure='MountVolume.SetUp failed for volume "dkim" : secret "a-keys" not found'),
            "SecretNotFound",
            ["a-keys", "secretRef of a key in dkim", "create it"],
            id="Secret with a DKIM key missing",
        ),
        pytest.param(
            Pod("d", mount_failure='MountVolume.SetUp failed for volume "relay" : configmap "tx-relay" not found'),
            "RelaysNotReady",
            ["configmap"],
            id="another mount fails",
        ),
        pytest.param(
            Pod("d", waiting=Waiting("ImagePullBackOff", "no such image example/relay:9")),
            "ImageNotPulled",
            ["example/relay:9"],
            id="image not there",
        ),
        pytest.param(
            Pod("d", waiting=Waiting("CrashLoopBackOff", "", "3 restarts, last exit code 2: no such file")),
            "Crashing",
            ["exit code 2", "no such file"],
            id="crashes",
        ),
        pytest.param(
            Pod("d", waiting=Waiting("CreateContainerConfigError", "container has runAsNonRoot")),
            "RelaysNotReady",
            ["runAsNonRoot"],
            id="the kubelet refuses the container",
        ),
        pytest.param(
            Pod("d", unschedulable="0/2 nodes are available: 2 Insufficient cpu."),
            "Unschedulable",
            ["Insufficient cpu"],
            id="no node",
        ),
        pytest.param(STUCK, "RelaysNotReady", ["log"], id="never ready"),
        pytest.param(SOFT, "Cordoned", ["relayfleet.io/cordon"], id="cordoned"),
    ],
)
def test_what_holds_a_relay_up(pod: Pod, reason: str, words: list[str]) -> None:
    (found,) = problems([pod])
    assert found.reason == reason
    assert all(word in found.message for word in words), found.message


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(Pod("a", listed=True, serves=True), id="in traffic"),
        pytest.param(Pod("a", age=5, waiting=Waiting("ContainerCreating")), id="being created"),
        pytest.param(Pod("a", serves=True, age=10 * PATIENCE), id="about to be listed"),
    ],
)
def test_a_relay_without_a_problem(pod: Pod) -> None:
    assert problems([pod]) == []


def test_a_key_of_no_use_is_told_with_its_cure_and_where_it_was_seen() -> None:
    (_, degraded, *_) = statements(replace(WELL, pods=(UNSIGNED, *UP[:2])))
    assert degraded.message == f"{UNSIGNED.signing} (relay c)"
    (_, degraded, *_) = statements(replace(WELL, pods=(UP[0], UNPUBLISHED, UP[2])))
    assert degraded.message == f"{UNPUBLISHED.unpublished} (relay b)"


def test_every_reason_is_a_word_of_the_contract() -> None:
    pools = [
        WELL,
        replace(WELL, pods=(UNSIGNED,)),
        replace(WELL, pods=(UNPUBLISHED,)),
        replace(WELL, pods=UNLISTED),
        replace(WELL, pods=(ODDLY_LISTED,)),
        NEW,
        replace(WELL, paused=True),
        replace(WELL, wanted=0, pods=()),
        replace(WELL, refused="x", pods=()),
    ]
    every: list[Statement] = [each for pool in pools for each in statements(pool)] + list(invalid("x"))
    assert {each.reason for each in every} <= {str(reason) for reason in Reason}


def test_every_reason_for_which_evidence_takes_a_relay_out_is_a_reason_of_the_contract() -> None:
    """The words stand twice, since deciding imports nothing of ours."""
    in_traffic = ("HEALTHY", "RAMPING_UP", "STRAINED", "KEPT_IN_TRAFFIC", "ALL_BAD")
    nobody_blamed = (
        "VANTAGE_BLIND",
        "PATH_DISPUTED",
        "POOL_ERRING",
        "BROKER_DOWN",
        "DESTINATION_DOWN",
        "RESOLVER_DOWN",
    )
    others = {*in_traffic, *nobody_blamed, "DEPENDENCY_DOWN", "ORDERED"}
    said = {each.value for each in words.Reason if each.name not in others}
    assert said
    assert said <= {str(each) for each in Reason}


def test_a_pool_that_waits_for_queues_of_an_older_one_says_for_whom_and_what_to_do() -> None:
    message = next(each.message for each in statements(replace(NEW, sweep=UNANSWERED)) if each.type == "Ready")
    assert "an earlier RelayPool of this name" in message
    assert "broker mail-rabbitmq-1 was asked to remove relayfleet.eu.mail.tx.v1.ready.a, did not answer" in message
    assert "kubectl delete pod mail-rabbitmq-1" in message
    journal = replace(UNANSWERED, stream=True)
    message = next(each.message for each in statements(replace(NEW, sweep=journal)) if each.type == "Ready")
    assert "bring mail-rabbitmq-1 back" in message
    assert "delete pod" not in message, "it would not help"
