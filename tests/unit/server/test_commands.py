"""Arguments of MAIL, RCPT and AUTH: tables of what is taken and what is answered to the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.server import replies
from relayfleet.relay.server.commands import Mail, parse_auth, parse_mail, parse_rcpt
from relayfleet.relay.server.replies import Refused, Reply
from relayfleet.relay.spool.record import Recipient

MAIL_CASES: dict[str, Mail] = {
    "FROM:<a@b.example>": Mail("a@b.example"),
    "from:<a@b.example>": Mail("a@b.example"),
    "FROM: <a@b.example>": Mail("a@b.example"),
    "FROM:<>": Mail(""),
    "FROM:<@relay.example,@other.example:a@b.example>": Mail("a@b.example"),
    'FROM:<"a b>c"@b.example>': Mail('"a b>c"@b.example'),
    "FROM:<a@[192.0.2.1]>": Mail("a@[192.0.2.1]"),
    "FROM:<a@[IPv6:2001:db8::1]>": Mail("a@[IPv6:2001:db8::1]"),
    "FROM:<a@b.example> SIZE=1000": Mail("a@b.example", size=1000),
    "FROM:<a@b.example> body=8bitmime size=7": Mail("a@b.example", size=7),
    "FROM:<ä@b.example> SMTPUTF8": Mail("ä@b.example", smtputf8=True),
    "FROM:<a@b.example> RET=hdrs ENVID=QQ+2B314": Mail("a@b.example", ret="HDRS", envid="QQ+2B314"),
    "FROM:<a@b.example> AUTH=<>": Mail("a@b.example"),
    "FROM:<a@b.example> AUTH=e+3Dmc2@example.com": Mail("a@b.example"),
}

MAIL_REFUSALS: dict[str, Reply] = {
    "": replies.BAD_SENDER,
    "TO:<a@b.example>": replies.BAD_SENDER,
    "FROM:a@b.example": replies.BAD_SENDER,
    "FROM:<a@b.example": replies.BAD_SENDER,
    "FROM:<a>": replies.BAD_SENDER,
    "FROM:<a@>": replies.BAD_SENDER,
    "FROM:<a@b.example>SIZE=1": replies.BAD_SENDER,
    "FROM:<a@b@c.example>": replies.BAD_SENDER,
    "FROM:<ä@b.example>": replies.NEEDS_SMTPUTF8,
    "FROM:<a@b.example> SIZE=": replies.SYNTAX,
    "FROM:<a@b.example> SIZE=-1": replies.SYNTAX,
    "FROM:<a@b.example> SIZE=1 SIZE=2": replies.SYNTAX,
    "FROM:<a@b.example> SIZE=999999999999999999999": replies.SYNTAX,
    "FROM:<a@b.example> BODY=BINARYMIME": replies.SYNTAX,
    "FROM:<a@b.example> SMTPUTF8=1": replies.SYNTAX,
    "FROM:<a@b.example> RET=ALL": replies.SYNTAX,
    "FROM:<a@b.example> ENVID=a=b": replies.SYNTAX,
    "FROM:<a@b.example> ENVID=+2b": replies.SYNTAX,
    f"FROM:<a@b.example> ENVID={'x' * 101}": replies.SYNTAX,
    "FROM:<a@b.example> NOTIFY=NEVER": replies.UNKNOWN_PARAMETER,
    "FROM:<a@b.example> REQUIRETLS": replies.UNKNOWN_PARAMETER,
}

RCPT_CASES: dict[str, Recipient] = {
    "TO:<a@b.example>": Recipient("a@b.example"),
    "TO:<a@b.example> NOTIFY=success,delay": Recipient("a@b.example", notify="SUCCESS,DELAY"),
    "TO:<a@b.example> NOTIFY=NEVER ORCPT=rfc822;x+2By@z": Recipient("a@b.example", "NEVER", "rfc822;x+2By@z"),
}

RCPT_REFUSALS: dict[str, Reply] = {
    "TO:<>": replies.BAD_RECIPIENT,
    "TO:<postmaster>": replies.BAD_RECIPIENT,
    "TO:<a@b.example> NOTIFY=NEVER,DELAY": replies.SYNTAX,
    "TO:<a@b.example> NOTIFY=": replies.SYNTAX,
    "TO:<a@b.example> ORCPT=x": replies.SYNTAX,
    f"TO:<a@b.example> ORCPT=rfc822;{'x' * 500}": replies.SYNTAX,
    "TO:<a@b.example> SIZE=1": replies.UNKNOWN_PARAMETER,
    "TO:<ä@b.example>": replies.NEEDS_SMTPUTF8,
}


@pytest.mark.parametrize(("argument", "mail"), MAIL_CASES.items())
def test_mail_is_read(argument: str, mail: Mail) -> None:
    assert parse_mail(argument, extended=True) == mail


@pytest.mark.parametrize(("argument", "reply"), MAIL_REFUSALS.items())
def test_mail_is_refused(argument: str, reply: Reply) -> None:
    with pytest.raises(Refused) as caught:
        parse_mail(argument, extended=True)
    assert caught.value.reply is reply


@pytest.mark.parametrize(("argument", "recipient"), RCPT_CASES.items())
def test_rcpt_is_read(argument: str, recipient: Recipient) -> None:
    assert parse_rcpt(argument, extended=True, utf8=False) == recipient


@pytest.mark.parametrize(("argument", "reply"), RCPT_REFUSALS.items())
def test_rcpt_is_refused(argument: str, reply: Reply) -> None:
    with pytest.raises(Refused) as caught:
        parse_rcpt(argument, extended=True, utf8=False)
    assert caught.value.reply is reply


def test_parameters_need_ehlo() -> None:
    with pytest.raises(Refused) as caught:
        parse_mail("FROM:<a@b.example> SIZE=1", extended=False)
    assert caught.value.reply is replies.EHLO_FIRST


def test_auth_gives_mechanism_and_initial_response() -> None:
    assert parse_auth("plain") == ("PLAIN", None)
    assert parse_auth("PLAIN AGEAYg==") == ("PLAIN", "AGEAYg==")
    for wrong in ("", "PLAIN a b"):
        with pytest.raises(Refused):
            parse_auth(wrong)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    for parse in (parse_mail, lambda argument, extended: parse_rcpt(argument, extended, utf8=True)):
        for argument in (text, f"FROM:<{text}>", f"TO:<a@b> {text}", f"FROM:<a@b> {text}"):
            try:
                parse(argument, True)
            except Refused as refused:
                assert refused.reply.code >= 500
