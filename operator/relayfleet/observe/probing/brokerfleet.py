"""All brokers that one prober probes."""

from __future__ import annotations

import ipaddress
import random
import ssl
from collections.abc import Callable, Iterable

from relayfleet.observe.probing.brokersighting import BrokerSighting
from relayfleet.observe.probing.brokerwatcher import Around, BrokerWatcher
from relayfleet.observe.probing.fleet import AddressError
from relayfleet.observe.probing.pulse import Pulse
from relayfleet.protocol.brokerprobing import BrokerTarget


class BrokerFleet:
    """Probes in the running loop and tells `report` what is seen."""

    def __init__(self, report: Callable[[BrokerSighting], None]) -> None:
        self._around = Around(report, Pulse(), random.random())  # noqa: S311 - no secret
        self._watchers: dict[str, BrokerWatcher] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}

    def watch(self, targets: Iterable[BrokerTarget]) -> None:
        """Probe these and no others; one that has not changed keeps its connection. Raises AddressError, and then nothing has changed."""
        wanted = {target.key: target for target in targets}
        contexts = {each.authority: self._context(each) for each in wanted.values()}
        for key, watcher in list(self._watchers.items()):
            if watcher.target != wanted.get(key):
                self._watchers.pop(key).close()
        self._contexts = contexts
        for key, target in wanted.items():
            if key not in self._watchers:
                self._watchers[key] = BrokerWatcher(target, self._around, contexts[target.authority])

    def close(self) -> None:
        """Stop and close all connections."""
        self.watch(())
        self._around.pulse.close()

    def _context(self, target: BrokerTarget) -> ssl.SSLContext:
        """One for each CA, since making one takes a while."""
        try:
            ipaddress.ip_address(target.host)
            return self._contexts.get(target.authority) or ssl.create_default_context(cadata=target.authority)
        except ValueError as error:
            raise AddressError(f"broker {target.key}: {target.host!r} is no IP address, or its CA is none") from error
        except ssl.SSLError as error:
            raise AddressError(f"broker {target.key}: its CA cannot be used: {error}") from error
