"""Processes that a dead engine left frozen.

runc freezes a container for a moment whenever it changes its rights. If everything dies in that moment, the processes of cgroups v1 stay
frozen; not even SIGKILL ends them, and the node container around them can not be removed.
"""

from collections.abc import Iterable
from pathlib import Path

FREEZER = Path("/sys/fs/cgroup/freezer")


def thaw(containers: Iterable[str], root: Path = FREEZER) -> int:
    """Lets what is frozen in these containers (full ids) go on; how many groups of processes that were. 0 where cgroups are v2."""
    frozen = [
        state
        for container in containers
        for state in root.glob(f"docker/{container}/**/freezer.state")
        if state.read_text().strip() != "THAWED"
    ]
    for state in sorted(frozen, key=lambda each: len(each.parts)):
        state.write_text("THAWED")
    return len(frozen)
