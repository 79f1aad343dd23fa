"""Evidence that nothing renews goes: a relay that gets no traffic can prove by none that it is well again.

Successes outweigh failures, but successes of live traffic need traffic: a relay out of traffic gets no confirms, and one may publish
to a broker once a day. So what speaks against a relay is void when nothing was added to it for a dwell time, and in traffic for
`remembered`. Probes go on whatever the level, so failures of probe mails have the longer time always. Whether a relay comes back is
then left to the probes that it answers; when it fails again, it stays out for longer (`Policy.dwell_after`).
"""

from __future__ import annotations

from dataclasses import replace

from relayfleet.decide.health.fold import TRIED
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.state import Probing, RelayState, Subject
from relayfleet.decide.health.words import Level


def lapsed(relay: RelayState, policy: Policy, clock: float) -> RelayState:
    """The relay without what is too old to count."""
    out = relay.standing.level is not Level.ACTIVE
    live = clock - (policy.dwell if out else policy.remembered)
    probed = clock - policy.remembered
    void = {
        subject: replace(trial, bad=())
        for subject, trial in relay.trials.items()
        # All of it counts while it goes on, however slowly: what fails once in half a minute fails always.
        if trial.bad and trial.worse <= (probed if _is_probed(subject) else live)
    }
    late = {
        source: replace(each, late=0.0)
        for source, each in relay.probing.items()
        if out and each.late > 0 and each.worse <= live
    }
    if not void and not late:
        return relay
    return replace(relay, trials={**relay.trials, **void}, probing={**relay.probing, **late})


def afresh(relay: RelayState) -> RelayState:
    """The relay with nothing held against it but what is still open: as it comes back into traffic, by itself or by order."""
    trials = {subject: replace(trial, bad=()) for subject, trial in relay.trials.items()}
    probing = {source: _clean(each) for source, each in relay.probing.items()}
    return replace(relay, trials=trials, probing=probing)


def _clean(probing: Probing) -> Probing:
    return replace(probing, overtaken=(), refused=(), resets=(), late=0.0)


def _is_probed(subject: Subject) -> bool:
    return subject.name in TRIED.values()
