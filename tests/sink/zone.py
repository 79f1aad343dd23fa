"""The DNS zone `example.test.` that test mail is addressed to: one domain for each way in which mail routing can go.

example.test, equal.…       two exchangers by preference; two that are equal
*.isp.example.test          any number of providers, all at mx1
second.…                    mx2 alone, which others have second at most: one that may be away and is missed by nobody else
fallback.…, refusing.…      the preferred exchanger does not answer (dead); refuses connections; mx1 is next
dead.…                      the only exchanger does not answer
nomx.…                      no MX, only an address (RFC 5321 5.1)
nullmx.…                    takes no mail (RFC 7505)
nodata.…, dangling.…        neither MX nor address; an MX whose name does not exist
alias.…                     a CNAME for example.test
…._domainkey                public keys of DKIM, those that the caller has
servfail.…                  a zone that its server cannot load
nxdomain.example.test       is not there at all
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

DOMAIN = "example.test"
PORT = 5353
"""Port of the server's container, so that it needs no rights."""
HOSTS = ("mx1", "mx2", "dead", "refusing")

_DOMAINS: Mapping[str, tuple[tuple[int, str], ...]] = {
    "@": ((10, "mx1"), (20, "mx2")),
    "equal": ((10, "mx1"), (10, "mx2")),
    "*.isp": ((10, "mx1"),),
    "second": ((10, "mx2"),),
    "fallback": ((10, "host-dead"), (20, "mx1")),
    "refusing": ((10, "host-refusing"), (20, "mx1")),
    "dead": ((10, "host-dead"),),
    "nullmx": ((0, "."),),
    "dangling": ((10, "nobody"),),
}


def zone(addresses: Mapping[str, str], texts: Mapping[str, str] = MappingProxyType({})) -> str:
    """The zone file. `addresses`: one for each of HOSTS; `texts`: TXT records by name in the zone; a short TTL, so that a test may change them."""
    lines = [
        "$TTL 5",
        f"@ SOA ns.{DOMAIN}. hostmaster.{DOMAIN}. 1 3600 600 86400 5",
        f"@ NS ns.{DOMAIN}.",
        f"ns A {addresses['mx1']}",
        f"mx1 A {addresses['mx1']}",
        f"mx2 A {addresses['mx2']}",
        f"host-dead A {addresses['dead']}",
        f"host-refusing A {addresses['refusing']}",
        f"nomx A {addresses['mx1']}",
        'nodata TXT "no exchanger, no address"',
        f"alias CNAME {DOMAIN}.",
    ]
    lines += [f"{name} MX {preference} {host}" for name, hosts in _DOMAINS.items() for preference, host in hosts]
    lines += [f"{name} TXT {_strings(text)}" for name, text in texts.items()]
    return "\n".join(lines) + "\n"


def _strings(text: str) -> str:
    """A string of a TXT record has 255 bytes at most."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


def named_conf(folder: str, port: int = PORT) -> str:
    """BIND's configuration; `folder` holds the zone file. It listens on `port`. One zone has no file, which makes its name SERVFAIL."""
    return f"""\
options {{
    directory "/tmp";
    pid-file none;
    session-keyfile none;
    listen-on port {port} {{ any; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
zone "{DOMAIN}" {{ type primary; file "{folder}/{DOMAIN}"; }};
zone "servfail.{DOMAIN}" {{ type primary; file "{folder}/missing"; }};
"""
