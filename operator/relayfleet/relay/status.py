"""What a relay tells over HTTP: alive, ready, and its counters.

*Ready* says that this relay can do its work: it listens, and it has once reached its queue. It does not say that the queue is reachable
now: the queue is the same for all relays, and a pool whose relays all turned unready would answer nothing instead of `451`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import fields

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from relayfleet.relay.control.counters import ControlCounters
from relayfleet.relay.delivery.worker import DeliveryService
from relayfleet.relay.dependencies.resolvers import Resolvers
from relayfleet.relay.dependencies.service import Dependencies
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.routing.providers import Providers
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.server.allowances import Allowances
from relayfleet.relay.signing.letter import Signing
from relayfleet.relay.spool.places import PROVIDER_LANES
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.requeue import Requeuer
from relayfleet.relay.spool.sealer import Sealer
from relayfleet.relay.suppression.suppression import SuppressionList


class Status:
    """Answers `/livez`, `/readyz` and `/metrics`. `why_not` gives the reason why the relay is not ready, or ""."""

    def __init__(self, why_not: Callable[[], str], metrics: Callable[[], Iterable[Metric]]) -> None:
        self._why_not = why_not
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(metrics))

    async def serve(self, port: int) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.router.add_get("/livez", self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=port).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if reason := self._why_not():
            return web.Response(status=503, text=f"{reason}\n")
        return web.Response(text="ready\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})


class _Collector:
    """Reads the counters when asked, so that counting costs the data path nothing."""

    def __init__(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics()


def allowance_metrics(allowances: Allowances) -> Iterable[Metric]:
    """What credentials with limits have submitted. `credential` has the names that the user gave them, and no others."""
    submitted = CounterMetricFamily(
        "relayfleet_relay_submitted",
        "Recipients of mail that this relay accepted from a credential with limits.",
        labels=["credential"],
    )
    limited = CounterMetricFamily(
        "relayfleet_relay_limited",
        "Mails refused since their credential is over a limit: Rate (recipients a minute), Cap (recipients a day) or Pending (Cap, if mail under way is accepted).",
        labels=["credential", "limit"],
    )
    today = GaugeMetricFamily(
        "relayfleet_relay_submitted_today",
        "Recipients that all relays of the pool accepted from a credential today (UTC), as far as this relay knows.",
        labels=["credential"],
    )
    for name, entry, used in allowances.entries():
        submitted.add_metric([name], entry.submitted)
        today.add_metric([name], used)
        for over, count in entry.limited.items():
            limited.add_metric([name, over.value], count)
    yield from (submitted, limited, today)


def scavenger_metrics(scavenger: Scavenger) -> Iterable[Metric]:
    """Where a Bulk pool's relay yields; nothing for others. Mail that had no place in time is in `refused`, reply "451 4.3.2 busy"."""
    if not scavenger.bulk:
        return
    window = scavenger.window
    yield GaugeMetricFamily(
        "relayfleet_relay_bulk_window", "New mails that may be on their way into the queue at a time.", int(window.size)
    )
    yield GaugeMetricFamily(
        "relayfleet_relay_bulk_hands", "Share of its hands that the relay takes mail for delivery with.", window.share
    )
    yield GaugeMetricFamily(
        "relayfleet_relay_bulk_queue_seconds",
        "What a confirm took longer than the shortest of recent minutes, as seen last.",
        window.queue,
    )
    yield CounterMetricFamily(
        "relayfleet_relay_bulk_waited_seconds",
        "Time that new mail waited for a place in the window.",
        scavenger.waited_seconds,
    )


def control_metrics(counters: ControlCounters) -> Iterable[Metric]:
    """What the control server counts."""
    ended = CounterMetricFamily(
        "relayfleet_relay_control_ended", "Control connections that did not end well, by why.", labels=["why"]
    )
    for each in fields(counters):
        ended.add_metric([each.name], getattr(counters, each.name))
    yield ended


