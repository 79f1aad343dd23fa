"""A mail through a RelayPool: it arrives byte for byte, from the right address and name, and only from those who may send."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTPUTF8

import pytest

from tests.e2e.fleet import PASSWORD, POOL, USER, Fleet
from tests.e2e.mailing import Account, NotAccepted, send_from_inside, send_from_outside
from tests.e2e.objects import submitters
from tests.e2e.region import Region
from tests.e2e.traffic import serving_targets
from tests.e2e.waiting import NotYet, wait_for
from tests.sink.client import Line, SinkClient

SIMPLE = b"From: sender@example.test\r\nTo: r@example.test\r\nSubject: x\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@x.test>\r\n\r\nhello\r\n"


def rich_message() -> bytes:
    """Attachments, 8-bit text, an address in UTF-8, lines that begin with dots, and no line end at the end of a part."""
    message = EmailMessage(policy=SMTPUTF8.clone(cte_type="8bit"))
    message["From"] = "Jürgen <jürgen@example.test>"
    message["To"] = "r@example.test"
    message["Subject"] = "Grüße, 世界"
    message["Date"] = "Tue, 24 Nov 2026 12:00:00 +0000"
    message["Message-ID"] = "<rich@example.test>"
    message["X-Test-Id"] = "rich"
    message.set_content(".\n..\n.dot at the start\nžluťoučký kůň\n", charset="utf-8", cte="8bit")
    message.add_attachment(
        bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="všechno.bin"
    )
    return message.as_bytes()


def for_recipient(address: str) -> Callable[[Line], bool]:
    """Mail of this test: what an earlier one sent may be tried again late."""
    return lambda each: address in {one["address"] for one in each["recipients"]}


async def outside(region: Region, fleet: Fleet, **login: str | None) -> Account:
    """The pool as the world reaches it: a node port."""
    host, _, port = (await serving_targets(region, fleet))[0].rpartition(":")
    return Account(host, int(port), **{"username": USER, "password": PASSWORD, **login})  # type: ignore[arg-type]


async def test_a_rich_mail_arrives_byte_for_byte(eu: Region, fleet: Fleet, sink: SinkClient) -> None:
    sent = rich_message()
    await send_from_outside(await outside(eu, fleet), "jürgen@example.test", ["žluťoučký@example.test"], sent)
    [record] = await sink.wait_for(1, 30, lambda each: each["test_id"] == "rich")
    raw = await sink.raw(record["n"])
    trace, _, rest = raw.partition(sent.partition(b"\r\n")[0])
    assert trace.startswith(b"Received: ")
    assert sent.partition(b"\r\n")[0] + rest == sent
    assert [each["address"] for each in record["recipients"]] == ["žluťoučký@example.test"]


async def test_a_mail_leaves_with_the_name_of_its_sending_ip(
    regions: dict[str, Region], fleet: Fleet, sinks: dict[str, dict[str, SinkClient]]
) -> None:
    for name, region in regions.items():
        await send_from_inside(region, fleet.namespace, fleet.inside, USER, ["helo@example.test"], SIMPLE)
        [record] = await sinks[name]["mx1"].wait_for(1, 30, for_recipient("helo@example.test"))
        assert record["helo"] == f"{name}-1.mail.example.test"


async def test_one_mail_to_many_is_one_record_and_reaches_each_once(eu: Region, fleet: Fleet, sink: SinkClient) -> None:
    people = [f"p{number}@example.test" for number in range(100)]
    await send_from_outside(await outside(eu, fleet), USER, people, SIMPLE)
    records = await sink.wait_for(1, 30, lambda record: any(each["address"] in people for each in record["recipients"]))
    got = [each["address"] for record in records for each in record["recipients"]]
    assert sorted(got) == sorted(people)


@pytest.mark.parametrize(
    ("login", "code"),
    [({"username": None}, 530), ({"password": "wrong"}, 535), ({"username": "stranger@example.test"}, 535)],
    ids=["without AUTH", "wrong password", "unknown user"],
)
async def test_strangers_from_outside_cannot_send(
    eu: Region, fleet: Fleet, sink: SinkClient, login: dict[str, str | None], code: int
) -> None:
    with pytest.raises(NotAccepted) as refused:
        await send_from_outside(await outside(eu, fleet, **login), USER, ["victim@example.test"], SIMPLE)
    assert refused.value.code == code
    victims = for_recipient("victim@example.test")
    assert [each for each in await sink.messages() if victims(each)] == []


MOUNTED = 150.0
"""Seconds until a relay goes by a Secret that changed: the kubelet looks at mounts once a minute (on the test bed each 20 s) and may know a Secret that
is a minute old; the relay itself looks twice a second."""


async def processes(region: Region, fleet: Fleet) -> set[str]:
    """The uids of the relays that stay: one that an earlier test replaced may still be ending."""
    pods = await region.api.list("Pod", fleet.namespace, {"relayfleet.io/pool": POOL})
    return {each["metadata"]["uid"] for each in pods if "deletionTimestamp" not in each["metadata"]}


async def test_a_new_submitter_can_send_without_a_restart(eu: Region, fleet: Fleet, sink: SinkClient) -> None:
    before = await processes(eu, fleet)
    await eu.apply(submitters(fleet.namespace, {USER: PASSWORD, "new@example.test": "new word"}))
    account = await outside(eu, fleet, username="new@example.test", password="new word")

    async def accepted() -> bool:
        try:
            await send_from_outside(account, "new@example.test", ["a@example.test"], SIMPLE)
        except NotAccepted as error:
            raise NotYet(str(error)) from error
        return True

    await wait_for(accepted, MOUNTED, "the new submitter is accepted")
    assert await processes(eu, fleet) == before


def test_the_rich_message_holds_what_its_name_says() -> None:
    sent = rich_message()
    assert max(sent) > 127
    assert b"\r\n.\r\n" in sent
    assert len(hashlib.sha256(sent).hexdigest()) == 64
