"""Runs the tests in an order that fails early and wastes no time: the clusters come up while the fast tests run.

python -m tests.run all | check | relay | e2e
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Step:
    """One command with the name under which it is reported."""

    name: str
    command: tuple[str, ...]


def tool(name: str, *arguments: str) -> tuple[str, ...]:
    """A command of the virtual environment."""
    return (str(BIN / name), *arguments)


def pytest(*arguments: str) -> tuple[str, ...]:
    return tool("python", "-m", "pytest", "-q", *arguments)


STATIC = (
    Step("lint", tool("ruff", "check", "--quiet", ".")),
    Step("format", tool("ruff", "format", "--check", "--quiet", ".")),
    Step("generated files", tool("python", "tools/generate.py", "--check")),
    Step("layers", tool("lint-imports", "--no-cache")),
    Step("types", tool("mypy", "operator/relayfleet", "tests", "tools")),
)


def unit(name: str, *folders: str, without: tuple[str, ...] = ()) -> Step:
    """Unit tests of these folders. Half of their start is compiling, so its result is kept, also for who wishes no such files in general."""
    cached = ("env", "-u", "PYTHONDONTWRITEBYTECODE")
    ignored = (f"--ignore=tests/unit/{each}" for each in without)
    return Step(name, (*cached, *pytest(*(f"tests/unit/{each}" for each in folders), *ignored)))


# Two halves of what computes, one for each core. A folder that is named nowhere is in the second.
DECIDING = ("controllers", "decide", "queue")
# These spend their time in real waits on real sockets and clocks, so they run beside what computes: three rows of half a minute.
BROKER_WATCHER = "probing/test_brokers.py"
PROBING = ("act", "observe", "probing")
TALKING = ("control", "routing", "runtime")
UNIT = (
    unit("unit tests of decisions", *DECIDING),
    unit("unit tests of all else", "", without=(*DECIDING, *PROBING, *TALKING)),
)
UNIT_WAITING = (
    unit("unit tests that wait for probes", *PROBING, without=(BROKER_WATCHER,)),
    unit("unit tests that wait for probes of brokers", BROKER_WATCHER),
    unit("unit tests that wait for relays and resolvers", *TALKING),
)
CLUSTERS = Step("clusters", (sys.executable, "-m", "tests.testbed", "up"))
# Brokers are killed and waited for; what needs none of them need not wait too.
WITH_BROKERS = ("tests/relay/spool", "tests/relay/broker", "tests/relay/control")
BROKERS = (Step("relay tests with brokers", pytest("--durations=10", *WITH_BROKERS)),)
SOCKETS = (
    Step(
        "relay tests without brokers",
        pytest("--durations=5", "tests/relay", *(f"--ignore={each}" for each in WITH_BROKERS)),
    ),
)
# With the variable, clusters that are not up are a failure and not a reason to skip.
E2E = (Step("end-to-end tests", ("env", "RELAYFLEET_E2E=1", *pytest("--durations=30", "tests/e2e"))),)


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else "all"
    began = time.monotonic()
    match wanted:
        case "check":
            failed = check()
        case "relay":
            failed = run((CLUSTERS,)) or together(BROKERS, SOCKETS)
        case "e2e":
            failed = run((CLUSTERS, *E2E))
        case "all":
            failed = run_all()
        case _:
            print(__doc__)
            return 2
    print(
        f"{'FAILED: ' + ', '.join(failed) if failed else 'all passed'} ({time.monotonic() - began:.0f} s)", flush=True
    )
    return 1 if failed else 0


def run_all() -> list[str]:
    """The clusters come up in the background while the fast tests run; what needs them waits."""
    log = ROOT / "build" / "clusters.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        clusters = subprocess.Popen(CLUSTERS.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    # Not six rows as in `check`: two clusters that start are enough beside them.
    failed = together((*UNIT, *UNIT_WAITING), STATIC)
    print(f"== clusters: waiting (log: {log.relative_to(ROOT)})", flush=True)
    if clusters.wait():
        print(log.read_text(), flush=True)
        return [*failed, CLUSTERS.name]
    return failed + (run((CLUSTERS,)) or together(BROKERS, SOCKETS) + run(E2E))


def check() -> list[str]:
    """Each step of unit tests is a row: two of them compute, the others wait. Static checks compute, but not for long."""
    first, *others = UNIT
    return together((first,), *((each,) for each in (*others, *UNIT_WAITING)), STATIC)


def together(shown: tuple[Step, ...], *kept: tuple[Step, ...]) -> list[str]:
    """Rows of steps beside each other; what those of the second and later ones print comes when each is done."""
    with ThreadPoolExecutor(len(kept)) as pool:
        others = [pool.submit(run, each, quiet=True) for each in kept]
        return [*run(shown), *(name for each in others for name in each.result())]


def run(steps: tuple[Step, ...], *, quiet: bool = False) -> list[str]:
    """Run all, and return the names of those that failed; without clusters the rest makes no sense. `quiet`: show output at the end."""
    failed: list[str] = []
    for step in steps:
        began = time.monotonic()
        print(f"== {step.name}", flush=True)
        status, output = _call(step, quiet)
        verdict = "ok" if status == 0 else f"exit status {status}"
        print(f"{output}== {step.name}: {verdict} ({time.monotonic() - began:.1f} s)", flush=True)
        if status:
            failed.append(step.name)
            if step is CLUSTERS:
                break
    return failed


def _call(step: Step, quiet: bool) -> tuple[int, str]:
    if not quiet:
        return subprocess.call(step.command, cwd=ROOT), ""
    done = subprocess.run(step.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


if __name__ == "__main__":
    sys.exit(main())
