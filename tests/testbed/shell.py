"""Runs commands: one place that knows about timeouts, logs and readable failures."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

DEFAULT_TIMEOUT = 120.0


class TestbedError(Exception):
    """Something the user has to know; its text is one readable message."""

    __test__ = False  # the name begins like a test class


class CommandError(TestbedError):
    """A command failed. Keeps its exit code and output for callers that can go on."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        self.code = code
        self.output = output
        tail = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(f"`{' '.join(command)[:300]}` failed with exit code {code}\n{tail}")


def run(
    *command: str | Path,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    log: Path | None = None,
) -> str:
    """Standard output of a command that succeeded; with `log`, both its outputs go to that file instead."""
    words = [str(word) for word in command]
    merged = {**os.environ, **(env or {})}
    try:
        if log:
            return _run_logged(words, stdin, merged, cwd, timeout, log)
        done = subprocess.run(
            words, input=stdin, env=merged, cwd=cwd, timeout=timeout, text=True, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise TestbedError(f"`{words[0]}` is not installed") from None
    except subprocess.TimeoutExpired:
        raise TestbedError(f"`{' '.join(words)[:300]}` did not end within {timeout:.0f} s") from None
    if done.returncode:
        raise CommandError(words, done.returncode, done.stderr or done.stdout)
    return done.stdout


def _run_logged(
    words: list[str], stdin: str | None, env: Mapping[str, str], cwd: Path | None, timeout: float, log: Path
) -> str:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as sink:
        done = subprocess.run(
            words, input=stdin, env=env, cwd=cwd, timeout=timeout, text=True, stdout=sink, stderr=sink, check=False
        )
    if done.returncode:
        raise CommandError(words, done.returncode, f"{log.read_text(errors='replace')[-4000:]}\n(whole log: {log})")
    return ""


def succeeds(*command: str | Path, timeout: float = DEFAULT_TIMEOUT) -> bool:
    """Whether a command ends with 0: for questions like "is it there?"."""
    try:
        run(*command, timeout=timeout)
    except TestbedError:
        return False
    return True


def pipe(source: Sequence[str | Path], sink: Sequence[str | Path], timeout: float = 600.0) -> str:
    """`source | sink`; fails when either fails."""
    left, right = [str(w) for w in source], [str(w) for w in sink]
    with subprocess.Popen(left, stdout=subprocess.PIPE) as producer:
        done = subprocess.run(
            right, stdin=producer.stdout, timeout=timeout, text=True, capture_output=True, check=False
        )
        if producer.stdout:
            producer.stdout.close()
    if producer.returncode or done.returncode:
        raise CommandError([*left, "|", *right], producer.returncode or done.returncode, done.stderr or done.stdout)
    return done.stdout
