"""Runs benchmarks: `python -m tests.bench [name]`. One JSON object a line, to the screen and to build/bench/<name>.jsonl."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent.parent / "build" / "bench"


def main() -> int:
    names = sorted(path.stem.replace("_", "-") for path in HERE.glob("[!_]*.py"))
    chosen = sys.argv[1:] or names
    if unknown := set(chosen) - set(names):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        print(f"== {name}", file=sys.stderr, flush=True)
        rows = asyncio.run(importlib.import_module(f"tests.bench.{name.replace('-', '_')}").run())
        lines = [json.dumps(row) for row in rows]
        (RESULTS / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        print("\n".join(lines), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
