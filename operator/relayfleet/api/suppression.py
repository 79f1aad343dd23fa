"""The suppression list as a RelayPool states it: to whom its relays send nothing."""

from __future__ import annotations

from pydantic import Field

from relayfleet.api.meta import EntryName, LocalRef, Model, list_map

MOST_FILES = 32


class ListRef(LocalRef):
    """One entry of a Secret in the same namespace."""

    key: EntryName = Field(default="addresses.txt", description="Entry of the Secret.")


class SuppressionList(Model):
    """Addresses and domains to which nothing is sent."""

    secret_refs: list[ListRef] = Field(
        min_length=1,
        max_length=MOST_FILES,
        json_schema_extra=list_map("name", "key"),
        description="Secrets with one address (`bob@example.org`) or domain (`@example.org`: this one, none below it) a line, in UTF-8; what comes after # "
        "is a remark. All of them together are the list, of at most two million entries. Their content may change at any time, without a restart; "
        "another name or entry replaces the relays one by one.",
    )
