"""A disk of its own for each broker: a file with a filesystem in it, which can be full, stand still, or lose what was not synced, while this
machine's own disk does none of that."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import struct
from contextlib import suppress
from pathlib import Path

from relayfleet.children.rabbitmq import names
from tests.testbed.shell import TestbedError, run

SIZE = 8 * 2**30
"""Bytes; the file is sparse. More than the brokers' own limit of free disk, with room for the mail of an hour."""
BALLAST, BLOCK = "ballast", 4096
MARKER = "not-synced"
_SHUTDOWN, _WITHOUT_FLUSH = 0x8004587D, 2
"""EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (include/uapi/linux/ext4.h): the filesystem writes nothing more, neither data nor its own journal."""


class Disk:
    """ext4 in `<folder>/disk-<number>`, mounted beside it."""

    def __init__(self, folder: Path, number: int) -> None:
        self.image = folder / f"disk-{number}"
        self.place = folder / f"disk-{number}.mounted"

    @property
    def data(self) -> Path:
        """For the broker's user; `lost+found` is not in its way here."""
        return self.place / "data"

    def make(self) -> None:
        """Anew. Raises TestbedError where this machine cannot mount a file."""
        self.remove()
        self.place.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        run("mkfs.ext4", "-q", "-m", "0", self.image)
        self.mount()
        self.data.mkdir()
        os.chown(self.data, names.UID, names.UID)

    def mount(self) -> None:
        """After what was synced has been read from its journal."""
        run("mount", "-o", "loop", self.image, self.place)

    def remove(self) -> None:
        """With all that is on it."""
        with suppress(TestbedError):
            run("umount", self.place)
        self.image.unlink(missing_ok=True)
        with suppress(OSError):  # who cannot be unmounted stays, and says so when it is made again
            self.place.rmdir()

    @property
    def gone(self) -> str:
        """The shell command for the end of it, should nobody be left to call `remove`."""
        return f"umount {shlex.quote(str(self.place))}; rm -f {shlex.quote(str(self.image))}"

    def fill(self) -> None:
        """To the last block."""
        with (self.place / BALLAST).open("wb") as file:
            end, step = 0, SIZE
            while step >= BLOCK:
                try:
                    os.posix_fallocate(file.fileno(), end, step)
                    end += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    @property
    def room(self) -> int:
        """Bytes that are free."""
        state = os.statvfs(self.place)
        return state.f_bavail * state.f_frsize

    @property
    def room_again(self) -> str:
        """The shell command that undoes it."""
        return f"rm -f {shlex.quote(str(self.place / BALLAST))}"

    def stand_still(self) -> None:
        """Every write and every fsync waits."""
        run("fsfreeze", "-f", self.place)

    @property
    def go_on(self) -> tuple[str, ...]:
        """The command that undoes it."""
        return ("fsfreeze", "-u", str(self.place))

    def lose_power(self) -> None:
        """What is not synced is gone, and whatever its users do now fails. Come back by `power_again`, when they are gone."""
        (self.place / MARKER).write_text("a file that nobody syncs")
        handle = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(handle)

    @property
    def power_again(self) -> str:
        """The shell command that mounts it anew, once its user is gone; it does no harm when that was done before."""
        place, image = shlex.quote(str(self.place)), shlex.quote(str(self.image))
        lives = f"{{ mountpoint -q {place} && touch {place}/lives 2>/dev/null; }}"
        return f"{lives} || {{ umount {place}; mount -o loop {image} {place}; }}"

    @property
    def trouble(self) -> str:
        """Why a broker cannot use it, in words; empty when it can."""
        if not self.place.is_mount():
            return f"{self.place} is not mounted"
        try:
            (self.place / "lives").touch()
        except OSError as error:
            return str(error)
        return ""

    @property
    def lost_what_was_not_synced(self) -> bool:
        """Whether the last `lose_power` did what it says."""
        return not (self.place / MARKER).exists()
