"""The keys that DNS of the test bed has: made anew in each run, and put into the zone when the run begins."""

from __future__ import annotations

from tests.unit.signing.keys import dns_text, ed25519_key, rsa_key

KEY_RECORDS = {
    "rsa1._domainkey": dns_text(rsa_key()).decode(),
    "ed1._domainkey": dns_text(ed25519_key()).decode(),
}
