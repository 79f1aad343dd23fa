"""From answers and errors to outcomes. Pure, but for the classifier's count of unknown texts.

A peer's answer is judged by the rules. The absence of one is judged here: a broken path is transient, after the final dot it is
uncertain, a domain that does not exist is permanent.
"""

from __future__ import annotations

from relayfleet.protocol.relay_config import DeliveryRule
from relayfleet.relay.delivery.envelope import Unfit
from relayfleet.relay.delivery.errors import BusyError, ConnectError, LocalError, Phase, RefusedError, SmtpError
from relayfleet.relay.delivery.outcome import Fate, Outcome, Place
from relayfleet.relay.delivery.ruling import BOUNCE, HOLD, PURGE
from relayfleet.relay.replies.classify import Classifier
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.replies.verdict import Action, Scope, Verdict
from relayfleet.relay.routing.errors import DnsError, DnsPermanent
from relayfleet.relay.signing.keyring import SigningKeyUnavailableError
from relayfleet.relay.spool.record import Recipient
from relayfleet.relay.suppression.suppression import SuppressionListUnavailableError

UNROUTABLE = Verdict(Scope.DESTINATION, "NoRoute", Action.FAIL, "dns")
DNS_FAILED = Verdict(Scope.DESTINATION, "DNSFailed", Action.RETRY, "dns")
UNREACHABLE = Verdict(Scope.PATH, "Unreachable", Action.RETRY_OTHER_IP, "connect")
CONGESTED = Verdict(Scope.LOCAL, "DestinationBusy", Action.RETRY, "sessions")
SESSION_LOST = Verdict(Scope.PATH, "SessionLost", Action.RETRY, "session")
UNCERTAIN = Verdict(Scope.PATH, "Uncertain", Action.RETRY, "end-of-data")
OPEN_CLAIM = Verdict(Scope.PATH, "Uncertain", Action.RETRY, "journal")
"""Somebody else may have sent it. The journal will say what came of it, and forgets that after an hour."""
NO_SOURCE = Verdict(Scope.LOCAL, "SourceUnusable", Action.RETRY_OTHER_IP, "source")
NO_CLAIM = Verdict(Scope.LOCAL, "JournalUnavailable", Action.RETRY, "journal")
NO_SIGNATURE = Verdict(Scope.LOCAL, "SigningKeyUnavailable", Action.RETRY, "dkim")
NO_LIST = Verdict(Scope.LOCAL, "SuppressionListUnavailable", Action.RETRY, "suppression-list")
SUPPRESSED = Verdict(Scope.RECIPIENT, "Suppressed", Action.FAIL, "suppression-list")
EXPIRED = Verdict(Scope.MESSAGE, "Expired", Action.FAIL, "relayfleet-expires")
UNFIT = Verdict(Scope.MESSAGE, "Unfit", Action.FAIL, "peer-lacks-extension")
_RULED = {
    HOLD: (Fate.HELD, "4.7.1", "holds this mail: it is not tried", Action.RETRY),
    BOUNCE: (Fate.PERMANENT, "5.7.1", "has ended this mail: it is not tried any more", Action.FAIL),
    PURGE: (Fate.PURGED, "5.7.1", "has ended this mail, and nobody is told", Action.FAIL),
}
"""X.7.1 is what others say when policy is the reason (RFC 3463)."""
EXPIRED_STATUS = "4.4.7"
GREYLISTED = "Greylisted"
"""The reason of rules by which a peer waits for the same address to come again."""
MOST_TEXT = 500


def answered(
    recipient: Recipient, phase: Phase, reply: Reply, place: Place, classifier: Classifier, dsn: bool
) -> Outcome:
    """The outcome of a reply."""
    if reply.positive:
        return Outcome(recipient, Fate.DELIVERED, phase, reply.code, "", reply.text[:MOST_TEXT], place, relayed=not dsn)
    verdict = classifier.classify(reply, place.host, phase)
    fate = Fate.PERMANENT if verdict.bounces(reply.code) else Fate.TRANSIENT
    return Outcome(recipient, fate, phase, reply.code, _status(reply, fate), reply.text[:MOST_TEXT], place, verdict)