def dependency_metrics(dependencies: Dependencies) -> Iterable[Metric]:
    """What the relay sees of the pool's dependencies."""
    state = GaugeMetricFamily(
        "relayfleet_relay_dependency_state",
        "1 for what this relay sees of a dependency.",
        labels=["dependency", "state"],
    )
    for name, verdict in dependencies.verdicts.items():
        state.add_metric([name, verdict.state.value], 1.0)
    yield state
    probes = CounterMetricFamily(
        "relayfleet_relay_dependency_probes",
        "Probes of dependencies and of their backups (`<name>.backup`), by what came of them.",
        labels=["target", "outcome"],
    )
    for target, outcome, number in dependencies.outcomes():
        probes.add_metric([target, outcome], number)
    yield probes


def sealing_metrics(sealer: Sealer) -> Iterable[Metric]:
    """What the relay sealed and opened."""
    records = CounterMetricFamily(
        "relayfleet_relay_sealing",
        "Records by what sealing did with them: Sealed or Unsealed when stored, Opened when taken, KeyMissing waits.",
        labels=["result"],
    )
    for result, count in sealer.counts.items():
        records.add_metric([result], count)
    yield records


def signing_metrics(signing: Signing) -> Iterable[Metric]:
    """What DKIM did with mail, and which of its keys are in DNS."""
    mails = CounterMetricFamily(
        "relayfleet_relay_signing", "Mails by what DKIM did with them; KeyUnavailable waits.", labels=["result"]
    )
    for result, count in signing.counts.items():
        mails.add_metric([result], count)
    yield mails
    keys = GaugeMetricFamily(
        "relayfleet_relay_signing_key",
        "For a DKIM key by what is known of it in DNS: 1 while it signs, 0 while it does not.",
        labels=["domain", "selector", "state"],
    )
    for each in signing.publication.standings:
        for signer, verdict in zip(each.signers, each.verdicts, strict=True):
            keys.add_metric([each.domain, signer.selector, verdict.state.value], float(signer in each.chosen))
    yield keys
    looks = CounterMetricFamily(
        "relayfleet_relay_signing_lookups", "Questions for DKIM keys that were answered or failed.", labels=["outcome"]
    )
    for outcome, count in signing.publication.counts.items():
        looks.add_metric([outcome], count)
    yield looks


def suppression_metrics(suppression: SuppressionList) -> Iterable[Metric]:
    """How long the list is, and whether mail waits for want of one. What became of recipients is in `answers`, reason Suppressed."""
    yield GaugeMetricFamily(
        "relayfleet_relay_suppression_entries", "Entries of the suppression list in use.", suppression.size
    )
    yield GaugeMetricFamily(
        "relayfleet_relay_suppression_withholds",
        "1 while no mail leaves since the suppression list cannot be read.",
        float(suppression.withholds),
    )


def resolver_metrics(resolvers: Resolvers, lookup: Lookup, names: Resolver) -> Iterable[Metric]:
    """What the relay sees of its resolvers by probes and by live traffic, and what its memory of names is good for."""
    state = GaugeMetricFamily(
        "relayfleet_relay_resolver_state", "1 for what this relay sees of a resolver.", labels=["resolver", "state"]
    )
    for name, verdict in resolvers.verdicts.items():
        state.add_metric([name, verdict.state.value], 1.0)
    yield state
    probes = CounterMetricFamily(
        "relayfleet_relay_resolver_probes",
        "Probes of resolvers, by what came of them.",
        labels=["resolver", "outcome"],
    )
    for (name, outcome), number in resolvers.outcomes.items():
        if name in resolvers.verdicts:
            probes.add_metric([name, outcome.value], number)
    yield probes
    questions = CounterMetricFamily(
        "relayfleet_relay_resolver_questions",
        "Questions of live traffic that a resolver answered or failed to.",
        labels=["resolver", "outcome"],
    )
    for (name, answered), number in lookup.counts.items():
        questions.add_metric([name, "Answered" if answered else "Failed"], number)
    yield questions
    memory = CounterMetricFamily(
        "relayfleet_relay_names",
        "Names looked up: asked of resolvers, answered from memory, answered by what had expired since no resolver answered, failed.",
        labels=["how"],
    )
    for each in fields(names.counters):
        memory.add_metric([each.name], getattr(names.counters, each.name))
    yield memory


