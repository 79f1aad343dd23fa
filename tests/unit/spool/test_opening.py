"""A person who has a sealed record's body sees what is in it, in a relay's pod, and nowhere else."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Broker, RelayConfig, dump
from relayfleet.protocol.sealing import ENTRY, Key
from relayfleet.protocol.sealing import dump as dumped
from relayfleet.relay.files import Files
from relayfleet.relay.opening import run
from relayfleet.relay.spool.record import Recipient, Record
from relayfleet.relay.spool.sealer import Sealer

RECORD = Record("01ABC", "a@one.test", (Recipient("b@two.test"),), b"Subject: hi\r\n\r\nhello\r\n", last_answer="why")


def pod(root: Path) -> tuple[Files, bytes]:
    """A relay's files, and a record as it rests in its pool's queue."""
    files = Files(root)
    for folder in (files.config.parent, files.sealing):
        folder.mkdir()
    files.config.write_text(dump(RelayConfig("mail/tx", "eu", Broker((), queue_prefix="p"), ())))
    (files.sealing / ENTRY).write_text(dumped([Key("1" * 16, bytes(32), 1, 1)]))
    return files, Sealer(files.sealing / ENTRY, "p", seals=True).seal(RECORD)


@pytest.mark.parametrize("form", [bytes, base64.b64encode, lambda body: base64.b64encode(body) + b"\n"])
def test_envelope_and_message_are_shown(tmp_path: Path, form: type[bytes]) -> None:
    files, body = pod(tmp_path)
    out = io.BytesIO()
    assert run(io.BytesIO(form(body)), out, files) == 0
    envelope, message = out.getvalue().split(b"\n\n", 1)
    assert json.loads(envelope)["recipients"] == [{"address": "b@two.test", "notify": "", "orcpt": ""}]
    assert json.loads(envelope)["last_answer"] == "why"
    assert message == RECORD.message


def test_what_was_changed_or_is_sealed_by_a_key_that_is_not_here_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, body = pod(tmp_path)
    out = io.BytesIO()
    assert run(io.BytesIO(body[:-1] + bytes([body[-1] ^ 1])), out, files) == 1
    assert "is broken" in capsys.readouterr().err
    assert run(io.BytesIO(body[:4] + b"\0" * 8 + body[12:]), out, files) == 1
    assert "which is not here" in capsys.readouterr().err
    assert out.getvalue() == b""
