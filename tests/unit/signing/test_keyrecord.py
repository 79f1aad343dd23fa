"""What a TXT record says of a key of ours."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relayfleet.relay.signing.keyrecord import State, compare, name_of, record_for
from relayfleet.relay.signing.keys import parse
from tests.unit.signing.keys import dns_text, ed25519_key, pem, rsa_key, zone_text

RSA, ED25519 = parse(pem(rsa_key())), parse(pem(ed25519_key()))
OURS, THEIRS = dns_text(rsa_key()).decode(), dns_text(rsa_key(number=1)).decode()
P = OURS.partition("p=")[2]
PKCS1 = base64.b64encode(rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()
ED = dns_text(ed25519_key()).decode()


@pytest.mark.parametrize(
    ("records", "state"),
    [
        pytest.param([OURS], State.PUBLISHED, id="as we would publish it"),
        pytest.param([f"p={P}"], State.PUBLISHED, id="nothing but the key: k= is rsa by default"),
        pytest.param([f"v=DKIM1; k=rsa; p={PKCS1}"], State.PUBLISHED, id="RSAPublicKey, as RFC 6376 has it"),
        pytest.param([f" v = DKIM1 ;\tk=rsa; p = {P[:90]} {P[90:]} ; "], State.PUBLISHED, id="white space"),
        pytest.param([f"v=DKIM1; p={P}; t=y:s; n=a note, 1=1; x=new"], State.PUBLISHED, id="flags, notes, what is new"),
        pytest.param([f"v=DKIM1; h=sha1:sha256; s=email; p={P}"], State.PUBLISHED, id="h= and s= that allow it"),
        pytest.param([f"v=DKIM1; s=tlsrpt : *; p={P}"], State.PUBLISHED, id="all services"),
        pytest.param(["v=spf1 -all", OURS], State.PUBLISHED, id="beside a record of another kind"),
        pytest.param([], State.MISSING, id="nothing"),
        pytest.param(["v=spf1 -all"], State.MISSING, id="a wildcard's record"),
        pytest.param([OURS.replace("DKIM1", "DKIM2")], State.MISSING, id="another version"),
        pytest.param([f"v=DKIM1 k=rsa; garbage; p={P}"], State.MISSING, id="no list of tags"),
        pytest.param([f"{OURS}; p={P}"], State.MISSING, id="a tag twice"),
        pytest.param(["v=DKIM1; k=rsa"], State.MISSING, id="no p="),
        pytest.param(["v=DKIM1; k=rsa; p="], State.REVOKED, id="p= is empty"),
        pytest.param(["v=DKIM1; p= ;"], State.REVOKED, id="p= is white space"),
        pytest.param([THEIRS], State.DIFFERENT, id="another key"),
        pytest.param([OURS[:-6]], State.DIFFERENT, id="cut short"),
        pytest.param([OURS.replace("p=", "p=*")], State.DIFFERENT, id="no base64"),
        pytest.param([ED], State.DIFFERENT, id="another kind of key"),
        pytest.param([f"v=DKIM1; h=sha1; p={P}"], State.DIFFERENT, id="only SHA-1"),
        pytest.param([f"v=DKIM1; s=other; p={P}"], State.DIFFERENT, id="not for e-mail"),
        pytest.param([OURS, THEIRS], State.DIFFERENT, id="receivers may take the other one"),
        pytest.param(None, State.UNKNOWN, id="no answer ever"),
    ],
)
def test_what_is_known_of_a_key(records: list[str] | None, state: State) -> None:
    verdict = compare(None if records is None else tuple(zone_text(each) for each in records), RSA)
    assert verdict.state is state
    assert bool(verdict.why) is (state not in (State.PUBLISHED, State.UNKNOWN))


def test_strings_of_a_record_are_joined_without_a_gap() -> None:
    assert zone_text(OURS).count('"') == 4
    assert compare((zone_text(OURS),), RSA).state is State.PUBLISHED


def test_bytes_that_are_no_text_are_no_key() -> None:
    assert compare(('"\\255\\200" "p="', "\\# nonsense"), RSA).state is State.MISSING


def test_ed25519_is_published_bare() -> None:
    assert compare((zone_text(ED),), ED25519).state is State.PUBLISHED
    whole = ed25519_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    wrong = f"v=DKIM1; k=ed25519; p={base64.b64encode(whole).decode()}"
    assert compare((zone_text(wrong),), ED25519).state is State.DIFFERENT


def test_what_we_say_to_publish_is_what_we_look_for() -> None:
    assert [record_for(RSA), record_for(ED25519)] == [OURS, ED]
    assert name_of("s1", "a.test") == "s1._domainkey.a.test"
