"""All dependencies of the pool as this relay sees them, and what follows: whether new mail is taken, and what the leader is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from relayfleet.protocol.dependency import Dependency, Target, folder
from relayfleet.protocol.telemetry import Dependency as Told
from relayfleet.protocol.telemetry import DependencyState
from relayfleet.relay.dependencies.reaching import Names
from relayfleet.relay.dependencies.verdict import Track, Verdict, judge
from relayfleet.relay.dependencies.watcher import Watcher, probe

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What one watcher was made of: it goes on as long as just this is declared."""

    folder: str
    target: Target
    interval: float
    timeout: float


class Dependencies:
    """Asks while `run` runs. `files` is the folder with one folder for each target that needs files."""

    def __init__(self, declared: tuple[Dependency, ...], files: Path) -> None:
        self._declared = declared
        self._files = files
        self._names: Names | None = None
        self._watchers: dict[_Wanted, tuple[Watcher, asyncio.Task[None]]] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._defers_for = ""

    async def run(self) -> None:
        """Until cancelled."""
        self._names = Names()
        try:
            self._follow()
            await asyncio.Event().wait()
        finally:
            tasks = [task for _, task in self._watchers.values()]
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._names.close()

    def reload(self, declared: tuple[Dependency, ...]) -> None:
        """Others are declared. What is known of those that stay, stays."""
        self._declared = declared
        if self._names is not None:
            self._follow()

    @property
    def defers_for(self) -> str:
        """The dependency for which new mail has to wait, or ""."""
        return self._defers_for

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """By name; of those that this relay can ask."""
        return self._verdicts

    def told(self) -> tuple[Told, ...]:
        """For the leader, now."""
        if self._names is None:
            return ()
        now = asyncio.get_running_loop().time()
        return tuple(
            Told(name, each.state, round(max(0.0, now - each.since), 1), each.why[:256])
            for name, each in self._verdicts.items()
        )

    def outcomes(self) -> Iterator[tuple[str, str, int]]:
        """Of probes since the start: folder of the target, kind of outcome, and how often."""
        for wanted, (watcher, _) in self._watchers.items():
            for kind, number in watcher.outcomes.items():
                yield wanted.folder, kind.value, number

    def _follow(self) -> None:
        wanted = {each for dependency in self._declared for each in _targets(dependency)}
        for gone in self._watchers.keys() - wanted:
            self._watchers.pop(gone)[1].cancel()
        for new in wanted - self._watchers.keys():
            self._begin(new)
        self._judge()

    def _begin(self, wanted: _Wanted) -> None:
        assert self._names is not None  # noqa: S101 - for the type checker
        asked = probe(wanted.target, self._names, self._files / wanted.folder)
        if asked is None:
            log.warning("dependency %s is of a kind that this relay does not know: it is not asked", wanted.folder)
            return
        watcher = Watcher(asked, wanted.interval, wanted.timeout, self._judge)
        task = asyncio.get_running_loop().create_task(watcher.run(), name=f"dependency {wanted.folder}")
        self._watchers[wanted] = watcher, task

    def _judge(self) -> None:
        verdicts = {each.name: found for each in self._declared if (found := self._verdict(each))}
        for name, verdict in verdicts.items():
            before = self._verdicts.get(name)
            if before is None or before.state is not verdict.state:
                tell("dependency", name, verdict)
        self._verdicts = verdicts
        waits = (each.name for each in self._declared if each.on_failure != "Report")
        self._defers_for = next((name for name in waits if _is_down(verdicts.get(name))), "")

    def _verdict(self, dependency: Dependency) -> Verdict | None:
        tracks = [self._track(each) for each in _targets(dependency)]
        if tracks[0] is None:
            return None
        return judge(tracks[0], tracks[1] if len(tracks) > 1 else None)

    def _track(self, wanted: _Wanted) -> Track | None:
        found = self._watchers.get(wanted)
        return found[0].track if found else None


def _targets(dependency: Dependency) -> Iterator[_Wanted]:
    """The first one, and the backup if it counts."""
    times = (dependency.interval, dependency.timeout)
    yield _Wanted(folder(dependency.name), dependency.target, *times)
    if dependency.on_failure == "UseBackup" and dependency.backup is not None:
        yield _Wanted(folder(dependency.name, backup=True), dependency.backup, *times)


def _is_down(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.state is DependencyState.DOWN


def tell(what: str, name: str, verdict: Verdict) -> None:
    """Into the log, since the verdict on one of them is another one now."""
    if verdict == Verdict(DependencyState.UNKNOWN, verdict.since):
        return  # it is new
    good = verdict.state is DependencyState.ANSWERS
    level = logging.INFO if good else logging.WARNING
    log.log(level, "%s %s: %s%s", what, name, verdict.state.value, f", {verdict.why}" if verdict.why else "")
