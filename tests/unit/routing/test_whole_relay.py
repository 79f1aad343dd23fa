"""The relay as it is put together: whom it asks for names, what it tells of that, and that another configuration needs no restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Broker, Delivery, RelayConfig, Source, dump
from relayfleet.protocol.telemetry import DependencyState
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.routing.servers import written
from tests.fakes.dns import responder

ZONE = {("eu-1.example", "A"): ["192.0.2.1"], ("you.example", "MX"): ["10 mx.you.example."]}
CONFIG = RelayConfig("test/pool", "eu", Broker(()), (), sources=(Source("eu-1", "192.0.2.1", "eu-1.example"),))


def naming(*servers: tuple[str, int]) -> RelayConfig:
    return replace(CONFIG, delivery=Delivery(resolvers=tuple(written(each) for each in servers)))


async def test_other_resolvers_are_asked_and_told_of_without_a_restart(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.config.parent.mkdir()
    async with responder(ZONE) as first, responder(ZONE) as second:
        relay = Relay(naming(first.address), files, "relay")
        windows = relay.control()._windows

        async def told() -> dict[str, DependencyState]:
            await relay.resolvers._round()
            window = windows.next(asyncio.get_running_loop().time(), at_once=True)
            assert window is not None
            return {each.name: each.state for each in window.resolvers}

        assert await told() == {written(first.address): DependencyState.ANSWERS}
        assert first.asked == [("eu-1.example", "A")]
        await relay.names.mail_exchangers("you.example")
        files.config.write_text(dump(naming(second.address)))
        await relay._reload()
        assert await told() == {written(second.address): DependencyState.ANSWERS}
        await relay.names.addresses("eu-1.example")
        assert second.asked[0] == ("eu-1.example", "A")
        assert [name for name, _ in first.asked] == ["eu-1.example", "you.example"]
        metrics = {each.name for each in relay._metrics(relay.control())}
        assert {"relayfleet_relay_resolver_state", "relayfleet_relay_names"} <= metrics


async def test_a_configuration_with_a_resolver_that_is_no_address_leaves_all_as_it_was(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.config.parent.mkdir()
    relay = Relay(naming(("192.0.2.53", 53)), files, "relay")
    files.config.write_text(
        dump(replace(CONFIG, delivery=Delivery(resolvers=("dns.example",)), allowed_networks=("::/0",)))
    )
    with pytest.raises(ValueError, match=r"dns\.example"):
        await relay._reload()
    assert relay._config == naming(("192.0.2.53", 53))
    assert relay.lookup.standings.servers == (("192.0.2.53", 53),)
