"""DKIM as a RelayPool states it: whose mail is signed, and by which keys."""

from __future__ import annotations

from pydantic import Field

from relayfleet.api.meta import EntryName, LocalRef, Model, list_map, rule, rules

MOST_DOMAINS = 100
MOST_KEYS = 4
"""An RSA and an Ed25519 key, and the successor of each."""

_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DOMAIN = rf"^({_LABEL}[.])+{_LABEL}$"
SELECTOR = rf"^{_LABEL}([.]{_LABEL})*$"


class KeyRef(LocalRef):
    """One entry of a Secret in the same namespace."""

    key: EntryName = Field(default="private.pem", description="Entry of the Secret.")


class SigningKey(Model):
    """A private key, and where its public half is published."""

    selector: str = Field(
        min_length=1,
        max_length=128,
        json_schema_extra=rules(
            rule(
                f"self.matches('{SELECTOR}')",
                "selector must be lower-case DNS labels such as s2026: it is published as <selector>._domainkey.<domain>",
            )
        ),
        description="The s= of the signature; the public key is the TXT record `<selector>._domainkey.<domain>`.",
    )
    secret_ref: KeyRef = Field(
        description="Secret with the private key in PEM, not encrypted: RSA of 2048 to 4096 bits, or Ed25519. Its content may change at any "
        "time; another name or entry replaces the relays one by one."
    )


class SigningDomain(Model):
    """A domain whose mail is signed."""

    domain: str = Field(
        min_length=1,
        max_length=253,
        json_schema_extra=rules(
            rule(
                f"self.matches('{DOMAIN}')",
                "dkim domain must be a lower-case domain name such as example.com; write an internationalized one as its A-labels (xn--…)",
            )
        ),
        description="The d= of the signature. Mail is signed whose From is of this domain or below it; of several domains that fit, by the longest. "
        "Everybody who may submit to the pool may send as it.",
    )
    keys: list[SigningKey] = Field(
        min_length=1,
        max_length=MOST_KEYS,
        json_schema_extra={
            **list_map("selector"),
            **rules(
                rule(
                    "self.all(a, self.exists_one(b, a.secretRef.name == b.secretRef.name && a.secretRef.key == b.secretRef.key))",
                    "the keys of a domain need an entry of a Secret each: one private key cannot have two selectors",
                )
            ),
        },
        description="RSA is what everybody verifies; Ed25519 beside it is for those who know RFC 8463. Of several keys of one algorithm the first that "
        "is in DNS signs. To rotate, put the new key before the old one and publish it; when it signs, take the old one out here, and days later its "
        "record out of DNS. With `verifyDNS: false` all keys sign.",
    )
    verify_dns: bool = Field(
        default=True,
        description="Relays look up the public half of each key by their own resolvers, every few minutes. A key that is certainly not in DNS is "
        "not used while another one is, and the condition Degraded (SigningKeyNotPublished) says what to publish; DNS that does not answer changes "
        "nothing. False: keys are used without a look, for domains that these resolvers see otherwise than the world does.",
    )
