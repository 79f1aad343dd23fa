"""Who signs, by what DNS says: a rotation is a table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from relayfleet.protocol.telemetry import MOST_UNPUBLISHED
from relayfleet.relay.signing.choice import Look, Standing, fold, judge
from relayfleet.relay.signing.keyrecord import Answer, record_for
from relayfleet.relay.signing.keys import parse
from relayfleet.relay.signing.signature import Signer
from tests.unit.signing.keys import ed25519_key, pem, rsa_key, zone_text

NEW, OLD = Signer("new", parse(pem(rsa_key()))), Signer("old", parse(pem(rsa_key(number=1))))
ED = Signer("ed", parse(pem(ed25519_key())))
DOMAIN = "a.test"
GOOD: dict[str, Answer] = {each.selector: (zone_text(record_for(each.key)),) for each in (NEW, OLD, ED)}
NONE: Answer = ()
GONE: Answer = ('"v=DKIM1; p="',)


def standing(signers: Sequence[Signer], **found: Answer) -> Standing:
    names = {f"{selector}._domainkey.{DOMAIN}": answer for selector, answer in found.items()}
    return judge(DOMAIN, tuple(signers), names.get)


def pick(*selectors: str) -> dict[str, Answer]:
    return {each: GOOD[each] for each in selectors}


@pytest.mark.parametrize(
    ("signers", "found", "chosen"),
    [
        pytest.param([NEW, OLD], pick("new", "old"), "new", id="both are in DNS: the first of the list"),
        pytest.param([OLD, NEW], pick("new", "old"), "old", id="the list decides, not the key"),
        pytest.param([NEW, OLD], pick("old") | {"new": NONE}, "old", id="the new one is not in DNS yet"),
        pytest.param([NEW, OLD], pick("new") | {"old": GONE}, "new", id="the old one is revoked"),
        pytest.param([NEW, OLD], pick("new") | {"old": GOOD["new"]}, "new", id="the old name has another key"),
        pytest.param([NEW, OLD], pick("old"), "old", id="one that is in DNS is better than one we know nothing of"),
        pytest.param([NEW, OLD], {"new": NONE}, "old", id="nothing known is better than not there"),
        pytest.param([NEW, OLD, ED], {}, "new old ed", id="DNS has never answered: as configured"),
        pytest.param([NEW, OLD, ED], pick("new", "old", "ed"), "new ed", id="one of each algorithm"),
        pytest.param([NEW, ED], pick("new") | {"ed": NONE}, "new", id="RSA alone is in DNS"),
        pytest.param([NEW, ED], pick("ed") | {"new": NONE}, "new ed", id="Ed25519 alone is in DNS: few verify that"),
        pytest.param([NEW, OLD, ED], pick("old", "ed") | {"new": NONE}, "old ed", id="of two RSA keys one is there"),
        pytest.param(
            [NEW, ED], pick("ed"), "new ed", id="most receivers know no Ed25519: RSA unless it is known to be bad"
        ),
        pytest.param([NEW, OLD, ED], {"new": NONE, "old": GONE, "ed": NONE}, "new old ed", id="none is in DNS: all"),
    ],
)
def test_who_signs(signers: list[Signer], found: dict[str, Answer], chosen: str) -> None:
    assert [each.selector for each in standing(signers, **found).chosen] == chosen.split()


def test_each_key_that_is_not_in_dns_is_told_with_what_to_publish() -> None:
    (only,) = standing([NEW, OLD], new=NONE, **pick("old")).troubles
    assert only == (
        "DKIM key new of a.test is not used, old signs: new._domainkey.a.test has no TXT record. "
        f'Publish there, as its only TXT record, "{record_for(NEW.key)}", or take the key out of spec.dkim'
    )
    first, second = standing([NEW, OLD], new=GONE, old=GOOD["new"]).troubles
    assert (
        "key new of a.test signs all the same, as no key is better: new._domainkey.a.test says that the key is revo"
        in first
    )
    assert "old._domainkey.a.test has another key. Publish" in second
    assert standing([NEW, OLD], **pick("new", "old")).troubles == standing([NEW, OLD]).troubles == ()


def test_the_longest_sentence_is_not_cut_on_its_way() -> None:
    selector, domain = ".".join(["s" * 63, "t" * 62]), ".".join("d" * 60 for _ in range(4))
    (trouble,) = judge(domain, (Signer(selector, parse(pem(rsa_key(4096)))),), lambda _: NONE).troubles
    assert len(trouble) + len(" (and 399 more)") < MOST_UNPUBLISHED


def look(*seen: Answer | None) -> Look:
    state = Look()
    for each in seen:
        state = fold(state, each)
    return state


A, B, C = ("a",), ("b",), ("c",)


@pytest.mark.parametrize(
    ("seen", "believed"),
    [
        pytest.param([], None, id="nobody asked"),
        pytest.param([None, None], None, id="nobody answered"),
        pytest.param([A], A, id="the first word counts"),
        pytest.param([None, NONE], NONE, id="that there is nothing is a word too"),
        pytest.param([A, None, None, None], A, id="silence takes nothing away"),
        pytest.param([A, NONE], A, id="another word counts when it is said twice"),
        pytest.param([A, NONE, NONE], NONE, id="now it was"),
        pytest.param([A, NONE, A, NONE], A, id="in a row"),
        pytest.param([A, NONE, None, NONE], NONE, id="with silence in between"),
        pytest.param([A, B, C, B], A, id="three different words are no two of one"),
        pytest.param([A, B, B, A], B, id="and back the same way"),
    ],
)
def test_what_is_believed(seen: list[Answer | None], believed: Answer | None) -> None:
    assert look(*seen).believed == believed
