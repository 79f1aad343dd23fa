"""How far a stream has been read, and whether it is still the one that was read. Pure.

A stream is replicated and not synced. When all brokers lose their power at once, or the stream is lost and made anew, it ends before the place where its
readers are, and gives the same offsets to other messages. Who asks for what comes behind his place then hears nothing until the stream is as long again, and
never of what was said meanwhile. So who resumes asks for the last message that he has read as well: it comes first and is the same, or the stream was cut back
(or he was away for so long that it is not kept any more, and reads all of it again as well).
"""

from __future__ import annotations

SILENCE = 5.0
"""Seconds without any message, although one of the reader's own was stored meanwhile, after which the stream ends before his place. One that is whole
sends the message that was asked for at once; a broker that is busy for longer costs a second reading, and the memory of two for an hour."""


class CutBackError(Exception):
    """The stream is not as long as it was, or another one."""


class Place:
    """Times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._last: tuple[int, bytes] | None = None
        self._resumes = False
        self._began = 0.0

    def begin(self, now: float) -> int | None:
        """A consumer is to begin: the offset that it asks for, None when nothing was read yet."""
        self._resumes, self._began = self._last is not None, now
        return self._last[0] if self._last else None

    def begun(self, now: float) -> None:
        """The broker has agreed to it."""
        self._began = now

    def is_news(self, offset: int, body: bytes) -> bool:
        """Take a message; False when it was read before. Raises CutBackError when it is not what has to come here."""
        if self._last is None or (offset > self._last[0] and not self._resumes):
            self._last = offset, body
            return True
        if (offset, body) != self._last:
            raise CutBackError(f"there is another message at offset {offset} than what was read up to {self._last[0]}")
        self._resumes = False
        return False

    def is_behind_the_end(self, stored_at: float, now: float) -> bool:
        """Whether the stream must have ended before our place: `stored_at`, when a message of our own was stored last."""
        return self._resumes and stored_at > self._began and now - self._began > SILENCE

    def forget(self) -> None:
        """Begin anew."""
        self._last, self._resumes = None, False