def rule_metrics(delivery: DeliveryService) -> Iterable[Metric]:
    """What the pool's delivery rules do. `rule` has the names that the user gave them."""
    yield GaugeMetricFamily("relayfleet_relay_delivery_rules", "Delivery rules in force here.", len(delivery.rules))
    ruled = CounterMetricFamily(
        "relayfleet_relay_ruled",
        "Recipients that a delivery rule held (counted each time it is looked at), bounced or purged.",
        labels=["rule", "action"],
    )
    for (rule, action), count in delivery.counters.ruled.items():
        ruled.add_metric([rule, action], count)
    yield ruled


def requeue_metrics(requeuer: Requeuer) -> Iterable[Metric]:
    """Waiting mail that delivery rules let try now, by the relay that does it for the pool."""
    yield CounterMetricFamily(
        "relayfleet_relay_requeue_looked", "Waiting mails looked at for Requeue rules, each time.", requeuer.looked
    )
    moved = CounterMetricFamily(
        "relayfleet_relay_requeued", "Waiting mails that a Requeue rule let try now.", labels=["rule"]
    )
    for rule, count in requeuer.moved.items():
        moved.add_metric([rule], count)
    yield moved


def lane_metrics(providers: Providers, delivery: DeliveryService, spool: RabbitMQSpool) -> Iterable[Metric]:
    """What lies in provider lanes, and what this relay does about it. `lane` has the names of the table, `shared-0` …, and `look`."""
    records = GaugeMetricFamily(
        "relayfleet_relay_lane_records",
        "Records that wait in a provider lane of the pool, as this relay counted them last.",
        labels=["lane"],
    )
    in_hand = GaugeMetricFamily(
        "relayfleet_relay_lane_in_hand", "Records of a provider lane that are under way here.", labels=["lane"]
    )
    for place, count in spool.laned.items():
        name = providers.names[place] if place in PROVIDER_LANES else "look"
        records.add_metric([name], count)
        in_hand.add_metric([name], delivery.in_hands_of(place))
    yield from (records, in_hand)
    yield GaugeMetricFamily(
        "relayfleet_relay_lanes_used",
        "1 while new mail of this relay goes to provider lanes.",
        float(spool.puts_into_lanes),
    )
    yield CounterMetricFamily(
        "relayfleet_relay_moved", "Records that were moved to a provider lane.", delivery.counters.records_moved
    )


def parking_metrics(delivery: DeliveryService, spool: RabbitMQSpool) -> Iterable[Metric]:
    """Mail for destinations that nobody reaches."""
    yield GaugeMetricFamily("relayfleet_relay_parks", "1 while mail of this relay can be parked.", float(spool.parks))
    yield GaugeMetricFamily(
        "relayfleet_relay_parked_records",
        "Records of the pool that are parked, as this relay counted them last.",
        spool.parked,
    )
    yield CounterMetricFamily(
        "relayfleet_relay_parked", "Records that were parked, each time.", delivery.counters.records_parked
    )
    yield CounterMetricFamily(
        "relayfleet_relay_released",
        "Parked records that were let go since their destination answers again, by the relay that does it for the pool.",
        spool.releaser.released,
    )
    yield GaugeMetricFamily(
        "relayfleet_relay_dead_destinations",
        "Destinations (sets of MX hosts) that are known to be down.",
        delivery.parking.dead,
    )
    trials = CounterMetricFamily(
        "relayfleet_relay_trials", "Trials of destinations by this relay: up, silent or unknown.", labels=["answer"]
    )
    for answer, count in delivery.parking.tried.items():
        trials.add_metric([answer], count)
    yield trials


