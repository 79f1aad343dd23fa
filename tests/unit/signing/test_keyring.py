"""Keys come, change and go under a relay that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import SigningDomain, SigningKey
from relayfleet.relay.signing.keyring import Keyring, SigningKeyUnavailableError
from tests.unit.signing.keys import BOTH, ED25519, RSA, mounted, pem, rsa_key


def selectors(keyring: Keyring, domain: str = "sender.test") -> list[str]:
    return [each.selector for each in keyring.signers(domain)]


@pytest.mark.parametrize(
    ("author", "domain"),
    [
        ("sender.test", "sender.test"),
        ("news.sender.test", "sender.test"),
        ("deep.own.sender.test", "own.sender.test"),
        ("othersender.test", None),
        ("test", None),
        ("[192.0.2.1]", None),
    ],
)
def test_the_nearest_domain_signs(tmp_path: Path, author: str, domain: str | None) -> None:
    domains = (SigningDomain("sender.test", (RSA,)), SigningDomain("own.sender.test", (RSA,)))
    assert Keyring(mounted(tmp_path), domains).domain_for(author) == domain


def test_all_keys_of_a_domain_sign(tmp_path: Path) -> None:
    keyring = Keyring(mounted(tmp_path), BOTH)
    assert (selectors(keyring), keyring.trouble) == (["rsa1", "ed1"], "")


def test_a_secret_that_comes_late_is_used_at_once(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, BOTH)
    with pytest.raises(SigningKeyUnavailableError, match=r"kept back: entry rsa.pem of Secret keys is not mounted"):
        keyring.signers("sender.test")
    mounted(tmp_path)
    assert (selectors(keyring), keyring.trouble) == (["rsa1", "ed1"], "")


def test_one_key_of_two_is_not_enough(tmp_path: Path) -> None:
    keyring = Keyring(mounted(tmp_path, ed_pem=b"garbage"), BOTH)
    with pytest.raises(
        SigningKeyUnavailableError, match=r"entry ed.pem of Secret keys cannot be used, it is no private"
    ):
        keyring.signers("sender.test")


def test_new_content_signs_from_the_next_mail_on(tmp_path: Path) -> None:
    keyring = Keyring(mounted(tmp_path), (SigningDomain("sender.test", (RSA,)),))
    (before,) = keyring.signers("sender.test")
    mounted(tmp_path, rsa_pem=pem(rsa_key(number=1)))
    (after,) = keyring.signers("sender.test")
    assert before.key.sign(b"x") != after.key.sign(b"x")
    assert keyring.signers("sender.test") == (after,)


def test_a_broken_secret_leaves_the_last_good_key_and_says_so(tmp_path: Path) -> None:
    keyring = Keyring(mounted(tmp_path), BOTH)
    before = keyring.signers("sender.test")
    mounted(tmp_path, rsa_pem=pem(rsa_key(1024)))
    assert keyring.signers("sender.test") == before
    assert "mail of sender.test is signed by the last good key: entry rsa.pem" in keyring.trouble
    assert "it has 1024" in keyring.trouble
    mounted(tmp_path)
    assert keyring.trouble == ""


def test_a_relay_that_lacks_the_new_secret_signs_by_the_old_one_until_it_goes(tmp_path: Path) -> None:
    keyring = Keyring(mounted(tmp_path), (SigningDomain("sender.test", (RSA,)),))
    keyring.reload((SigningDomain("sender.test", (SigningKey("rsa2", "newer", "private.pem"),)),))
    assert selectors(keyring) == ["rsa1"]
    assert "Secret newer is not mounted here" in keyring.trouble


def test_a_new_selector_for_a_known_entry_is_used(tmp_path: Path) -> None:
    keyring = Keyring(mounted(tmp_path), (SigningDomain("sender.test", (RSA,)),))
    keyring.reload((SigningDomain("sender.test", (SigningKey("rsa2", "keys", "rsa.pem"), ED25519)),))
    assert selectors(keyring) == ["rsa2", "ed1"]


def test_a_domain_that_is_taken_back_starts_anew(tmp_path: Path) -> None:
    keyring = Keyring(mounted(tmp_path), BOTH)
    keyring.reload(())
    mounted(tmp_path, rsa_pem=b"")
    keyring.reload(BOTH)
    with pytest.raises(SigningKeyUnavailableError):
        keyring.signers("sender.test")


def test_several_troubles_are_one_line(tmp_path: Path) -> None:
    others = tuple(SigningDomain(f"{name}.test", (RSA,)) for name in "abc")
    assert Keyring(tmp_path, others).trouble.endswith("(and 2 more)")


def test_kubernetes_swaps_all_files_by_one_link(tmp_path: Path) -> None:
    for name, content in (("..1", pem(rsa_key())), ("..2", pem(rsa_key(number=1)))):
        mounted(tmp_path / name, rsa_pem=content)
    link = tmp_path / "..data"
    link.symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    keyring = Keyring(tmp_path, (SigningDomain("sender.test", (RSA,)),))
    (before,) = keyring.signers("sender.test")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(link)
    (after,) = keyring.signers("sender.test")
    assert before.key.sign(b"x") != after.key.sign(b"x")
