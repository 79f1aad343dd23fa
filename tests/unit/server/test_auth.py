"""Credentials: the files, the verification, and what it gives away (nothing)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import bcrypt
import pytest

from relayfleet.relay.server import auth
from relayfleet.relay.server.auth import Authenticator, Verdict
from relayfleet.relay.server.credentials import CredentialFiles, parse
from relayfleet.relay.server.sasl import Credentials


def line(name: str, password: bytes, cost: int = 4) -> str:
    """As `htpasswd -B` writes it: with `$2y$`, its name for what others call `$2b$`."""
    return f"{name}:{bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode().replace('$2b$', '$2y$')}\n"


def claim(name: str, password: bytes) -> Credentials:
    return Credentials(name, password)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users").write_text("# who may send\n\n" + line("ann", b"secret"))
    return tmp_path


async def test_the_right_password_is_granted_and_the_wrong_one_denied(folder: Path) -> None:
    authenticator = Authenticator(folder, failure_delay=0)
    assert await authenticator.verify(claim("ann", b"secret"), "a") is Verdict.GRANTED
    assert await authenticator.verify(claim("ann", b"secret"), "a") is Verdict.GRANTED, "now from the cache"
    assert await authenticator.verify(claim("ann", b"Secret"), "a") is Verdict.DENIED
    assert await authenticator.verify(claim("bob", b"secret"), "a") is Verdict.DENIED
    assert await authenticator.verify(claim("ann", b"se\0cret"), "a") is Verdict.DENIED
    authenticator.close()


async def test_long_passwords_count_up_to_72_bytes_as_for_everybody_who_uses_bcrypt(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(line("ann", b"x" * 72))
    authenticator = Authenticator(tmp_path, failure_delay=0)
    assert await authenticator.verify(claim("ann", b"x" * 100), "a") is Verdict.GRANTED
    assert await authenticator.verify(claim("ann", b"x" * 71), "a") is Verdict.DENIED
    authenticator.close()


async def test_a_changed_password_counts_at_once_though_the_old_one_is_cached(folder: Path) -> None:
    authenticator = Authenticator(folder, failure_delay=0)
    assert await authenticator.verify(claim("ann", b"secret"), "a") is Verdict.GRANTED
    (folder / "users").write_text(line("ann", b"changed"))
    assert await authenticator.verify(claim("ann", b"secret"), "a") is Verdict.DENIED
    assert await authenticator.verify(claim("ann", b"changed"), "a") is Verdict.GRANTED
    (folder / "users").unlink()
    assert not authenticator.available
    assert await authenticator.verify(claim("ann", b"changed"), "a") is Verdict.BUSY
    authenticator.close()


async def test_an_unknown_name_is_verified_against_a_hash_of_the_highest_cost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "more").write_text(line("bob", b"x", cost=6))
    seen: list[bytes] = []
    matches = auth._matches

    def spy(password: bytes, stored: bytes) -> bool:
        seen.append(stored)
        return matches(password, stored)

    monkeypatch.setattr(auth, "_matches", spy)
    authenticator = Authenticator(folder, failure_delay=0)
    assert await authenticator.verify(claim("nobody", b"x"), "a") is Verdict.DENIED
    assert [each[:7] for each in seen] == [b"$2b$06$"]
    authenticator.close()


async def test_an_address_that_fails_too_often_is_not_looked_at_for_a_while(folder: Path) -> None:
    authenticator = Authenticator(folder, failure_delay=0)
    for _ in range(auth.FAILURES_PER_ADDRESS):
        assert await authenticator.verify(claim("ann", b"guess"), "evil") is Verdict.DENIED
    assert await authenticator.verify(claim("ann", b"secret"), "evil") is Verdict.BUSY
    assert await authenticator.verify(claim("ann", b"secret"), "good") is Verdict.GRANTED
    authenticator.close()


async def test_only_so_many_wait_for_a_verification(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "WAITING", 3)
    authenticator = Authenticator(folder, failure_delay=0)
    verdicts = await asyncio.gather(
        *(authenticator.verify(claim("ann", b"secret"), str(number)) for number in range(10))
    )
    assert verdicts.count(Verdict.GRANTED) == 3
    assert verdicts.count(Verdict.BUSY) == 7
    authenticator.close()


def test_the_cache_holds_no_password_and_is_bounded() -> None:
    verified = auth._Verified()
    for number in range(auth.CACHED + 50):
        verified.add(claim(str(number), b"secret"), b"hash", 0.0)
    assert len(verified._until) == auth.CACHED
    assert not any(b"secret" in digest for digest in verified._until)
    last = claim(str(auth.CACHED + 49), b"secret")
    assert verified.has(last, b"hash", auth.CACHED_SECONDS - 1)
    assert not verified.has(last, b"hash", auth.CACHED_SECONDS)
    assert not verified.has(last, b"other hash", 1.0)
    assert not verified.has(claim("0", b"secret"), b"hash", 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        "no colon",
        ":$2y$04$GrXIeXVjI3R8Hx5lBkcOP.OQxFeKnb4jCMHVcv8x8Zr8aBbuVWYfu",
        "ann:plain",
        "ann:$apr1$x$y",
        "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "ann:$2y$31$GrXIeXVjI3R8Hx5lBkcOP.OQxFeKnb4jCMHVcv8x8Zr8aBbuVWYfu",
        "ann:$2y$04$short",
    ],
)
def test_a_line_that_cannot_be_used_is_skipped_and_named_by_number(
    wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = parse(f"{line('bob', b'x')}{wrong}\n{line('ann', b'x')}", "file")
    assert {"bob", "ann"} == set(found)
    assert "file: lines 2 skipped" in caplog.text
    assert wrong not in caplog.text


def test_files_are_read_as_a_secret_is_mounted(tmp_path: Path) -> None:
    first, second = tmp_path / "..1", tmp_path / "..2"
    for each, password in ((first, b"1"), (second, b"2")):
        each.mkdir()
        (each / "team").write_text(line("ann", password))
    data = tmp_path / "..data"
    data.symlink_to("..1")
    (tmp_path / "team").symlink_to("..data/team")
    files = CredentialFiles(tmp_path)
    assert bcrypt.checkpw(b"1", files.hashes()["ann"])
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(data)
    assert bcrypt.checkpw(b"2", files.hashes()["ann"])
    (tmp_path / "team").unlink()
    assert files.hashes() == {}


def test_a_file_that_is_no_text_locks_nobody_else_out(folder: Path) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe")
    assert set(CredentialFiles(folder).hashes()) == {"ann"}
