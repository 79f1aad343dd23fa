"""The table of replies: every one fits the wire."""

from __future__ import annotations

import re

import pytest

from relayfleet.relay.server import replies
from relayfleet.relay.server.replies import Reply

TABLE = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}


@pytest.mark.parametrize("reply", TABLE.values(), ids=TABLE.keys())
def test_codes_agree_and_the_line_is_short_enough(reply: Reply) -> None:
    assert re.fullmatch(rb"[2-5][0-9]{2} [ -~]{1,506}\r\n", reply.wire)
    if reply.code != 354:
        assert re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", reply.enhanced)
        assert reply.enhanced[0] == str(reply.code)[0]
    assert reply.text.endswith("closing") or reply.code == 421 or "closing" not in reply.text


def test_a_reply_of_several_lines_marks_all_but_the_last() -> None:
    assert replies.hello("h", ["A", "B"]) == b"250-h\r\n250-A\r\n250 B\r\n"
    assert replies.hello("h") == b"250 h\r\n"
    assert replies.hello("A", ["B", "A"]) == b"250-A\r\n250-B\r\n250 A\r\n"
