"""Copies that the API server refuses: tried once a minute, told of once, and written when they may be."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from relayfleet.controllers.queuecopies import AGAIN, Copies
from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeError, KubeForbidden, KubeInvalid, KubeUnavailable
from tests.fakes.kube import FakeKube

LOOK = 2.0


def copy(text: str = "a2V5", name: str = "mail-sealing-copy") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "mail", "name": name},
        "data": {"keys": text},
    }


class Refusing:
    """An API server that refuses, and counts how often it was asked."""

    def __init__(self) -> None:
        self.fake = FakeKube()
        self.fake.refuse = self._refuse
        self.kube = cast("Kube", self.fake)
        self.asked = 0
        self.error: KubeError | None = KubeForbidden("exceeded quota", 403)

    def _refuse(self, _: Object) -> None:
        self.asked += 1
        if self.error:
            raise self.error


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelno == logging.WARNING]


async def test_a_refused_copy_is_tried_once_a_minute_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    server, copies = Refusing(), Copies()
    for number in range(int(5 * AGAIN / LOOK)):
        assert not await copies.keep(server.kube, copy(), 1000.0 + number * LOOK)
    assert server.asked == 5
    assert warnings(caplog) == ["Secret mail/mail-sealing-copy, a copy, is not written: exceeded quota"]


async def test_other_words_are_told_again(caplog: pytest.LogCaptureFixture) -> None:
    server, copies = Refusing(), Copies()
    await copies.keep(server.kube, copy(), 0.0)
    server.error = KubeInvalid("denied by a policy", 422)
    await copies.keep(server.kube, copy(), AGAIN)
    await copies.keep(server.kube, copy(), 2 * AGAIN)
    assert [each.rpartition(": ")[2] for each in warnings(caplog)] == ["exceeded quota", "denied by a policy"]


async def test_what_says_something_new_does_not_wait_and_the_same_words_stay_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, copies = Refusing(), Copies()
    await copies.keep(server.kube, copy(), 0.0)
    assert not await copies.keep(server.kube, copy("bmV3"), LOOK)
    assert server.asked == 2 and len(warnings(caplog)) == 1
    server.error = None
    assert not await copies.keep(server.kube, copy("bmV3"), 2 * LOOK)  # the minute counts from the last time
    assert await copies.keep(server.kube, copy("bmV3"), LOOK + AGAIN)
    assert server.fake.seen("Secret", "mail-sealing-copy")["data"] == {"keys": "bmV3"}


async def test_after_it_was_written_a_refusal_is_news_again(caplog: pytest.LogCaptureFixture) -> None:
    server, copies = Refusing(), Copies()
    await copies.keep(server.kube, copy(), 0.0)
    error, server.error = server.error, None
    assert await copies.keep(server.kube, copy(), AGAIN)
    server.error = error
    assert not await copies.keep(server.kube, copy("bmV3"), AGAIN + LOOK)
    assert len(warnings(caplog)) == 2


async def test_one_copy_does_not_wait_for_the_other() -> None:
    server, copies = Refusing(), Copies()
    await copies.keep(server.kube, copy(), 0.0)
    server.error = None
    assert await copies.keep(server.kube, copy(name="mail-rabbitmq-admin-copy"), LOOK)


async def test_an_api_server_that_is_away_is_the_callers_business() -> None:
    server, copies = Refusing(), Copies()
    server.error = KubeUnavailable("no answer")
    with pytest.raises(KubeUnavailable):
        await copies.keep(server.kube, copy(), 0.0)
    server.error = None
    assert await copies.keep(server.kube, copy(), LOOK)
