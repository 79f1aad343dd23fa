"""Packets that are dropped in a network namespace of ours: all, or those from and to some peers, in both directions or in one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager

from tests.testbed.bounded import fault
from tests.testbed.network_faults import rules
from tests.testbed.shell import run


def cut(
    inside: Sequence[str], peers: Sequence[str], directions: Sequence[str], longest: float
) -> AbstractContextManager[None]:
    """`inside` is the command that enters the namespace; `directions` are seen from there; no peers: everybody. At most `longest` seconds."""
    table = f"fault_{secrets.token_hex(4)}"
    text = rules(table, directions, (), peers, "drop")
    undo = (*inside, "nft", "delete", "table", "ip", table)
    return fault(lambda: run(*inside, "nft", "-f", "-", stdin=text), undo, longest)
