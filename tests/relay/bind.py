"""Real name servers: BIND from Debian, each in a container of the test bed's engine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.relay import standstill
from tests.testbed import baseimage, engine, images
from tests.testbed.shell import run

LABEL = "relayfleet.test=bind"
_OPTIONS = """
options { directory "/var/cache/bind"; recursion no; listen-on { any; }; listen-on-v6 { none; }; dnssec-validation no; };
"""


@dataclass(frozen=True, slots=True)
class Bind:
    """One server; `container` is its name at the engine."""

    address: tuple[str, int]
    container: str

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP: its kernel takes questions, and nobody answers them."""
        process = run("docker", "inspect", "-f", "{{.State.Pid}}", self.container)
        run("docker", "kill", "--signal=STOP", self.container)
        try:
            standstill.until_still(int(process))
            yield
        finally:
            run("docker", "kill", "--signal=CONT", self.container)

    def end(self) -> None:
        """Its host is gone: packets to it are lost."""
        run("docker", "rm", "-f", self.container)


@contextlib.contextmanager
def running(zones: Mapping[str, str | None]) -> Iterator[Bind]:
    """A server that answers soon. `zones`: name → text of the zone file; None: there is no such file, so its names are SERVFAIL."""
    engine.ensure()
    baseimage.ensure(engine.can_pull())
    reference = images.build("dns")
    with tempfile.TemporaryDirectory(prefix="relayfleet-bind-") as folder:
        Path(folder).chmod(0o755)
        statements = (f'zone "{name}" {{ type primary; file "/etc/bind/{name}.zone"; }};' for name in zones)
        Path(folder, "named.conf").write_text("\n".join([_OPTIONS, *statements, ""]))
        for name, text in zones.items():
            if text is not None:
                Path(folder, f"{name}.zone").write_text(text)
        name = run("docker", "run", "-d", "--label", LABEL, "-v", f"{folder}:/etc/bind:ro", reference).strip()
        try:
            form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            yield Bind((run("docker", "inspect", "-f", form, name).strip(), 53), name)
        finally:
            run("docker", "rm", "-f", name)
