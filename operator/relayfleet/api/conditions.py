"""The four conditions of every resource, two more of pools, and every reason that one can carry.

The words are a public interface: the same word is the condition's reason, the event's reason, the label in the metrics and the
word in the log. Read by `kubectl wait`, kstatus (Reconciling, Stalled) and the Argo CD health checks.
"""

from __future__ import annotations

from enum import StrEnum


class Type(StrEnum):
    """Condition types. Ready and Degraded can be true together: serving, but with less than what was asked for. DependenciesReady is of
    pools that declare dependencies, ResolversReady of those whose relays tell of their resolvers, Fencing of pools whose queue exists: whether a relay
    that does not answer can be cut off from the brokers."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DEGRADED = "Degraded"
    DEPENDENCIES_READY = "DependenciesReady"
    RESOLVERS_READY = "ResolversReady"
    FENCING = "Fencing"


class Reason(StrEnum):
    """Why. Grouped by what the reader has to do about it."""

    # Nothing to do.
    SERVING = "Serving"
    CLAIMED = "Claimed"
    AS_ASKED = "AsAsked"
    OTHER_REGION = "OtherRegion"
    PAUSED = "Paused"
    SCALED_TO_ZERO = "ScaledToZero"
    ALL_ANSWER = "AllAnswer"
    ON_BACKUP = "OnBackup"
    RESOLVERS_ANSWER = "ResolversAnswer"
    ONE_RESOLVER = "OneResolver"
    AVAILABLE = "Available"
    # Wait: it heals by itself.
    CREATING = "Creating"
    ROLLING = "Rolling"
    SCALING = "Scaling"
    STARTING = "Starting"
    NOT_TOLD = "NotTold"
    # Something that this resource needs is not there; it goes on by itself when it appears.
    QUEUE_NOT_FOUND = "QueueNotFound"
    QUEUE_NOT_READY = "QueueNotReady"
    QUEUES_BEING_REMOVED = "QueuesBeingRemoved"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_INVALID = "SecretInvalid"
    SIGNING_KEY_UNAVAILABLE = "SigningKeyUnavailable"
    SIGNING_KEY_NOT_PUBLISHED = "SigningKeyNotPublished"
    SEALING_KEY_UNAVAILABLE = "SealingKeyUnavailable"
    SUPPRESSION_LIST_UNAVAILABLE = "SuppressionListUnavailable"
    SUPPRESSION_LIST_INVALID = "SuppressionListInvalid"
    NO_SENDING_IP = "NoSendingIP"
    IMAGE_NOT_PULLED = "ImageNotPulled"
    UNSCHEDULABLE = "Unschedulable"
    CRASHING = "Crashing"
    CORDONED = "Cordoned"
    RELAYS_NOT_READY = "RelaysNotReady"
    NO_RELAY_READY = "NoRelayReady"
    BROKER_UNREACHABLE = "BrokerUnreachable"
    BROKER_SILENT = "BrokerSilent"
    BROKER_ERRING = "BrokerErring"
    SILENT = "Silent"
    REFUSING = "Refusing"
    RESETTING = "Resetting"
    EXITED = "Exited"
    UNFIT = "Unfit"
    NODE_LOST = "NodeLost"
    SLOW = "Slow"
    ERRING = "Erring"
    EGRESS_FAILING = "EgressFailing"
    DEPENDENCY_DOWN = "DependencyDown"
    RESOLVER_DOWN = "ResolverDown"
    UNAVAILABLE = "Unavailable"
    MEMBERS_MISSING = "MembersMissing"
    NO_MAJORITY = "NoMajority"
    VOLUME_PENDING = "VolumePending"
    BROKER_ALARM = "BrokerAlarm"
    COUNTS_UNKNOWN = "CountsUnknown"
    VERSION_UNSUPPORTED = "VersionUnsupported"
    # A person has to act.
    ADDRESS_CLAIMED = "AddressClaimed"
    CREDENTIALS_LOST = "CredentialsLost"
    SEALING_KEYS_LOST = "SealingKeysLost"
    SCALE_DOWN_REFUSED = "ScaleDownRefused"
    SPEC_INVALID = "SpecInvalid"
    APPLY_FAILED = "ApplyFailed"
