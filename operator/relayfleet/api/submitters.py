"""What a RelayPool states about single credentials of its `authSecretRef`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relayfleet.api.dkim import DOMAIN
from relayfleet.api.meta import Model

MOST_SUBMITTERS, MOST_DOMAINS = 256, 32

Domain = Annotated[str, Field(pattern=DOMAIN, min_length=1, max_length=253)]


class Submitter(Model):
    """A credential, and the domains that it sends for."""

    name: str = Field(
        min_length=1,
        max_length=255,
        pattern=r"^[^:\n]+$",
        description="Its name, as before the colon in the Secret.",
    )
    domains: list[Domain] = Field(
        min_length=1,
        max_length=MOST_DOMAINS,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="Domains that its envelope senders (MAIL FROM) must be of, or below; another one is answered by 550 5.7.1. In lower case, an "
        "internationalized one as its A-labels (xn--…). The null sender `<>` is always allowed. The From field of a mail is not looked at.",
    )
