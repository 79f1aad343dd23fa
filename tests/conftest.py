"""For all tests: examples of hypothesis have no time limit of their own, since speed is measured in benchmarks and not in unit tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("relayfleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("relayfleet")
