"""The Debian base image: pulled where that is possible, else built by debootstrap."""

import shutil
import tempfile
from pathlib import Path

from . import engine, settings
from .progress import step
from .shell import TestbedError, pipe, run, succeeds

# What no container reads; without it the image is a third smaller.
EXCLUDED = (
    "./var/cache/apt/archives/*.deb",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./dev/*",
)


def ensure(pull: bool) -> None:
    if succeeds("docker", "image", "inspect", settings.BASE_IMAGE):
        return
    if pull:
        with step(f"pull {settings.BASE_IMAGE}"):
            run("docker", "pull", settings.BASE_IMAGE, timeout=600)
    else:
        with step(f"base image {settings.BASE_IMAGE} from Debian packages"):
            _build()


def _build() -> None:
    if not shutil.which("debootstrap"):
        engine.install("debootstrap")
    suite = settings.BASE_IMAGE.partition(":")[2].removesuffix("-slim")
    if not Path("/usr/share/debootstrap/scripts", suite).exists():
        raise TestbedError(f"debootstrap of this machine does not know Debian {suite}; install a newer debootstrap")
    with tempfile.TemporaryDirectory(prefix="relayfleet-base-") as folder:
        log = settings.LOGS / "debootstrap.log"
        run("debootstrap", "--variant=minbase", suite, folder, log=log, timeout=900)
        pack = ["tar", "-C", folder, *(f"--exclude={pattern}" for pattern in EXCLUDED), "-c", "."]
        pipe(pack, ["docker", "import", "--change", 'CMD ["bash"]', "-", settings.BASE_IMAGE])
