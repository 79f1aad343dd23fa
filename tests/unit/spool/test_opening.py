"""A person who has a sealed record's body and name sees what is in it, in a relay's pod, and nowhere else."""

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
    assert run("01ABC.0", io.BytesIO(form(body)), out, files) == 0
    envelope, message = out.getvalue().split(b"\n\n", 1)
    assert json.loads(envelope)["recipients"] == [{"address": "b@two.test", "notify": "", "orcpt": ""}]
    assert json.loads(envelope)["last_answer"] == "why"
    assert message == RECORD.message


@pytest.mark.parametrize("name", ["01ABC.1", ""])
def test_under_another_name_nothing_is_shown(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    files, body = pod(tmp_path)
    out = io.BytesIO()
    assert run(name, io.BytesIO(body), out, files) == 1
    assert out.getvalue() == b""
    assert "the seal of record" in capsys.readouterr().err
