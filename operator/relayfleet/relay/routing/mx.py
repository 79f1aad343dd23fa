"""From MX answers to the hosts to try, in order. Pure: answers, own names and a random source in, hosts out.

answers                                   hosts
none                                      the domain itself (RFC 5321 section 5.1)
one, "." (null MX)                        none: permanent 5.1.10 (RFC 7505)
"." beside others                         the others
several                                   by preference; at random inside equal preference, which spreads the load
one of them is ourselves                  only those with a better preference; none left: permanent 5.4.6, it would loop
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from random import Random

import idna

from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.resolver import Exchange

MOST_HOSTS = 10
"""Of a domain with hundreds of MX records only these are tried in one attempt."""


def domain_of(address: str) -> str:
    """The part behind the last `@` as it goes into DNS: lower case, A-labels (RFC 5890), no last dot; literals keep their brackets.

    Raises DnsPermanent 5.1.2 when it can be no domain.
    """
    text = address.rpartition("@")[2].removesuffix(".").lower()
    if text.startswith("["):
        return text
    if text.isascii():
        # Underscores and the like are no IDNA, but they are in DNS and do receive mail.
        return _checked(text)
    try:
        return _checked(idna.encode(text, uts46=True).decode())
    except idna.IDNAError as error:
        raise DnsPermanent("5.1.2", f"{text!r} is no domain name: {error}") from error


def literal_address(domain: str) -> str | None:
    """The IP address of an address literal (`[192.0.2.1]`, `[IPv6:2001:db8::1]`), None for a name. Raises DnsPermanent 5.1.3."""
    if not domain.startswith("["):
        return None
    inside = domain[1:].removesuffix("]")
    try:
        if domain.endswith("]") and inside.startswith("ipv6:"):
            return str(ipaddress.IPv6Address(inside.removeprefix("ipv6:")))
        if domain.endswith("]"):
            return str(ipaddress.IPv4Address(inside))
    except ValueError:
        pass
    raise DnsPermanent("5.1.3", f"{domain} is no address literal")


def order(domain: str, exchanges: Sequence[Exchange], own_names: Collection[str], random: Random) -> tuple[str, ...]:
    """The hosts to try, first first. `own_names` are lower case. Raises DnsPermanent for a null MX or a loop."""
    if not exchanges:
        return (domain,)
    real = [each for each in exchanges if each.host]
    if not real:
        raise DnsPermanent("5.1.10", f"the domain {domain} takes no mail (null MX)")
    own = [each.preference for each in real if each.host.lower() in own_names]
    if own:
        real = [each for each in real if each.preference < min(own)]
    if not real:
        raise DnsPermanent("5.4.6", f"the best mail exchanger of {domain} is this relay: the mail would loop")
    if len(real) == 1:
        return (real[0].host.lower(),)
    ranked = sorted(real, key=lambda each: (each.preference, random.random()))
    return tuple(dict.fromkeys(each.host.lower() for each in ranked))[:MOST_HOSTS]


def _checked(text: str) -> str:
    if not text or len(text) > 253 or any(not 0 < len(label) < 64 for label in text.split(".")):
        raise DnsPermanent("5.1.2", f"{text!r} is no domain name")
    return text
