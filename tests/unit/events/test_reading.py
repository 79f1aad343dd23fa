"""What a reader makes of a stream that comes over several connections."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from relayfleet.amqp.errors import ConnectionLost
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.events.reading import PREFETCH, Message, Reader, Start
from relayfleet.relay.spool.rabbitmq.link import Target


class Stream(Reader):
    """A reader; the test is the broker, and keeps some offsets of the stream."""

    def __init__(self, start: Start) -> None:
        super().__init__(Target(Broker(()), lambda: ("", "")), "journal", start)
        self.end = 1000
        self._link: Any = SimpleNamespace(start=lambda: None, stop=self._stop)
        self._channel = SimpleNamespace(ack=lambda tag: None)

    async def _stop(self) -> None:
        pass

    def connect(self, kept: Sequence[int]) -> None:
        """What `_prepare` does, and then all that the broker sends before it waits for an acknowledgement."""
        self._resumes = self._last is not None
        place = self._place()
        assert isinstance(place, int)
        for offset in [each for each in kept if each >= place][:PREFETCH]:
            self._take(self._channel, SimpleNamespace(headers={"x-stream-offset": offset}, body=b"", tag=offset))  # type: ignore[arg-type]

    def lose(self) -> None:
        def fail(tag: int) -> None:
            raise ConnectionLost("away")

        self._channel.ack = fail
        self._channel = SimpleNamespace(ack=lambda tag: None)
        self._forget()


@pytest.mark.parametrize("start", [Start(offset=0), Start(offset=3)])
async def test_a_reader_who_is_slow_has_no_more_in_memory_however_often_the_connection_is_lost(start: Start) -> None:
    subject, found = Stream(start), list[Message]()
    messages = subject.messages(follow=True)
    for _ in range(5):
        subject.connect(range(1000))
        assert subject._came.qsize() <= PREFETCH
        found += [await anext(messages) for _ in range(7)]
        subject.lose()
    subject.connect(range(1000))
    found += [await anext(messages) for _ in range(PREFETCH // 2)]
    await messages.aclose()
    first = start.offset or 0
    assert [each.offset for each in found] == list(range(first, first + len(found)))
    assert not any(each.gap for each in found)


async def test_who_comes_back_when_what_came_next_is_not_kept_any_more_is_told_so() -> None:
    subject = Stream(Start(offset=0))
    messages = subject.messages(follow=True)
    subject.connect([0, 1])
    found = [await anext(messages), await anext(messages)]
    subject.lose()
    subject.connect([2, 3])
    found += [await anext(messages), await anext(messages)]
    subject.lose()
    subject.connect([50, 51])
    found += [await anext(messages), await anext(messages)]
    subject.lose()
    subject.connect([51, 60])  # numbers that no message has
    found.append(await anext(messages))
    await messages.aclose()
    assert [(each.offset, each.gap) for each in found] == [
        (0, False),
        (1, False),
        (2, False),
        (3, False),
        (50, True),
        (51, False),
        (60, False),
    ]


async def test_who_is_so_slow_that_the_broker_deletes_what_comes_next_is_told_so() -> None:
    subject = Stream(Start(offset=0))
    messages = subject.messages(follow=True)
    subject.connect([0, 1, 3, 4, 40, 41])  # 2 is the broker's own
    found = [await anext(messages) for _ in range(6)]
    await messages.aclose()
    assert [each.offset for each in found if each.gap] == [40]
