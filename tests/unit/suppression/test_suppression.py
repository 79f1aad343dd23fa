"""The list as a whole: read from files, again when they change, kept when they cannot be read, and never taken for empty."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import SuppressionEntry
from relayfleet.relay.suppression import suppression as module
from relayfleet.relay.suppression.page import digest, page
from relayfleet.relay.suppression.suppression import SuppressionList, SuppressionListUnavailableError

A, B = SuppressionEntry("bounced", "addresses.txt"), SuppressionEntry("left", "addresses.txt")


def write(folder: Path, entry: SuppressionEntry, data: bytes | str) -> Path:
    file = folder / entry.secret / entry.entry
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file


async def test_without_a_list_everybody_may_get_mail(tmp_path: Path) -> None:
    subject = SuppressionList(tmp_path)
    await subject.read()
    assert (subject.lists("bob@one.test"), subject.trouble, subject.withholds, subject.size) == ("", "", False, 0)


async def test_all_files_are_one_list_and_say_which_entry_it_was(tmp_path: Path) -> None:
    write(tmp_path, A, "\ufeff# Bounces\r\nBob@One.test\r\n\r\n")
    write(tmp_path, B, "@two.test\n@two.test # again\n")
    subject = SuppressionList(tmp_path, [A, B])
    await subject.read()
    listed = {each: subject.lists(each) for each in ("bob@one.TEST", "x@two.test", "rob@one.test", "x@sub.two.test")}
    assert listed == {
        "bob@one.TEST": "bob@one.test",
        "x@two.test": "@two.test",
        "rob@one.test": "",
        "x@sub.two.test": "",
    }
    assert (subject.size, subject.trouble) == (2, "")


async def test_an_empty_file_is_a_list_of_nobody(tmp_path: Path) -> None:
    write(tmp_path, A, "")
    subject = SuppressionList(tmp_path, [A])
    await subject.read()
    assert (subject.lists("bob@one.test"), subject.withholds) == ("", False)


async def test_a_list_that_was_not_read_yet_is_not_taken_for_empty(tmp_path: Path) -> None:
    write(tmp_path, A, "bob@one.test")
    subject = SuppressionList(tmp_path, [A])
    with pytest.raises(SuppressionListUnavailableError, match="not been read yet"):
        subject.lists("rob@one.test")
    assert not subject.withholds, "nothing to tell of the first moments"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "entry addresses.txt of Secret bounced is not mounted here: create it"),
        (b"bob@one.test\n\xff", "is no UTF-8 text"),
        (b"#" * (module.MOST_BYTES + 1), "has more than 2097152 bytes: split it"),
        (b"a@one.test\nb@one.test\nc@one.test\nd@one.test", "more than 3 entries"),
        (
            b"address,reason\n<bob@one.test>,complained\n",
            "no line of entry addresses.txt of Secret bounced can be read",
        ),
    ],
)
async def test_what_cannot_be_read_keeps_mail_back_or_leaves_the_last_good_list(
    tmp_path: Path, data: bytes | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 3)
    if data is not None:
        write(tmp_path, A, data)
    subject = SuppressionList(tmp_path, [A])
    await subject.read()
    assert subject.withholds
    assert subject.trouble.startswith("mail is kept back: ")
    with pytest.raises(SuppressionListUnavailableError, match=says):
        subject.lists("rob@one.test")

    file = write(tmp_path, A, "bob@one.test")
    await subject.read()
    assert (subject.lists("bob@one.test"), subject.trouble, subject.withholds) == ("bob@one.test", "", False)

    file.unlink()
    if data is not None:
        write(tmp_path, A, data)
    await subject.read()
    assert subject.trouble.startswith("the last good suppression list is in use: ")
    assert says in subject.trouble
    assert (subject.lists("bob@one.test"), subject.withholds) == ("bob@one.test", False)


async def test_half_of_a_list_is_none(tmp_path: Path) -> None:
    write(tmp_path, A, "bob@one.test")
    subject = SuppressionList(tmp_path, [A, B])
    await subject.read()
    assert subject.withholds


async def test_a_new_configuration_counts_once_it_is_read(tmp_path: Path) -> None:
    write(tmp_path, A, "bob@one.test")
    subject = SuppressionList(tmp_path, [A])
    await subject.read()
    await subject.reload([A, B])
    assert "Secret left is not mounted here" in subject.trouble
    assert subject.lists("bob@one.test"), "until the relay is replaced by one that has the Secret"
    write(tmp_path, B, "rob@one.test")
    await subject.read()
    assert (subject.lists("bob@one.test"), subject.lists("rob@one.test"), subject.trouble) != ("", "", "")
    assert subject.lists("rob@one.test")
    await subject.reload([])
    assert (subject.lists("bob@one.test"), subject.size, subject.trouble) == ("", 0, "")
    await subject.reload([SuppressionEntry("gone", "a")])
    assert subject.withholds, "what was stated before is not the last good list any more"


async def test_lines_of_no_use_are_told_by_number_and_the_others_count(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write(tmp_path, A, "bob@one.test\none.test\n" + "carol\n" * 7)
    subject = SuppressionList(tmp_path, [A])
    await subject.read()
    assert subject.trouble == (
        "lines 2, 3, 4, 5, 6, … of entry addresses.txt of Secret bounced suppress nobody: write one address or @domain in each"
    )
    assert (subject.lists("bob@one.test"), subject.withholds) == ("bob@one.test", False)
    assert "carol" not in caplog.text
    assert "bob" not in caplog.text


async def test_a_file_that_is_the_same_is_not_read_line_by_line_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[bytes] = []

    def counted(data: bytes, key: bytes) -> object:
        pages.append(data)
        return page(data, key)

    monkeypatch.setattr(module, "page", counted)
    write(tmp_path, A, "bob@one.test")
    write(tmp_path, B, "rob@one.test")
    subject = SuppressionList(tmp_path, [A, B])
    await subject.read()
    write(tmp_path, B, "carol@one.test")
    await subject.read()
    assert pages == [b"bob@one.test", b"rob@one.test", b"carol@one.test"]
    assert subject.lists("bob@one.test")
    assert subject.lists("rob@one.test") == ""


def test_a_full_secret_takes_eight_bytes_an_entry_and_is_found_whole() -> None:
    """A Secret holds 1 MiB: some 40,000 addresses."""
    key, made = b"k", random.Random(1)
    addresses = [f"user{made.randrange(10**9)}.{number}@example.org" for number in range(30_000)]
    subject = page("\n".join(addresses).encode(), key)
    assert len(subject.digests) * subject.digests.itemsize == 8 * 30_000
    assert all(subject.has(digest(each, key)) for each in addresses)
    assert not any(subject.has(digest(f"x{each}", key)) for each in addresses)
    assert not any(subject.has(each) for each in (0, 2**64 - 1))
