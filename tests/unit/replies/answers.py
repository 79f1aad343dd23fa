"""The labelled answers, and how first-digit logic would fare on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.replies.verdict import Action, Scope

PATH = Path(__file__).with_name("answers.tsv")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and what a postmaster makes of it."""

    reply: Reply
    host: str
    phase: str
    scope: Scope
    action: Action

    @property
    def bounces(self) -> bool:
        """True when the recipient must get no further try."""
        return self.action is Action.FAIL or (self.action is Action.HOLD and self.reply.code >= 500)

    @property
    def looks_permanent_but_is_ours(self) -> bool:
        """5xx, but it speaks of our address, our session or our rate."""
        return self.reply.code >= 500 and self.scope in (Scope.IP, Scope.SESSION, Scope.LOCAL)

    @property
    def looks_temporary_but_is_gone(self) -> bool:
        """4xx, but the user does not exist."""
        return self.reply.code < 500 and self.action is Action.FAIL


def load() -> list[Answer]:
    """All answers of the file."""
    lines = PATH.read_text().splitlines()
    return [_answer(line.split("\t")) for line in lines if line and not line.startswith("#")]


def _answer(fields: list[str]) -> Answer:
    code, text, host, phase, scope, action = fields
    return Answer(Reply(int(code), (text,)), host, phase, Scope(scope), Action(action))
