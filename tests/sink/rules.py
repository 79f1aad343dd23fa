"""Rules: what the sink does when who connects how and for whom. They come as JSON, one object a rule.

    {"stage": "rcpt", "recipient": "*@grey.test", "first": 2, "per": "recipient", "code": 451, "text": "4.7.1 greylisted"}
    {"stage": "dot", "client": "198.18.3.0/24", "do": "reset", "store": true, "first": 1}
    {"stage": "any", "window": [10, 40], "do": "hang"}
    {"stage": "dot", "share": 0.05, "seed": 7, "code": 421, "text": ["4.3.2 busy", "4.3.2 come back"], "then": "close"}
    {"stage": ["mail", "rcpt", "dot"], "recipient": "*@slow.test", "delay": [0.2, 2]}

What it applies to (all that are given must hold; patterns know `*` and `?`, upper and lower case are alike):
    stage       one of connect, ehlo, starttls, mail, rcpt, data, dot, rset, noop, quit, several as a list, or "any"
    recipient, sender, helo   patterns; at the dot a rule fits when one of the recipients does
    client      address or network of the client; port: the port on which it came
    window      [from, to] in seconds since the rules were put
    skip, first not the first `skip` times, then only `first` times, counted for each stage by itself and per "rule" (all together),
                "recipient", "client" or "session" (`per`)
    share       only this share of the times (0 to 1), drawn from `seed`
What it does: `do`, `code`, `text` (a list gives several lines), `delay` (seconds or [low, high]), `store`, `early`, `then`: see
`actions.py`.
With `code` `do` is "reply", else "accept" unless given. The first rule that fits wins; orders in addresses come after the rules.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tests.sink.actions import DOS, STAGES, THENS, Action, Stage

Per = Literal["rule", "recipient", "client", "session"]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RuleError(ValueError):
    """A rule that cannot be used; the text says which field and what would do."""


@dataclass(slots=True)
class Facts:
    """What is known of a session and its transaction so far."""

    session: int
    client: str
    port: int
    helo: str = ""
    tls: str = ""
    sender: str = ""


@dataclass(slots=True)
class Rule:
    """One rule; `hits` counts how often it was applied."""

    document: dict[str, Any]
    stages: tuple[Stage, ...]
    action: Action
    recipient: re.Pattern[str] | None = None
    sender: re.Pattern[str] | None = None
    helo: re.Pattern[str] | None = None
    client: Network | None = None
    port: int = 0
    window: tuple[float, float] | None = None
    skip: int = 0
    first: int = 0
    per: Per = "rule"
    share: float = 1.0
    chance: random.Random = field(default_factory=random.Random)
    hits: int = 0

    def fits(self, facts: Facts, recipients: Sequence[str], age: float) -> str | None:
        """The recipient for whom the rule holds ("" when it asks for none), or None. `age`: seconds since the rules were put."""
        if self.window and not self.window[0] <= age < self.window[1]:
            return None
        if self.port and self.port != facts.port:
            return None
        if self.client and ipaddress.ip_address(facts.client) not in self.client:
            return None
        if self.helo and not self.helo.fullmatch(facts.helo.lower()):
            return None
        if self.sender and not self.sender.fullmatch(facts.sender.lower()):
            return None
        if self.recipient:
            return next((each for each in recipients if self.recipient.fullmatch(each.lower())), None)
        return recipients[0] if recipients else ""

    def counted_by(self, facts: Facts, recipient: str) -> str:
        """The name under which this time is counted."""
        return {"rule": "", "recipient": recipient.lower(), "client": facts.client, "session": str(facts.session)}[
            self.per
        ]


def read_rules(document: Any) -> list[Rule]:
    """Rules from decoded JSON. Raises RuleError."""
    if not isinstance(document, list):
        raise RuleError("rules must be a JSON list of objects")
    return [_rule(each, f"rule {index}") for index, each in enumerate(document)]


def _rule(document: Any, where: str) -> Rule:
    if not isinstance(document, dict):
        raise RuleError(f"{where} must be an object")
    if unknown := sorted(set(document) - _FIELDS):
        raise RuleError(f"{where} has unknown fields {', '.join(unknown)}; there are {', '.join(sorted(_FIELDS))}")
    stages = _stages(document.get("stage"), where)
    return Rule(
        document=document,
        stages=stages,
        action=_action(document, stages, where),
        recipient=_pattern(document, "recipient", where),
        sender=_pattern(document, "sender", where),
        helo=_pattern(document, "helo", where),
        client=_network(document, where),
        port=int(_number(document, "port", 0, where)),
        window=_pair(document["window"], f"{where}: window") if "window" in document else None,
        skip=int(_number(document, "skip", 0, where)),
        first=int(_number(document, "first", 0, where)),
        per=_one_of(document.get("per", "rule"), get_args(Per), f"{where}: per"),
        share=_number(document, "share", 1.0, where),
        chance=random.Random(int(_number(document, "seed", 0, where))),
    )


def _stages(value: Any, where: str) -> tuple[Stage, ...]:
    if value == "any":
        return STAGES
    several = value if isinstance(value, list) else [value]
    return tuple(_one_of(each, STAGES, f"{where}: stage") for each in several)


def _action(document: dict[str, Any], stages: tuple[Stage, ...], where: str) -> Action:
    code = int(_number(document, "code", 0, where))
    if code and not 200 <= code <= 599:
        raise RuleError(f"{where}: code {code} is no SMTP reply code (200 to 599)")
    do = _one_of(document.get("do", "reply" if code else "accept"), DOS, f"{where}: do")
    if (do == "reply") != bool(code):
        raise RuleError(f"{where}: do {do} {'needs a code' if do == 'reply' else 'takes no code'}")
    if document.get("store") and stages != ("dot",):
        raise RuleError(f"{where}: store is for stage dot only")
    then = _one_of(document.get("then", "continue"), THENS, f"{where}: then")
    if then != "continue" and do not in ("accept", "reply"):
        raise RuleError(f"{where}: nothing follows do {do}, so `then` is for accept and reply only")
    early = bool(document.get("early"))
    if early and (stages != ("dot",) or do != "accept"):
        raise RuleError(f"{where}: early is for accept at stage dot only")
    lines, delay = _lines(document, code, where), _delay(document, where)
    return Action(do, code, lines, delay, bool(document.get("store")), early, then)


def _lines(document: dict[str, Any], code: int, where: str) -> tuple[str, ...]:
    value = document.get("text", [])
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(each, str) for each in lines):
        raise RuleError(f"{where}: text must be a string or a list of strings")
    if lines and not code:
        raise RuleError(f"{where}: text needs a code")
    return tuple(lines)


def _delay(document: dict[str, Any], where: str) -> tuple[float, float]:
    value = document.get("delay", 0)
    return _pair(value if isinstance(value, list) else [value, value], f"{where}: delay")


def _pair(value: Any, where: str) -> tuple[float, float]:
    if (
        isinstance(value, list)
        and len(value) == 2
        and all(_is_number(each) for each in value)
        and 0 <= value[0] <= value[1]
    ):
        return float(value[0]), float(value[1])
    raise RuleError(f"{where} must be [low, high] in seconds, not {value!r}")


def _number(document: dict[str, Any], name: str, default: float, where: str) -> float:
    value = document.get(name, default)
    if not _is_number(value) or value < 0 or (name == "share" and value > 1):
        raise RuleError(
            f"{where}: {name} must be a number {'from 0 to 1' if name == 'share' else 'not below 0'}, not {value!r}"
        )
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _pattern(document: dict[str, Any], name: str, where: str) -> re.Pattern[str] | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RuleError(f"{where}: {name} must be a pattern such as *@example.test")
    return re.compile(fnmatch.translate(value.lower().replace("[", "[[]")))


def _network(document: dict[str, Any], where: str) -> Network | None:
    try:
        return ipaddress.ip_network(document["client"]) if "client" in document else None
    except ValueError as error:
        raise RuleError(f"{where}: client must be an address or a network: {error}") from error


def _one_of(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value not in choices:
        raise RuleError(f"{where} must be one of {', '.join(choices)}, not {value!r}")
    return value


_FIELDS = {"stage", "recipient", "sender", "helo", "client", "port", "window", "skip", "first", "per", "share", "seed"} | {
    "do", "code", "text", "delay", "store", "early", "then"
}  # fmt: skip
