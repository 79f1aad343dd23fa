"""The relay's loop is uvloop's, so these tests run on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import bcrypt
import pytest
import uvloop

from tests.relay.server.certificates import write_certificate


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def tls_folder(tmp_path: Path) -> Path:
    """A mounted certificate for `first.example`, issued by itself; clients trust `tls.crt`."""
    folder = tmp_path / "tls"
    folder.mkdir()
    write_certificate(folder, "first.example")
    return folder


@pytest.fixture
def auth_folder(tmp_path: Path) -> Path:
    """Credentials: `ann` with the password `secret`."""
    folder = tmp_path / "auth"
    folder.mkdir()
    (folder / "users").write_text(f"ann:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    return folder
