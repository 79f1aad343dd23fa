"""Which keys of a domain sign, by what DNS says of them. Pure.

of the keys of one algorithm, in the order of the configuration
    the first that is Published                      signs, and no other
    none is, but nothing is known of some            those sign: receivers need but one that verifies
    all are certainly not usable                     none signs
no RSA key is left                                   all RSA keys sign: most receivers verify nothing else, so what is lost if our view
                                                     of DNS is right was lost anyway
no key of any algorithm is left                      all sign: whatever our view of DNS is worth, unsigned mail is worth no more

The first word about a name is believed at once. From then on another one is believed when it is said twice in a row: a secondary name
server that lags behind must not take a key out of use, nor put one into use that others cannot see yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from relayfleet.relay.signing.keyrecord import Answer, State, Verdict, compare, name_of, record_for
from relayfleet.relay.signing.keys import RSA
from relayfleet.relay.signing.signature import Signer


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a name: `believed`, and `doubted`, the answer that was given once in its place. None: no answer."""

    believed: Answer | None = None
    doubted: Answer | None = None


def fold(look: Look, seen: Answer | None) -> Look:
    """After one more question. `seen` None: nobody answered, which is no evidence."""
    if seen is None:
        return look
    if look.believed is None or seen in (look.believed, look.doubted):
        return Look(seen)
    return replace(look, doubted=seen)


@dataclass(frozen=True, slots=True)
class Standing:
    """A domain's keys (`signers`), what is known of each, those that sign (`chosen`), and a sentence for each that receivers cannot use."""

    domain: str
    signers: tuple[Signer, ...]
    verdicts: tuple[Verdict, ...]
    chosen: tuple[Signer, ...]
    troubles: tuple[str, ...]


def judge(domain: str, signers: tuple[Signer, ...], known: Callable[[str], Answer | None]) -> Standing:
    """`known` gives what is believed of a name."""
    verdicts = tuple(compare(known(name_of(each.selector, domain)), each.key) for each in signers)
    chosen = _choose(signers, verdicts)
    pairs = zip(signers, verdicts, strict=True)
    troubles = tuple(_sentence(domain, signer, verdict, chosen) for signer, verdict in pairs if verdict.why)
    return Standing(domain, signers, verdicts, chosen, troubles)


def _sentence(domain: str, signer: Signer, verdict: Verdict, chosen: tuple[Signer, ...]) -> str:
    """What is wrong, and what to do."""
    instead = ", ".join(each.selector for each in chosen)
    meanwhile = "signs all the same, as no key is better" if signer in chosen else f"is not used, {instead} signs"
    return (
        f"DKIM key {signer.selector} of {domain} {meanwhile}: {name_of(signer.selector, domain)} {verdict.why}. "
        f'Publish there, as its only TXT record, "{record_for(signer.key)}", or take the key out of spec.dkim'
    )


def _choose(signers: tuple[Signer, ...], verdicts: Sequence[Verdict]) -> tuple[Signer, ...]:
    kinds: dict[str, list[tuple[Signer, State]]] = {}
    for signer, verdict in zip(signers, verdicts, strict=True):
        kinds.setdefault(signer.key.algorithm, []).append((signer, verdict.state))
    chosen = {algorithm: _of_one_kind(kind) for algorithm, kind in kinds.items()}
    if any(chosen.values()) and not chosen.get(RSA, True):
        chosen[RSA] = [signer for signer, _ in kinds[RSA]]
    return tuple(each for kind in chosen.values() for each in kind) or signers


def _of_one_kind(keys: Sequence[tuple[Signer, State]]) -> list[Signer]:
    published = [signer for signer, state in keys if state is State.PUBLISHED]
    return published[:1] or [signer for signer, state in keys if state is State.UNKNOWN]
