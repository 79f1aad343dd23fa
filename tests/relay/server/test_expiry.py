"""A client that says until when its mail is worth delivering."""

from __future__ import annotations

import logging

import pytest

from tests.fakes.spool import MemorySpool
from tests.relay.server.harness import connected, serving


async def test_the_record_carries_the_time_and_the_field_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        client.send(b"Subject: x\r\nRelayfleet-Expires: 600\r\n\r\nyour code\r\n.\r\n")
        assert (await client.reply()).startswith(b"250 ")
        await client.envelope()
        client.send(b"Subject: y\r\n\r\nhi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250 ")
        assert server.counters.expiries == {"Taken": 1}
    short, plain = spool.stored
    assert short.expires_at - short.accepted_at == pytest.approx(600, abs=1e-3)
    assert short.message.endswith(b"\r\nSubject: x\r\n\r\nyour code\r\n")
    assert b"Expires" not in short.message
    assert plain.expires_at == 0.0
    assert "ignored" not in caplog.text


async def test_what_nobody_can_read_loses_no_mail_and_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        client.send(b"Relayfleet-Expires: in an hour\r\nSubject: x\r\n\r\nhi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250 ")
        assert server.counters.expiries == {"Ignored": 1}
    (record,) = spool.stored
    assert record.expires_at == 0.0
    assert record.message.endswith(b"Subject: x\r\n\r\nhi\r\n")
    (line,) = (each for each in caplog.records if each.levelno == logging.WARNING)
    assert line.getMessage().startswith(
        f"id={record.id} Relayfleet-Expires ignored: 'in an hour' is neither seconds nor"
    )
