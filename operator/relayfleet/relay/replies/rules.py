"""The rules as data: a TOML table, read once, first match wins.

    [providers]
    google = ["google.com", "googlemail.com"]     # suffixes of the MX host name

    [[rule]]
    name = "google-unusual-rate"
    provider = "google"                           # optional, as are the next four: what is left out matches everything
    code = ["421", "550"]                         # reply codes, or "4" and "5" for a whole class
    status = ["7.28"]                             # enhanced status without its class
    text = "unusual rate"                         # regular expression, case ignored, searched in the joined text
    phase = ["rcpt", "end"]
    scope = "IP"
    reason = "Throttled"
    action = "Cap"

A user's own file has the same form; its rules are asked before ours. A rule that cannot be read stops the start with a sentence that
names the file, the rule and the field.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from relayfleet.relay.replies.verdict import Action, Scope, Verdict

_KEYS = frozenset({"name", "provider", "code", "status", "text", "phase", "scope", "reason", "action"})


class RulesError(ValueError):
    """The file of rules cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. Empty fields match everything."""

    verdict: Verdict
    suffixes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()
    text: re.Pattern[str] | None = None
    phases: frozenset[str] = frozenset()

    def matches(self, code: str, status: str, text: str, host: str, phase: str) -> bool:
        """`code` three digits, `status` without its class, `host` lower case, with a dot before it."""
        return (
            (not self.codes or code.startswith(self.codes))
            and (not self.statuses or status in self.statuses)
            and (not self.phases or phase in self.phases)
            and (not self.suffixes or host.endswith(self.suffixes))
            and (self.text is None or self.text.search(text) is not None)
        )


def load_rules(override: Path | None = None) -> tuple[Rule, ...]:
    """The user's rules, if any, then ours. Raises RulesError, OSError."""
    ours = parse_rules((resources.files(__package__) / "rules.toml").read_text(), "rules.toml")
    return (*parse_rules(override.read_text(), str(override)), *ours) if override else ours


def parse_rules(text: str, origin: str) -> tuple[Rule, ...]:
    """Rules from TOML; `origin` is for messages. Raises RulesError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{origin}: {error}") from error
    providers = {name: tuple(suffixes) for name, suffixes in document.get("providers", {}).items()}
    return tuple(
        _rule(table, providers, f"{origin}: rule {index}") for index, table in enumerate(document.get("rule", []), 1)
    )


def _rule(table: Mapping[str, Any], providers: Mapping[str, tuple[str, ...]], where: str) -> Rule:
    where = f"{where} ({table.get('name', 'without name')})"
    if unknown := table.keys() - _KEYS:
        raise RulesError(f"{where}: unknown field {', '.join(sorted(unknown))}; there are: {', '.join(sorted(_KEYS))}")
    try:
        provider = table.get("provider", "")
        return Rule(
            Verdict(Scope(table["scope"]), str(table["reason"]), Action(table["action"]), str(table["name"])),
            suffixes=tuple(f".{suffix}" for suffix in providers[provider]) if provider else (),
            codes=tuple(table.get("code", ())),
            statuses=frozenset(table.get("status", ())),
            text=re.compile(table["text"], re.IGNORECASE) if "text" in table else None,
            phases=frozenset(table.get("phase", ())),
        )
    except KeyError as error:
        raise RulesError(f"{where}: {error} is missing, or no provider of this file") from error
    except (ValueError, TypeError, re.error) as error:
        raise RulesError(f"{where}: {error}") from error
