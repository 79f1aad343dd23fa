"""What stands behind a verb: the arguments of MAIL, RCPT and AUTH. Pure; raises `Refused` with the answer to give.

Parameters of MAIL: SIZE (RFC 1870), BODY (6152), SMTPUTF8 (6531), RET and ENVID (3461), AUTH (4954: checked and dropped, as we vouch
for our own credentials only). Of RCPT: NOTIFY and ORCPT (3461). They are kept as the client wrote them, because delivery passes them on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relayfleet.relay.server import replies
from relayfleet.relay.server.addresses import is_mailbox
from relayfleet.relay.server.replies import Refused
from relayfleet.relay.spool.record import Recipient

_PATH = re.compile(r' *<((?:"(?:[^"\\]|\\.)*+"|[^"<>])*+)>(?: +(.*))?')
_ROUTE = re.compile(r"@[^:<>\" ]+:")
_SIZE = re.compile(r"[0-9]{1,20}")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_ORCPT = re.compile(r"[A-Za-z0-9!#$%&'*/?^_`{|}~.-]+;(?:[!-*,-<>-~]|[\u0080-\U0010ffff]|\+[0-9A-F]{2})+")
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2}")
_ENVID_LENGTH = 100
_ORCPT_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL: `sender` is empty for the null reverse-path, `size` is what the client declared, 0 if it did not."""

    sender: str
    size: int = 0
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


def parse_mail(argument: str, extended: bool) -> Mail:
    """The argument of MAIL. `extended`: the client said EHLO, so parameters are allowed."""
    path, rest = _split(argument, "FROM:", replies.BAD_SENDER)
    if not rest:
        _check_address(path, replies.BAD_SENDER, utf8=False, null=True)
        return Mail(path)
    parameters = _parameters(rest, extended)
    _check_known(parameters, _MAIL_PARAMETERS)
    utf8 = "SMTPUTF8" in parameters
    _check_address(path, replies.BAD_SENDER, utf8=utf8, null=True)
    return Mail(
        sender=path,
        size=int(parameters.get("SIZE", "0")),
        smtputf8=utf8,
        ret=parameters.get("RET", "").upper(),
        envid=parameters.get("ENVID", ""),
    )


def parse_rcpt(argument: str, extended: bool, utf8: bool) -> Recipient:
    """The argument of RCPT. `utf8`: the transaction's MAIL said SMTPUTF8."""
    path, rest = _split(argument, "TO:", replies.BAD_RECIPIENT)
    _check_address(path, replies.BAD_RECIPIENT, utf8=utf8)
    if not rest:
        return Recipient(path)
    parameters = _parameters(rest, extended)
    _check_known(parameters, _RCPT_PARAMETERS)
    return Recipient(path, parameters.get("NOTIFY", "").upper(), parameters.get("ORCPT", ""))


def parse_auth(argument: str) -> tuple[str, str | None]:
    """The argument of AUTH: mechanism, and the initial response as it came (None: there is none)."""
    mechanism, space, initial = argument.partition(" ")
    if not mechanism or " " in initial:
        raise Refused(replies.SYNTAX)
    return mechanism.upper(), initial if space else None


def _split(argument: str, keyword: str, wrong: replies.Reply) -> tuple[str, str]:
    """Path without angle brackets and source route, and the text of the parameters."""
    if argument[: len(keyword)].upper() != keyword:
        raise Refused(wrong)
    match = _PATH.fullmatch(argument, len(keyword))
    if match is None:
        raise Refused(wrong)
    path, rest = match.groups()
    if path.startswith("@"):
        # A source route: to be accepted and ignored (RFC 5321, appendix C).
        path = _ROUTE.sub("", path, count=1)
    return path, (rest or "").rstrip(" ")


def _check_address(path: str, wrong: replies.Reply, *, utf8: bool, null: bool = False) -> None:
    if not path and null:
        return
    if not is_mailbox(path):
        raise Refused(wrong)
    if not utf8 and not path.isascii():
        raise Refused(replies.NEEDS_SMTPUTF8)


def _parameters(text: str, extended: bool) -> Mapping[str, str]:
    if not extended:
        raise Refused(replies.EHLO_FIRST)
    found: dict[str, str] = {}
    for each in text.split():
        keyword, equals, value = each.partition("=")
        keyword = keyword.upper()
        if keyword in found or (equals and not value):
            raise Refused(replies.SYNTAX)
        found[keyword] = value
    return found


def _check_known(parameters: Mapping[str, str], known: Mapping[str, re.Pattern[str]]) -> None:
    for keyword, value in parameters.items():
        if keyword not in known:
            raise Refused(replies.UNKNOWN_PARAMETER)
        if known[keyword].fullmatch(value) is None:
            raise Refused(replies.SYNTAX)


_MAIL_PARAMETERS = {
    "SIZE": _SIZE,
    "BODY": re.compile(r"7BIT|8BITMIME", re.IGNORECASE),
    "SMTPUTF8": re.compile(r""),
    "RET": re.compile(r"FULL|HDRS", re.IGNORECASE),
    "ENVID": re.compile(rf"(?=.{{1,{_ENVID_LENGTH}}}$){_XTEXT.pattern}"),
    "AUTH": re.compile(rf"(?=.){_XTEXT.pattern}"),
}
_RCPT_PARAMETERS = {
    "NOTIFY": re.compile(_NOTIFY.pattern, re.IGNORECASE),
    "ORCPT": re.compile(rf"(?=.{{1,{_ORCPT_LENGTH}}}$){_ORCPT.pattern}"),
}
