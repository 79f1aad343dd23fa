"""Which deliveries one acknowledgement covers. Pure.

The broker numbers the deliveries of a channel in rising order. Records are settled in any order; what was settled since the last flush
becomes one `multiple` acknowledgement for the unbroken run at the old end, and single ones for the rest. A delivery that is still
held is never covered.
"""

from __future__ import annotations


class Acks:
    """The deliveries of one channel that the broker still counts as ours."""

    __slots__ = ("_open", "_settled")

    def __init__(self) -> None:
        self._open: dict[int, None] = {}
        self._settled: set[int] = set()

    def __len__(self) -> int:
        return len(self._open)

    def delivered(self, tag: int) -> None:
        """The broker delivered `tag`, which is higher than all before."""
        self._open[tag] = None

    def settle(self, tag: int) -> None:
        """To be acknowledged with the next flush."""
        if tag in self._open:
            self._settled.add(tag)

    def hand_back(self, tag: int) -> bool:
        """Forget a delivery that is rejected by itself, now; False when it is no longer ours to reject."""
        if tag in self._settled or tag not in self._open:
            return False
        del self._open[tag]
        return True

    def flush(self) -> list[tuple[int, bool]]:
        """What to send: (tag, multiple), the run at the old end first."""
        run: list[int] = []
        for tag in self._open:
            if tag not in self._settled:
                break
            run.append(tag)
        rest = self._settled.difference(run)
        for tag in (*run, *rest):
            del self._open[tag]
        self._settled.clear()
        head = [(run[-1], len(run) > 1)] if run else []
        return head + [(tag, False) for tag in sorted(rest)]