def relay_metrics(server: SmtpServer, delivery: DeliveryService, spool: RabbitMQSpool) -> Iterable[Metric]:
    """All that a relay counts. Names end in their unit; labels are bounded."""
    intake, out = server.counters, delivery.counters
    yield GaugeMetricFamily("relayfleet_relay_sessions", "SMTP sessions that are open.", intake.sessions_open)
    yield CounterMetricFamily("relayfleet_relay_accepted", "Mails answered with 250.", intake.accepted)
    yield CounterMetricFamily("relayfleet_relay_accepted_bytes", "Their size.", intake.accepted_bytes)
    yield CounterMetricFamily(
        "relayfleet_relay_confirm_seconds", "Time that mails waited for the queue's confirm.", intake.confirm_seconds
    )
    yield CounterMetricFamily("relayfleet_relay_probes", "Probe mails answered with 250.", intake.probes)
    yield GaugeMetricFamily("relayfleet_relay_memory_bytes", "Messages in memory on their way in.", server.memory_used)
    refused = CounterMetricFamily("relayfleet_relay_refused", "Negative replies to clients.", labels=["reply"])
    for reply, count in intake.refused.items():
        refused.add_metric([reply], count)
    yield refused
    expiries = CounterMetricFamily(
        "relayfleet_relay_expires",
        "Mails with Relayfleet-Expires: Taken, or Ignored since nobody can read what it says.",
        labels=["result"],
    )
    for result, count in intake.expiries.items():
        expiries.add_metric([result], count)
    yield expiries
    recipients = CounterMetricFamily(
        "relayfleet_relay_recipients", "Recipients attempted, by what came of it.", labels=["fate"]
    )
    for fate, count in out.recipients.items():
        recipients.add_metric([fate], count)
    yield recipients
    answers = CounterMetricFamily(
        "relayfleet_relay_answers", "Recipients attempted, by provider and reason.", labels=["provider", "reason"]
    )
    for (provider, reason), count in out.answers.items():
        answers.add_metric([provider, reason], count)
    yield answers
    yield CounterMetricFamily("relayfleet_relay_settled", "Records that were settled.", out.records_settled)
    yield CounterMetricFamily("relayfleet_relay_released", "Records handed back to the queue.", out.records_released)
    yield CounterMetricFamily(
        "relayfleet_relay_duplicates_dropped", "Recipients left out since a copy was delivered.", out.duplicates_dropped
    )
    yield CounterMetricFamily(
        "relayfleet_relay_quarantined", "Records that our own code failed on for good.", out.records_quarantined
    )
    yield CounterMetricFamily(
        "relayfleet_relay_unknown_answers",
        "Negative answers that no rule knew, judged by their first digit.",
        delivery.classifier.unknown.total(),
    )
    yield CounterMetricFamily(
        "relayfleet_relay_double_bounces", "Reports that could not be delivered and were dropped.", out.double_bounces
    )
    yield CounterMetricFamily(
        "relayfleet_relay_events_lost",
        "Events that the journal did not take in five minutes; the log has what they tell of.",
        out.events_lost,
    )
    yield CounterMetricFamily(
        "relayfleet_relay_handshakes_failed",
        "TLS handshakes of peers that failed; the mail went in plain.",
        delivery.pool.counters.handshakes_failed,
    )
    yield GaugeMetricFamily(
        "relayfleet_relay_unusable_sources",
        "Sending addresses that this relay does not have.",
        delivery.unusable_sources,
    )
    yield GaugeMetricFamily("relayfleet_relay_in_hand", "Records under way.", delivery.in_hand)
    yield GaugeMetricFamily("relayfleet_relay_queue_ready", "1 while a record can be stored.", float(spool.ready))
