"""Progress of the scale benchmark, on stderr."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Say:
    """`began`: of the benchmark (monotonic). `where`: the part that speaks."""

    began: float
    where: str = ""

    def __call__(self, words: str) -> None:
        prefix = f"{self.where}: " if self.where else ""
        print(f"scale {time.monotonic() - self.began:5.0f} s  {prefix}{words}", file=sys.stderr, flush=True)
