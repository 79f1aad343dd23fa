"""A real PostgreSQL on loopback with a data directory of its own, run by a user that is not root (it refuses to run as root)."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.relay import standstill
from tests.relay.dependencies.servers import closed_port
from tests.relay.server.certificates import write_certificate

USER, PASSWORD, DATABASE = "asker", "correct horse", "postgres"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "ssl": "on",
    "ssl_cert_file": "tls.crt",
    "ssl_key_file": "tls.key",
    "log_min_messages": "fatal",
}


def binaries() -> Path | None:
    """Where `initdb` and `postgres` are: on the path, or where Debian puts them. None: nowhere."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda each: int(each.parts[-3]))
    return versions[-1].parent if versions else None


def _user() -> dict[str, Any]:
    """Arguments for a process that runs as nobody, if this one is root's."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@dataclass
class Postgres:
    """One server; `folder` holds `tls.crt`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        """At once."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server, with all its children, stands still for the block."""
        stopped = [self.process.pid]
        standstill.stop(self.process.pid)  # first, so that it has no more children than those
        try:
            for child in _children(self.process.pid):
                stopped.append(child)
                standstill.stop(child)
            yield
        finally:
            # The server last: a child that has ended keeps its number until its parent goes on.
            for each in reversed(stopped):
                os.kill(each, signal.SIGCONT)

    def start(self, found: Path) -> None:
        """Again, after `stop`."""
        self.process = _started(found, self.folder, self.port)


def _children(process: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextlib.contextmanager
def running(found: Path) -> Iterator[Postgres]:
    """A server that answers soon; gone with its data in the end."""
    with tempfile.TemporaryDirectory(prefix="relayfleet-postgres-") as root:
        folder = Path(root) / "data"
        if user := _user():
            os.chown(root, user["user"], user["group"])
        _initialise(found, folder, user)
        port = closed_port()
        server = Postgres(folder, port, _started(found, folder, port))
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.stop()


def _initialise(found: Path, folder: Path, user: dict[str, Any]) -> None:
    secret = folder.parent / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    command: list[str | Path] = [
        found / "initdb",
        "-D",
        folder,
        "-U",
        USER,
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--no-sync",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd="/", **user)
    write_certificate(folder, "db.example")
    (folder / "tls.key").chmod(0o600)
    for name in ("tls.crt", "tls.key"):
        if user:
            os.chown(folder / name, user["user"], user["group"])


def _started(found: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    settings = [f"-c{name}={value}" for name, value in (*_SETTINGS.items(), ("port", str(port)))]
    return subprocess.Popen(
        [found / "postgres", "-D", folder, *settings], cwd="/", stderr=subprocess.DEVNULL, **_user()
    )
