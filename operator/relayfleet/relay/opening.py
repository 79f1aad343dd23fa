"""Opening one sealed record for a person: what lies in quarantine says nothing by itself any more.

    kubectl exec -i deploy/transactional-relay -- relayfleet open < body

The body is what the broker holds, as it is or as base64 (the management API's `payload`).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import sys
from typing import BinaryIO

from relayfleet.protocol.relay_config import ConfigError, load
from relayfleet.protocol.sealing import ENTRY
from relayfleet.relay.files import Files
from relayfleet.relay.spool.record import Record, RecordError
from relayfleet.relay.spool.seal import name_of
from relayfleet.relay.spool.sealer import KeyMissingError, Sealer


def run(source: BinaryIO, out: BinaryIO, files: Files | None = None) -> int:
    """Write the record's envelope as JSON, an empty line, and the message; returns the exit status."""
    files = files or Files()
    body = _bytes(source.read())
    try:
        pool = load(files.config.read_text()).broker.queue_prefix
        record = Sealer(files.sealing / ENTRY, pool).open(body, lambda: name_of(body))
    except (OSError, ConfigError, RecordError, KeyMissingError) as error:
        print(f"relayfleet open: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    out.write(_envelope(record) + b"\n\n" + record.message)
    return 0


def _bytes(body: bytes) -> bytes:
    try:
        return base64.b64decode(body.strip(), validate=True)
    except binascii.Error:
        return body


def _envelope(record: Record) -> bytes:
    envelope = {each.name: getattr(record, each.name) for each in dataclasses.fields(record) if each.name != "message"}
    envelope["recipients"] = [dataclasses.asdict(each) for each in record.recipients]
    return json.dumps(envelope, indent=1).encode()
