"""What kopf is told."""

from __future__ import annotations

import kopf

from relayfleet.controllers.handlers import Wiring

CURED = 90.0
"""Seconds within which a frozen watch has to be cured."""


def test_kopf_waits_for_nothing_longer_than_a_frozen_watch_may_last() -> None:
    settings = kopf.OperatorSettings()
    Wiring.configure(settings)
    networking, watching = settings.networking, settings.watching
    waits = (networking.request_timeout, networking.connect_timeout, watching.inactivity_timeout)
    assert all(each is not None and each < CURED for each in waits)


def test_kopf_copies_no_object_to_find_changes_that_nobody_handles() -> None:
    settings = kopf.OperatorSettings()
    Wiring.configure(settings)
    body = kopf.Body({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}})
    storage = settings.persistence.diffbase_storage
    assert (storage.fetch(body=body), storage.build(body=body)) == (None, {})
