"""The Python packages of the product's image, fetched by this machine's pip, pinned by hash, for the image's Python."""

import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

from . import settings
from .progress import step
from .shell import run

PYTHON = "3.13"  # of Debian trixie, the image's base
REQUIREMENTS = settings.ROOT / "requirements" / "runtime.txt"


def put(folder: Path) -> None:
    """Copies the wheels into a folder. Their times are fixed, so that the build finds its layers again."""
    source = _fetched()
    folder.mkdir(parents=True)
    for wheel in sorted(source.glob("*.whl")):
        copy = shutil.copyfile(wheel, folder / wheel.name)
        os.utime(copy, (0, 0))


def _fetched() -> Path:
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + PYTHON.encode()).hexdigest()[:12]
    folder = settings.CACHE / "wheels" / digest
    if folder.exists():
        return folder
    with step("fetch the Python packages of the product's image"):
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--only-binary=:all:", *_target(),
            "--dest", partial, "-r", REQUIREMENTS, timeout=600,
        )  # fmt: skip
        partial.rename(folder)
    return folder


def _target() -> list[str]:
    machine = platform.machine()
    tag = PYTHON.replace(".", "")
    platforms = [f"manylinux_2_28_{machine}", f"manylinux_2_17_{machine}", f"manylinux2014_{machine}", "any"]
    abis = [f"cp{tag}", "abi3", "none"]
    return [
        "--python-version", PYTHON, "--implementation", "cp",
        *(part for each in platforms for part in ("--platform", each)),
        *(part for each in abis for part in ("--abi", each)),
    ]  # fmt: skip
