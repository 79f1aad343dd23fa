"""The words for what an answer means.

scope           whose fault, hence what the answer says nothing about
Recipient       this address                    Message       this mail's content or size
SenderDomain    the sender's domain or stream   IP            our address at this provider
Session         this connection                 Destination   the receiving domain or server
Path            the network between             Local         this relay

action          what the delivery does now                     and what it tells the others
Fail            bounce report for the recipient
Retry           again later, from the same address
RetryOtherIP    again soon, from another address               the address is no good here
Cap             again later                                    send less from this address to this provider
Cordon          again later                                    send nothing from this address to this provider
Hold            4xx again later, 5xx bounce report             the sender's domain needs its owner
Split           the rest of the recipients at once
Reconnect       at once over a new session
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Scope(Enum):
    RECIPIENT = "Recipient"
    MESSAGE = "Message"
    SENDER_DOMAIN = "SenderDomain"
    IP = "IP"
    SESSION = "Session"
    DESTINATION = "Destination"
    PATH = "Path"
    LOCAL = "Local"


class Action(Enum):
    FAIL = "Fail"
    RETRY = "Retry"
    RETRY_OTHER_IP = "RetryOtherIP"
    CAP = "Cap"
    CORDON = "Cordon"
    HOLD = "Hold"
    SPLIT = "Split"
    RECONNECT = "Reconnect"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means. `reason` is one CamelCase word for logs, metrics and conditions; `rule` names the rule that said so."""

    scope: Scope
    reason: str
    action: Action
    rule: str

    def bounces(self, code: int) -> bool:
        """True when the recipient gets no further try."""
        return self.action is Action.FAIL or (self.action is Action.HOLD and code >= 500)
