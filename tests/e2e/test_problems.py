"""What is missing is said, with what to do, and heals by itself when it appears. Also: what deleting leaves behind."""

from __future__ import annotations

import pytest

from relayfleet.api.labels import QUEUE
from tests.e2e import operating, waiting
from tests.e2e.api import Object
from tests.e2e.fleet import PASSWORD, USER, Fleet
from tests.e2e.mailing import Account, client_pod, greets, send_from_inside
from tests.e2e.objects import certificate, queue_cluster, relay_pool, sending_ip, submitters
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for

pytestmark = pytest.mark.timeout(2400)

SAID = 15.0 + operating.TAKEOVER
"""Seconds until the operator says what it sees at once, on busy cores, on which the leader may change just then."""
KEPT = 900.0
"""Seconds until mail that was kept arrives: brokers and relays have to start (240), and a try that was under way when relay and brokers were deleted
beside each other is *uncertain*, and made again after ten minutes. It takes a minute otherwise."""

BROKERS: Object = {"apiVersion": "apps/v1", "kind": "StatefulSet"}
MAIL = b"From: sender@example.test\r\nTo: r@later.example.test\r\nX-Test-Id: kept\r\nSubject: kept\r\n\r\nkept\r\n"


def ready_of(obj: Object) -> Object:
    """The Ready condition."""
    found: Object = next(each for each in obj["status"]["conditions"] if each["type"] == "Ready")
    return found


async def test_the_same_address_twice_is_claimed_by_the_oldest(us: Region, namespace: str, fleet: Fleet) -> None:
    first, second = (sending_ip(namespace, name, "203.0.113.98", "us") for name in ("first", "second"))
    await us.apply(first)
    await waiting.condition(us.api, first, "Ready", "True", SAID)
    await us.apply(second)
    said = await waiting.condition(us.api, second, "Stalled", "True", SAID, "AddressClaimed")
    message = next(each["message"] for each in said["status"]["conditions"] if each["type"] == "Stalled")
    assert f"{namespace}/first" in message
    await us.api.delete("SendingIP", namespace, "first")
    await waiting.condition(us.api, second, "Ready", "True", SAID)


async def _all_end(region: Region, namespace: str) -> bool:
    """Whether each broker's pod is on its way out: deleted by whoever deleted its StatefulSet, not left an orphan."""
    pods = await region.api.list("Pod", namespace, {QUEUE: "mail"})
    if stay := [each["metadata"]["name"] for each in pods if not each["metadata"].get("deletionTimestamp")]:
        raise NotYet(f"{', '.join(stay)} stay")
    return True


async def test_an_image_that_cannot_be_had_is_named_and_an_empty_queue_whose_policy_is_delete_goes_with_its_volumes(
    us: Region, namespace: str, fleet: Fleet, images: dict[str, str]
) -> None:
    queue = queue_cluster(namespace, deletionPolicy="Delete", template={"image": "relayfleet/absent:1"})
    await us.apply(queue)
    said = await waiting.condition(us.api, queue, "Ready", "False", 90, "ImageNotPulled")
    assert "relayfleet/absent:1" in ready_of(said)["message"]
    await us.apply(queue_cluster(namespace, deletionPolicy="Delete", template={"image": images["rabbitmq"]}))
    await waiting.ready(us.api, queue, budget=240)
    await us.api.delete("QueueCluster", namespace, "mail")
    await waiting.gone(us.api, BROKERS | {"metadata": {"namespace": namespace, "name": "mail-rabbitmq"}}, 120)
    await wait_for(lambda: _all_end(us, namespace), 60, "the brokers end")
    await us.end_pods(namespace)

    async def nothing_left() -> bool:
        left = [*await us.api.list("StatefulSet", namespace), *await us.api.list("PersistentVolumeClaim", namespace)]
        left += [
            each for each in await us.api.list("Secret", namespace) if each["metadata"]["name"].startswith("mail-")
        ]
        if left:
            raise NotYet(", ".join(each["metadata"]["name"] for each in left))
        return True

    await wait_for(nothing_left, 180, "brokers, volumes and Secrets are gone")


async def test_a_pool_says_what_it_lacks_and_deleting_leaves_nothing_but_mail_which_a_new_queue_delivers(
    us: Region, namespace: str, fleet: Fleet, images: dict[str, str]
) -> None:
    queue, pool = queue_cluster(namespace), relay_pool(namespace, replicas=1, retry={"first": "1s", "max": "10s"})
    sending = sending_ip(namespace, "us-9", "203.0.113.99", "us")
    await us.apply(client_pod(namespace, images["mailclient"]))
    await _lacks_one_after_the_other(us, pool, sending, queue)
    for server in us.sinks.values():
        await server.put_rules({"stage": "mail", "code": 451, "text": "4.3.0 later"})
    account = Account(f"tx.{namespace}", 587, USER, PASSWORD)
    await greets(us, namespace, account)
    await send_from_inside(us, namespace, account, USER, ["r@example.test"], MAIL)
    for each in (pool, sending, queue):
        await us.api.delete(each["kind"], namespace, each["metadata"]["name"])
    for each in (pool, sending, queue):
        await waiting.gone(us.api, each, 30)
    await wait_for(
        lambda: _only_mail_left(us, namespace), 180, "nothing is left but volumes, their Secrets and what the user made"
    )
    for server in us.sinks.values():
        await server.put_rules()
    await us.apply(queue, sending, pool)
    [record] = await us.sinks["mx1"].wait_for(1, KEPT, lambda each: each["test_id"] == "kept")
    assert [each["address"] for each in record["recipients"]] == ["r@example.test"]


async def _lacks_one_after_the_other(region: Region, pool: Object, sending: Object, queue: Object) -> None:
    """Each thing that the pool lacks is named; it heals by itself when that is there, until it is Ready."""
    namespace = pool["metadata"]["namespace"]
    await region.apply(pool, sending)
    said = await waiting.condition(region.api, pool, "Ready", "False", SAID, "QueueNotFound")
    assert "mail" in ready_of(said)["message"]
    await region.apply(queue)
    said = await waiting.condition(region.api, pool, "Ready", "False", 240, "SecretNotFound")
    assert "submitters" in ready_of(said)["message"] or "smtp-tls" in ready_of(said)["message"]
    await region.apply(submitters(namespace, {USER: PASSWORD}), certificate("a.example.test").secret(namespace))
    await waiting.ready(region.api, queue, pool, budget=240)


async def _only_mail_left(region: Region, namespace: str) -> bool:
    left = []
    for kind in (
        "Deployment", "StatefulSet", "Service", "ConfigMap", "EndpointSlice", "NetworkPolicy", "PodDisruptionBudget", "Pod",
        "ServiceAccount",
    ):  # fmt: skip
        found = await region.api.list(kind, namespace)
        names = {each["metadata"]["name"] for each in found} - {"kube-root-ca.crt", "default", "mailclient"}
        left += [f"{kind} {name}" for name in names]
    if left:
        raise NotYet(", ".join(sorted(left)))
    return True
