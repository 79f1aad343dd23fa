"""All targets of one prober."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

from relayfleet.observe.probing.pulse import Pulse
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.observe.probing.surroundings import Surroundings
from relayfleet.observe.probing.watcher import Watcher
from relayfleet.protocol.probing import Target


class AddressError(ValueError):
    """A target's host is no IP address; the text says which."""


class Fleet:
    """Probes in the running loop and tells `report` what is seen."""

    def __init__(self, report: Callable[[Sighting], None]) -> None:
        self._around = Surroundings(report, Pulse())
        self._watchers: dict[str, Watcher] = {}

    @property
    def targets(self) -> int:
        """How many are probed."""
        return len(self._watchers)

    def watch(self, targets: Iterable[Target]) -> None:
        """Probe these and no others; who has not changed keeps its session. Raises AddressError, and then nothing has changed."""
        wanted = {target.key: target for target in targets}
        for target in wanted.values():
            _check(target)
        for key, watcher in list(self._watchers.items()):
            if watcher.target != wanted.get(key):
                self._watchers.pop(key).close()
        for key, target in wanted.items():
            if key not in self._watchers:
                self._watchers[key] = Watcher(target, self._around)

    def burst(self, keys: Iterable[str]) -> None:
        """Probe these at once, on fresh sockets and by an envelope; unknown keys are of a list that is gone."""
        for key in keys:
            if watcher := self._watchers.get(key):
                watcher.closer()

    def close(self) -> None:
        """Stop and close all sockets."""
        self.watch(())
        self._around.pulse.close()


def _check(target: Target) -> None:
    try:
        ipaddress.ip_address(target.host)
    except ValueError as error:
        raise AddressError(f"target {target.key}: {target.host!r} is no IP address; probers ask no resolver") from error
    try:
        for each in target.proxy_sources:
            ipaddress.ip_network(each, strict=False)
    except ValueError as error:
        raise AddressError(f"target {target.key}: proxy sources: {error}") from error