def unanswered(recipient: Recipient, error: Exception, place: Place, classifier: Classifier, past_dot: bool) -> Outcome:
    """The outcome when no reply came. `error` is a DnsError, an SmtpError, that the mail cannot be signed, that there is no suppression
    list, or what the journal raised before the dot."""
    if isinstance(error, RefusedError):
        return answered(recipient, error.phase, error.reply, place, classifier, dsn=True)
    if isinstance(error, DnsError):
        permanent = isinstance(error, DnsPermanent)
        fate, verdict = (Fate.PERMANENT, UNROUTABLE) if permanent else (Fate.TRANSIENT, DNS_FAILED)
        return Outcome(recipient, fate, "dns", 0, error.status, error.text, place, verdict)
    if past_dot:
        return Outcome(
            recipient, Fate.UNCERTAIN, "end", 0, "4.4.2", f"no answer to the final dot: {error}", place, UNCERTAIN
        )
    phase: Phase = error.phase if isinstance(error, SmtpError) else "local"
    text = error.text if isinstance(error, SmtpError) else str(error)
    status, verdict = _absence(error)
    return Outcome(recipient, Fate.TRANSIENT, phase, 0, status, text[:MOST_TEXT], place, verdict)


def uncertain(recipient: Recipient) -> Outcome:
    """Somebody claimed the recipient and did not say what came of it."""
    text = "an earlier attempt ended without an answer to the final dot"
    return Outcome(recipient, Fate.UNCERTAIN, "end", 0, "4.4.2", text, Place(), OPEN_CLAIM)


def suppressed(recipient: Recipient, entry: str) -> Outcome:
    """Nobody is asked: the recipient is on the suppression list, by this entry. 5.7.1 is what others say then (RFC 3463: not authorized)."""
    text = f"the pool's suppression list has {entry}: nothing is sent there"
    return Outcome(recipient, Fate.PERMANENT, "local", 0, "5.7.1", text[:MOST_TEXT], Place(), SUPPRESSED)


def ruled(recipient: Recipient, rule: DeliveryRule) -> Outcome:
    """Nobody is asked: a rule of the pool's says what becomes of it."""
    fate, status, says, action = _RULED[rule.action]
    verdict = Verdict(Scope.LOCAL, f"{rule.action}ByRule", action, rule.name)
    return Outcome(
        recipient, fate, "local", 0, status, f"the pool's delivery rule {rule.name} {says}", Place(), verdict
    )


def expired(recipient: Recipient, last_answer: str) -> Outcome:
    """Nobody is asked: its sender gave the mail up some time ago."""
    text = "not delivered in the time that its sender allows" + (f"; last answer: {last_answer}" if last_answer else "")
    return Outcome(recipient, Fate.PERMANENT, "local", 0, EXPIRED_STATUS, text[:MOST_TEXT], Place(), EXPIRED)


def unfitting(recipient: Recipient, reason: Unfit, place: Place) -> Outcome:
    """The peer lacks what the mail needs."""
    return Outcome(recipient, Fate.PERMANENT, "mail", 0, reason.status, reason.text, place, UNFIT)


def _absence(error: Exception) -> tuple[str, Verdict]:
    if isinstance(error, LocalError):
        return "4.4.4", NO_SOURCE
    if isinstance(error, ConnectError):
        return "4.4.1", UNREACHABLE
    if isinstance(error, BusyError):
        return "4.4.5", CONGESTED
    if isinstance(error, SmtpError):
        return "4.4.2", SESSION_LOST
    if isinstance(error, SigningKeyUnavailableError):
        return "4.7.5", NO_SIGNATURE
    if isinstance(error, SuppressionListUnavailableError):
        return "4.3.5", NO_LIST
    return "4.3.0", NO_CLAIM


def _status(reply: Reply, fate: Fate) -> str:
    """The peer's status with the class of what we make of it: a report never says "permanent" of a mail that is tried again."""
    kind = "5" if fate is Fate.PERMANENT else "4"
    return kind + reply.status[1:] if reply.status else f"{kind}.0.0"
