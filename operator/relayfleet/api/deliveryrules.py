"""What a RelayPool orders for mail that is accepted already."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from relayfleet.api.dkim import DOMAIN
from relayfleet.api.meta import Model, Name, rule, rules

MOST_RULES = 64
ACTIONS = ("Hold", "Bounce", "Purge", "Requeue")

_MOMENT = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
_LABEL = "[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_ADDRESS = rf'^(<>|[^ @<>"]{{1,64}}@({_LABEL}[.])+{_LABEL})$'


def _domain(field: str) -> dict[str, Any]:
    return rules(
        rule(
            f"self.matches('{DOMAIN}')",
            f"match.{field} must be a lower-case domain name such as example.com; write an internationalized one as its A-labels (xn--…)",
        )
    )


def _in_utc(field: str) -> dict[str, Any]:
    return rules(
        rule(
            f"self.matches('{_MOMENT}') && timestamp(self) > timestamp('2000-01-01T00:00:00Z')",
            f"match.{field} must be a moment in UTC such as 2026-11-28T16:00:00Z",
        )
    )


def _moment(text: str) -> str:
    """Raises ValueError for what is in no calendar."""
    datetime.datetime.fromisoformat(text)
    return text


def _of_this_version(schema: dict[str, Any]) -> None:
    """The CRD has the words that it knows, and prunes others."""
    schema.pop("additionalProperties", None)


class Match(Model):
    """Which mail is meant: that for which all that is stated here holds. Words of a newer CRD are kept: a rule that loses one of them would mean
    more mail than was stated, and a relay that does not know the word passes over the whole rule."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_of_this_version)

    recipient_domain: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        json_schema_extra=_domain("recipientDomain"),
        description="Domain of the recipient (RCPT TO), and none below it. Other recipients of the same mail are not meant.",
    )
    sender: str | None = Field(
        default=None,
        min_length=1,
        max_length=320,
        json_schema_extra=rules(
            rule(
                f"self.matches('{_ADDRESS}')",
                "match.sender must be an address such as news@example.com, or <> for the null sender; for all addresses of a domain use match.senderDomain",
            )
        ),
        description="Envelope sender (MAIL FROM), without regard to case. `<>`: the null sender, which bounce reports have.",
    )
    sender_domain: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        json_schema_extra=_domain("senderDomain"),
        description="Domain of the envelope sender (MAIL FROM), and none below it.",
    )
    credential: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        pattern=r"^[^:\n]+$",
        description="Credential of `authSecretRef` that the mail was submitted by, and the bounce reports on such mail.",
    )
    accepted_before: Annotated[str, AfterValidator(_moment)] | None = Field(
        default=None,
        max_length=20,
        json_schema_extra=_in_utc("acceptedBefore"),
        description="Only mail that was accepted before this moment, by the relay's clock: 2026-11-28T16:00:00Z. Default: mail that comes in later as well.",
    )
    deferred_before: Annotated[str, AfterValidator(_moment)] | None = Field(
        default=None,
        max_length=20,
        json_schema_extra=_in_utc("deferredBefore"),
        description="For Requeue, and needed there: only mail that was put off the last time before this moment, by the relay's clock, such as now: "
        "2026-11-28T16:00:00Z. What fails again is put off after it, so each mail is tried once. A moment to come: nothing happens until then.",
    )


class DeliveryRule(Model):
    """An order for some of the pool's mail."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.action != 'Requeue' || has(self.match.deferredBefore)",
                "action Requeue needs match.deferredBefore: set it to the present time (date -u +%FT%TZ), so that each mail is tried once",
            ),
            rule(
                "self.action == 'Requeue' || !has(self.match.deferredBefore)",
                "match.deferredBefore is for action Requeue: remove it, or use match.acceptedBefore",
            ),
        )
    )

    name: Name = Field(description="Name of the rule. Logs, metrics and bounce reports have it.")
    match: Match = Field(
        json_schema_extra=rules(
            rule(
                "has(self.recipientDomain) || has(self.sender) || has(self.senderDomain) || has(self.credential)",
                "match must not mean all mail: set recipientDomain, sender, senderDomain or credential",
            ),
            rule(
                "!(has(self.sender) && has(self.senderDomain))",
                "match.sender has its domain already: remove match.sender or match.senderDomain",
            ),
        ),
        description="Which mail is meant. All that is stated must hold.",
    )
    # No Literal: an action of a newer CRD would make the pool's whole spec invalid. The relays are told of it, and pass over the rule.
    action: str = Field(
        json_schema_extra={"enum": list(ACTIONS)},
        description="Hold: kept and not tried until no rule holds it any more; it is not given up meanwhile, and counts for `quota`. Bounce: ended, and the "
        "sender gets a report with 5.7.1; bounce reports themselves are meant only with `sender: <>`. Purge: ended, and nobody is told; it cannot be had back. "
        "Requeue: what waits for its retry since before `match.deferredBefore` is tried now, once.",
    )
