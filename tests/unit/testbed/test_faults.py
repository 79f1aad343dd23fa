"""A container is frozen whole: also what it made, and although something ended, while it was looked at. The node's `ctr` is a script here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.faults import GO_ON, STAND_STILL

FORKS = """
import subprocess, sys, time
children = [subprocess.Popen(["sleep", "60"])]
print("ready", flush=True)
while True:
    children.append(subprocess.Popen(["sleep", "60"]))
    subprocess.run(["true"])
    time.sleep(0.002)
"""


class Container:
    """A process that makes others all the time; each look at it tells of one that has ended, too."""

    def __init__(self, folder: Path) -> None:
        self.first = subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, start_new_session=True)
        assert self.first.stdout
        assert self.first.stdout.readline() == b"ready\n"
        with subprocess.Popen(["true"]) as ended:
            pass
        script = folder / "ctr"
        script.write_text(
            f"""#!/bin/sh
[ "$*" = "-n k8s.io tasks ps abc" ] || exit 1
echo "PID      INFO"
for each in {self.first.pid} {ended.pid} $(cat /proc/{self.first.pid}/task/*/children); do echo " $each     -"; done
"""
        )
        script.chmod(0o755)
        self._environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def told(self, script: str) -> None:
        subprocess.run(["sh", "-c", script, "sh", "abc"], check=True, timeout=60, env=self._environment)

    @property
    def states(self) -> set[str]:
        """Of those that do not end while they are looked at."""
        found = set()
        for each in (self.first.pid, *self.children):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.add(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0])
        return found

    @property
    def children(self) -> list[int]:
        return [
            int(each) for each in Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()
        ]

    def end(self) -> None:
        os.killpg(self.first.pid, signal.SIGKILL)
        self.first.wait()
        assert self.first.stdout
        self.first.stdout.close()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    yield made
    made.end()


def test_all_stand_still_also_those_that_were_made_meanwhile_and_go_on_together(container: Container) -> None:
    container.told(STAND_STILL)
    assert container.states <= {"T", "Z", "D"}
    made = container.children
    time.sleep(0.1)
    assert container.children == made, "who stands still makes no other"
    container.told(GO_ON)
    deadline = time.monotonic() + 20
    while container.children == made or "T" in container.states:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_container_that_is_not_there_is_no_frozen_one(container: Container) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        container.told(STAND_STILL.replace("$1", "unknown"))
