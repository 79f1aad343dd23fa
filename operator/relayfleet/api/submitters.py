"""What a RelayPool states about single credentials of its `authSecretRef`."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from relayfleet.api.dkim import DOMAIN
from relayfleet.api.meta import Model, rule, rules

MOST_SUBMITTERS, MOST_DOMAINS = 256, 32
MOST_A_MINUTE, MOST_A_DAY = 100_000, 100_000_000

Domain = Annotated[str, Field(pattern=DOMAIN, min_length=1, max_length=253)]

_SAYS_SOMETHING = rule(
    "has(self.domains) || has(self.recipientsPerMinute) || has(self.recipientsPerDay)",
    "an entry without limits does nothing: state domains, recipientsPerMinute or recipientsPerDay, or remove it",
)
_DAY_IS_LONGER = rule(
    "!has(self.recipientsPerMinute) || !has(self.recipientsPerDay) || self.recipientsPerMinute <= self.recipientsPerDay",
    "recipientsPerMinute above recipientsPerDay is never reached: lower it, or raise recipientsPerDay",
)


class Submitter(Model):
    """A credential, the domains that it sends for, and how much it may submit."""

    model_config = ConfigDict(json_schema_extra=rules(_SAYS_SOMETHING, _DAY_IS_LONGER))

    name: str = Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^:\n]+$",
        description="Its name, as before the colon in the Secret.",
    )
    domains: list[Domain] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_DOMAINS,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Domains that its envelope senders (MAIL FROM) must be of, or below; another one is answered by 550 5.7.1. In lower case, an "
        "internationalized one as its A-labels (xn--…). The null sender `<>` is always allowed. The From field of a mail is not looked at. Default: all.",
    )
    recipients_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=MOST_A_MINUTE,
        description="Recipients that it may submit mail for in a minute, at all relays of this region's pool together; also how many at once after a pause. "
        "Mail beyond it is answered by 451 4.7.1: clients try again. Default: no limit.",
    )
    recipients_per_day: int | None = Field(
        default=None,
        ge=1,
        le=MOST_A_DAY,
        description="Recipients that it may submit mail for in a day, 00:00 to 24:00 UTC, at all relays of this region's pool together. Mail beyond it is "
        "answered by 550 5.7.1: clients give up. Relays tell each other by the operator, and each counts alone while it is gone. Default: no limit.",
    )
