"""What a relay is told by files: where they are, how they are read, and the news that they changed.

Kubernetes mounts ConfigMaps and Secrets as folders whose content is swapped in one step, by a symbolic link. So a file is looked at by
its resolved path, size and time; a look every half second costs nothing and needs no inotify.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from relayfleet.protocol import brokeruser

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Files:
    """The folders of a relay pod, below one root. `broker_user`: the relay whose own broker user it is; "": the one in the files."""

    root: Path = Path("/etc/relayfleet")
    broker_user: str = ""

    @property
    def config(self) -> Path:
        return self.root / "relay" / "relay.json"

    @property
    def auth(self) -> Path:
        return self.root / "auth"

    @property
    def certificate(self) -> Path:
        return self.root / "tls" / "tls.crt"

    @property
    def key(self) -> Path:
        return self.root / "tls" / "tls.key"

    @property
    def dkim(self) -> Path:
        """Missing where nothing is signed."""
        return self.root / "dkim"

    @property
    def suppression(self) -> Path:
        """Missing where there is no suppression list."""
        return self.root / "suppression"

    @property
    def broker_ca(self) -> Path:
        return self.root / "broker" / "ca.crt"

    @property
    def control(self) -> Path:
        """May be missing: a relay that an older operator made has none."""
        return self.root / "control"

    @property
    def discard(self) -> Path:
        return self.control / "discard"

    @property
    def dependencies(self) -> Path:
        """Missing when no dependency needs a Secret."""
        return self.root / "dependencies"

    @property
    def sealing(self) -> Path:
        """The folder with the sealing keys. Missing in a relay that an older operator made."""
        return self.root / "sealing"

    def broker_credentials(self) -> tuple[str, str]:
        """User and password for the broker. Raises OSError while the Secret is not mounted."""
        folder = self.root / "broker"
        password = (folder / "password").read_text().strip()
        if self.broker_user:
            return brokeruser.username(self.broker_user), brokeruser.password(self.broker_user, password)
        return (folder / "username").read_text().strip(), password


def files_of(relay: str) -> Files:
    """The files of this pod's relay; it has a broker user of its own where the environment says so."""
    own = os.environ.get(brokeruser.VARIABLE) == brokeruser.OWN
    return Files(broker_user=relay if own else "")


def look(path: Path) -> tuple[object, ...]:
    """What tells one version of a file, or of all files in a folder, from the next; () when there is none."""
    try:
        if path.is_dir():
            return tuple(look(each) for each in sorted(path.iterdir()) if not each.name.startswith(".."))
        status = path.stat()
        return (str(path.resolve()), status.st_ino, status.st_mtime_ns, status.st_size)
    except OSError:
        return ()


async def watch(path: Path, changed: Callable[[], Awaitable[None]], every: float = LOOK_EVERY) -> None:
    """Call `changed` each time the file or folder is another one, until cancelled. An error in `changed` is logged: the old state stays."""
    before = look(path)
    while True:
        await asyncio.sleep(every)
        now = look(path)
        if now == before:
            continue
        before = now
        try:
            await changed()
        except Exception:
            log.exception("%s has changed, but cannot be used; going on as before", path)
