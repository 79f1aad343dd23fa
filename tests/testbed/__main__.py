"""Two regions on this machine.

python3 -m tests.testbed up       set everything up; quick when all is there
python3 -m tests.testbed down     delete the clusters (images and caches stay)
python3 -m tests.testbed status   are the clusters healthy, and how to reach them
python3 -m tests.testbed images   build and load what changed; print name → reference as JSON
python3 -m tests.testbed load REFERENCE…   load other images into both clusters
python3 -m tests.testbed doctor   what this machine can and cannot do
"""

import json
import sys
from collections.abc import Callable

from . import clusters, doctor, loading, up
from .progress import say
from .shell import TestbedError


def print_images() -> None:
    references = up.refresh_images()
    print(json.dumps(references, indent=2))


COMMANDS: dict[str, Callable[[], None]] = {
    "up": up.up,
    "down": up.down,
    "status": clusters.describe,
    "images": print_images,
    "doctor": doctor.report,
}


def main(arguments: list[str]) -> int:
    command, *rest = arguments or ["help"]
    try:
        if command == "load" and rest:
            loading.load(rest)
        elif command in COMMANDS and not rest:
            COMMANDS[command]()
        else:
            print(__doc__)
            return 2
    except TestbedError as problem:
        say(f"test bed: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
