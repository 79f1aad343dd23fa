"""The Secret between relays and operator is made once, kept, restored, and renewed only for a reason."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from relayfleet.act import authority
from relayfleet.api.labels import PAUSED
from relayfleet.controllers import relaycontrol
from relayfleet.controllers.context import Context
from relayfleet.controllers.relaypool import reconcile
from relayfleet.kube.client import Object
from relayfleet.protocol.telemetry import SERVER_NAME
from relayfleet.runtime.control import SECRET
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool
from tests.unit.controllers.scene import SETTINGS, context, operators_authority

TX = ("mail", "tx")


class Stage:
    """A pool, the operator's CA, and a leader."""

    def __init__(self, *more: Object) -> None:
        self.kube = FakeKube(pool(), operators_authority(), *more)
        self.leader: Context = context(self.kube)

    async def look(self, leader: Context | None = None) -> dict[str, str]:
        """What the Secret holds after the leader, or another one, has looked at the pool."""
        await reconcile(leader or self.leader, *TX)
        return self.held()

    def held(self) -> dict[str, str]:
        data: Mapping[str, str] = self.kube.seen("Secret", "tx-control")["data"]
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def edit(self, key: str, text: str) -> None:
        self.kube.seen("Secret", "tx-control")["data"][key] = base64.b64encode(text.encode()).decode()

    @property
    def authority(self) -> dict[str, str]:
        data = self.kube.objects["Secret", SETTINGS.namespace, SECRET]["data"]
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def conditions(self) -> dict[str, tuple[str, str]]:
        found = self.kube.seen("RelayPool", "tx")["status"]["conditions"]
        return {each["type"]: (each["status"], each["message"]) for each in found}


async def test_it_is_made_with_a_certificate_for_servers_only_that_lasts_for_years() -> None:
    stage = Stage()
    held = await stage.look()
    certificate = x509.load_pem_x509_certificate(held["tls.crt"].encode())
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    read = authority.read(held["tls.crt"], held["tls.key"], stage.authority["ca.crt"])
    assert set(held) == {"tls.crt", "tls.key", "ca.crt", "discard"}
    assert list(uses) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert read and (read.signed, read.paired, read.hosts) == (True, True, frozenset({SERVER_NAME}))
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days > 5 * 365
    assert held["ca.crt"] == stage.authority["ca.crt"]
    assert "ca.key" not in held
    assert re.fullmatch("[a-z0-9]{32}", held["discard"])
    assert relaycontrol.discard(stage.leader, TX) == held["discard"]


async def test_it_stays_whoever_leads_and_however_often_they_look() -> None:
    stage = Stage()
    held = await stage.look()
    stage.kube.writes.clear()
    assert await stage.look() == held
    assert [each for each in stage.kube.writes if each[1] == "Secret"] == []
    successor = context(stage.kube)
    assert await stage.look(successor) == held
    assert relaycontrol.discard(successor, TX) == held["discard"]


async def test_it_comes_back_as_it_was_when_somebody_deletes_it() -> None:
    stage = Stage()
    held = await stage.look()
    del stage.kube.objects["Secret", "mail", "tx-control"]
    assert await stage.look() == held


@pytest.mark.parametrize("key", ["tls.crt", "tls.key", "ca.crt", "discard"])
async def test_what_somebody_spoiled_is_put_right(key: str) -> None:
    stage = Stage()
    held = await stage.look()
    stage.edit(key, "nonsense")
    assert await stage.look() == held


async def test_a_new_leader_replaces_only_what_is_spoiled() -> None:
    stage = Stage()
    held = await stage.look()
    stage.edit("tls.crt", "nonsense")
    after = await stage.look(context(stage.kube))
    assert after["tls.crt"] not in (held["tls.crt"], "nonsense")
    assert after["discard"] == held["discard"]


async def test_another_authority_signs_anew_and_the_word_stays() -> None:
    stage = Stage()
    before = await stage.look()
    stage.kube.put(operators_authority())
    after = await stage.look()
    found = authority.read(after["tls.crt"], after["tls.key"], stage.authority["ca.crt"])
    assert found and found.signed
    assert after["ca.crt"] == stage.authority["ca.crt"] != before["ca.crt"]
    assert after["discard"] == before["discard"]


@pytest.mark.parametrize(("left", "renewed"), [(0.34, False), (0.32, True)])
async def test_a_certificate_is_renewed_when_a_third_of_its_time_is_left(
    left: float, renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage()
    with monkeypatch.context() as patch:
        patch.setattr(relaycontrol, "VALIDITY", relaycontrol.VALIDITY * left)
        before = await stage.look()
    after = await stage.look()
    assert (after["tls.crt"] != before["tls.crt"]) is renewed


async def test_without_an_authority_nothing_is_made_and_nothing_is_taken_away() -> None:
    stage = Stage()
    held = await stage.look()
    secret = stage.kube.objects["Secret", SETTINGS.namespace, SECRET]
    for data in ({"ca.crt": "", "ca.key": ""}, {}):
        stage.kube.put(secret | {"data": data})
        assert await stage.look() == held
    del stage.kube.objects["Secret", SETTINGS.namespace, SECRET]
    assert await stage.look(context(stage.kube)) == held


async def test_somebody_elses_secret_of_that_name_is_reported_and_left_alone() -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "mail", "name": "tx-control"},
        "data": {"discard": base64.b64encode(b"a" * 32).decode()},
    }
    stage = Stage(theirs)
    assert await stage.look() == {"discard": "a" * 32}
    status, message = stage.conditions()["Stalled"]
    assert status == "True"
    assert "Secret tx-control exists" in message
    assert relaycontrol.discard(stage.leader, TX) == ""


async def test_a_paused_pools_secret_is_read_and_not_written() -> None:
    stage = Stage()
    held = await stage.look()
    stage.kube.seen("RelayPool", "tx")["metadata"]["annotations"] = {PAUSED: "true"}
    stage.edit("tls.crt", "nonsense")
    successor = context(stage.kube)
    assert (await stage.look(successor))["tls.crt"] == "nonsense"
    assert relaycontrol.discard(successor, TX) == held["discard"]
