"""What is missing is said, with what to do, and heals by itself when it appears. Also: what deleting leaves behind."""

from __future__ import annotations

from tests.e2e import waiting
from tests.e2e.api import Object
from tests.e2e.fleet import PASSWORD, USER, Fleet
from tests.e2e.mailing import Account, client_pod, send_from_inside
from tests.e2e.objects import certificate, queue_cluster, relay_pool, sending_ip, submitters
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for
from tests.sink.client import SinkClient


def ready_of(obj: Object) -> Object:
    """The Ready condition."""
    found: Object = next(each for each in obj["status"]["conditions"] if each["type"] == "Ready")
    return found


async def test_a_pool_says_what_it_lacks_one_after_the_other_and_heals_by_itself(
    us: Region, namespace: str, fleet: Fleet
) -> None:
    pool = relay_pool(namespace, replicas=1)
    await us.apply(pool, sending_ip(namespace, "us-9", "203.0.113.99", "us"))
    said = await waiting.condition(us.api, pool, "Ready", "False", 20, "QueueNotFound")
    assert "mail" in ready_of(said)["message"]
    await us.apply(queue_cluster(namespace))
    said = await waiting.condition(us.api, pool, "Ready", "False", 240, "SecretNotFound")
    assert "submitters" in ready_of(said)["message"] or "smtp-tls" in ready_of(said)["message"]
    await us.apply(submitters(namespace, {USER: PASSWORD}), certificate("a.example.test").secret(namespace))
    await waiting.ready(us.api, pool, budget=200)


async def test_the_same_address_twice_is_claimed_by_the_oldest(us: Region, namespace: str, fleet: Fleet) -> None:
    first, second = (sending_ip(namespace, name, "203.0.113.98", "us") for name in ("first", "second"))
    await us.apply(first)
    await waiting.condition(us.api, first, "Ready", "True", 20)
    await us.apply(second)
    said = await waiting.condition(us.api, second, "Stalled", "True", 20, "AddressClaimed")
    message = next(each["message"] for each in said["status"]["conditions"] if each["type"] == "Stalled")
    assert f"{namespace}/first" in message
    await us.api.delete("SendingIP", namespace, "first")
    await waiting.condition(us.api, second, "Ready", "True", 20)


async def test_an_image_that_cannot_be_had_is_named_and_a_better_one_is_used(
    us: Region, namespace: str, fleet: Fleet, images: dict[str, str]
) -> None:
    queue = queue_cluster(namespace, template={"image": "relayfleet/absent:1"})
    await us.apply(queue)
    said = await waiting.condition(us.api, queue, "Ready", "False", 90, "ImageNotPulled")
    assert "relayfleet/absent:1" in ready_of(said)["message"]
    await us.apply(queue_cluster(namespace, template={"image": images["rabbitmq"]}))
    await waiting.ready(us.api, queue, budget=240)


async def test_an_empty_queue_whose_policy_is_delete_goes_with_its_volumes(
    us: Region, namespace: str, fleet: Fleet
) -> None:
    queue = queue_cluster(namespace, deletionPolicy="Delete")
    await us.apply(queue)
    await waiting.ready(us.api, queue, budget=240)
    await us.api.delete("QueueCluster", namespace, "mail")

    async def nothing_left() -> bool:
        left = [*await us.api.list("StatefulSet", namespace), *await us.api.list("PersistentVolumeClaim", namespace)]
        left += [
            each for each in await us.api.list("Secret", namespace) if each["metadata"]["name"].startswith("mail-")
        ]
        if left:
            raise NotYet(", ".join(each["metadata"]["name"] for each in left))
        return True

    await wait_for(nothing_left, 180, "brokers, volumes and Secrets are gone")


MAIL = b"From: sender@example.test\r\nTo: r@later.example.test\r\nX-Test-Id: kept\r\nSubject: kept\r\n\r\nkept\r\n"


async def test_deleting_leaves_nothing_but_mail_which_a_new_queue_delivers(
    us: Region, namespace: str, fleet: Fleet, sinks: dict[str, dict[str, SinkClient]], images: dict[str, str]
) -> None:
    sink = sinks["us"]["mx1"]
    for server in sinks["us"].values():
        await server.put_rules({"stage": "mail", "code": 451, "text": "4.3.0 later"})
    queue, pool = queue_cluster(namespace), relay_pool(namespace, replicas=1, retry={"first": "1s", "max": "10s"})
    secrets = [submitters(namespace, {USER: PASSWORD}), certificate("a.example.test").secret(namespace)]
    sending = sending_ip(namespace, "us-8", "203.0.113.97", "us")
    await us.apply(*secrets, queue, sending, pool, client_pod(namespace, images["mailclient"]))
    await waiting.ready(us.api, queue, pool, budget=240)
    account = Account(f"tx.{namespace}", 587, USER, PASSWORD)
    await send_from_inside(us, namespace, account, USER, ["r@example.test"], MAIL)
    for each in (pool, sending, queue):
        await us.api.delete(each["kind"], namespace, each["metadata"]["name"])
    for each in (pool, sending, queue):
        await waiting.gone(us.api, each, 30)
    await wait_for(
        lambda: _only_mail_left(us, namespace), 120, "nothing is left but volumes, their Secrets and what the user made"
    )
    for server in sinks["us"].values():
        await server.put_rules()
    await us.apply(queue, sending, pool)
    [record] = await sink.wait_for(1, 300, lambda each: each["test_id"] == "kept")
    assert [each["address"] for each in record["recipients"]] == ["r@example.test"]


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
