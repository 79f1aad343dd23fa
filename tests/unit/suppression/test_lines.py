"""Who is meant by a line: the address in each way of writing it, and nobody else."""

from __future__ import annotations

import pytest

from relayfleet.relay.suppression.lines import names, read


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("bob@one.test", "bob@one.test"),
        ("  Bob@One.TEST \r", "bob@one.test"),
        ("bob@one.test", "BOB@ONE.test"),
        ("bob@one.test # complained in March", "bob@one.test"),
        ("bob@one.test\t#", "bob@one.test"),
        ("@one.test", "anybody@ONE.test"),
        ("bob@one.test", '"bob"@one.test'),
        ('"bob"@one.test', "bob@one.test"),
        ("bob@one.test", r'"b\ob"@one.test'),
        ('"#1"@one.test', '"#1"@one.test'),
        ("bob+news@one.test", "bob+news@one.test"),
        ("@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@xn--bcher-kva.example", "bob@BÜCHER.example"),
        ("JÖRG@one.test", "jörg@one.test"),
        ("jo\u0308rg@one.test", "jörg@one.test"),
        ("@[192.0.2.1]", "bob@[192.0.2.1]"),
        ("bob@one.test", "bob@one.test."),
    ],
)
def test_the_line_means_the_address(line: str, address: str) -> None:
    assert read(line) in names(address)


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("bob@one.test", "rob@one.test"),
        ("bob@one.test", "bob@two.test"),
        ("bob@one.test", "bob+news@one.test"),
        ("bob@one.test", "bob@sub.one.test"),
        ("@one.test", "bob@sub.one.test"),
        ("@one.test", "bob@one.test.example"),
        ("@one.test", '"@one.test"@two.test'),
    ],
)
def test_the_line_means_somebody_else(line: str, address: str) -> None:
    assert read(line)
    assert read(line) not in names(address)


@pytest.mark.parametrize("line", ["", "   ", "# bob@one.test", "  #", "\r"])
def test_a_line_without_an_entry(line: str) -> None:
    assert read(line) == ""


@pytest.mark.parametrize(
    "line",
    [
        "one.test",
        "@",
        "bob@",
        "Bob <bob@one.test>",
        "bob@one.test,rob@one.test",
        "bob@one.test;2026",
        "bob@one.test rob@one.test",
        "*@one.test",
        "@*.one.test",
        "@.one.test",
        "@one.test#a remark needs a space before it",
        "bob@one..test",
        f"bob@{'a' * 64}.test",
    ],
)
def test_a_line_of_which_nobody_can_say_whom_it_means(line: str) -> None:
    assert read(line) is None


def test_an_address_whose_domain_can_be_none_is_meant_by_no_line() -> None:
    assert names("bob@" + "a" * 64) == ()
