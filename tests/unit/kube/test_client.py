"""How the API server is called."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.aio import config

from relayfleet.kube.client import connect


@pytest.mark.parametrize(("proxy", "trusted"), [("", False), ("http://127.0.0.1:3128", True)])
async def test_the_environment_is_asked_at_each_call_only_when_it_names_a_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: str, trusted: bool
) -> None:
    """Each such question is a hop to a thread and back, before an urgent write too."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    async def nowhere(**_: Any) -> None:
        """Nothing is called here."""

    monkeypatch.setattr(config, "load_kube_config", nowhere)
    kube = await connect()
    session = kube._api.rest_client._create_pool_manager()
    await session.close()
    await kube.close()
    assert session.trust_env is trusted
