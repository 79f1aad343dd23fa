"""What the sink can do in place of its usual reply, and the stages of a session at which it can."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, get_args

Stage = Literal["connect", "ehlo", "starttls", "mail", "rcpt", "data", "dot", "rset", "noop", "quit"]
"""`connect` is what comes in place of the banner, `dot` what comes in place of the reply to a whole message."""

Do = Literal["accept", "reply", "hang", "close", "reset", "garbage", "endless"]
Then = Literal["continue", "hang", "close", "reset"]

STAGES: tuple[Stage, ...] = get_args(Stage)
DOS: tuple[Do, ...] = get_args(Do)
THENS: tuple[Then, ...] = get_args(Then)


@dataclass(frozen=True, slots=True)
class Action:
    """One scripted deed.

    do      accept: the usual reply · reply: `code` and `lines` · hang: never answer again · close: FIN · reset: RST
            garbage: bytes that are no reply · endless: a reply line that does not end
    delay   seconds before it, drawn evenly between the two
    store   at the dot only: store the message although the answer is not 2xx (stored, but the client does not know)
    early   at the dot only, with accept: store the message before the delay; who is cut off meanwhile has delivered it all the same
    then    what follows the reply
    """

    do: Do = "accept"
    code: int = 0
    lines: tuple[str, ...] = ()
    delay: tuple[float, float] = (0.0, 0.0)
    store: bool = False
    early: bool = False
    then: Then = "continue"

    def draw_delay(self) -> float:
        """Seconds to wait this time."""
        low, high = self.delay
        return low if low == high else random.uniform(low, high)

    @property
    def wire(self) -> bytes:
        """The reply as it goes over the wire, with one line or several."""
        lines = self.lines or (usual_text(self.code),)
        marked = [f"{self.code}{' ' if index == len(lines) - 1 else '-'}{line}" for index, line in enumerate(lines)]
        return "".join(f"{line}\r\n" for line in marked).encode()

    def __str__(self) -> str:
        """For records and messages: `reply 451`, `hang`."""
        return f"reply {self.code}" if self.do == "reply" else self.do


def usual_text(code: int) -> str:
    """What stands behind a code when the script gives no text."""
    return f"{code // 100}.0.0 as scripted" if code // 100 in (2, 4, 5) else "as scripted"
