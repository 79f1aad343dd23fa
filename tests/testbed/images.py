"""The project's own images: what each is made from, its tag, and how it is built.

A tag is a digest of everything that goes into the image. The build sees exactly those files and no others, so an image
that is there is the right one, and a change anywhere else rebuilds nothing.
"""

import hashlib
import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import settings, wheels
from .nodeimage import LEGACY_BUILDER
from .progress import step
from .shell import TestbedError, run, succeeds

BUILD_TIMEOUT = 900.0


@dataclass(frozen=True)
class Image:
    """`inputs` are glob patterns from the root of the checkout; the Dockerfile is always one of them. `wheels`: Python packages are
    fetched here, and not in the build, which may know neither this machine's package index nor whom it trusts."""

    name: str
    dockerfile: str
    inputs: tuple[str, ...] = ()
    wheels: bool = False

    def files(self, root: Path = settings.ROOT) -> list[Path]:
        found = {path for pattern in (self.dockerfile, *self.inputs) for path in root.glob(pattern)}
        return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)

    def reference(self, root: Path = settings.ROOT) -> str:
        digest = hashlib.sha256(settings.BASE_IMAGE.encode())
        for path in self.files(root):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"\0{path.relative_to(root)}\0{content}".encode())
        return f"relayfleet/{self.name}:{digest.hexdigest()[:12]}"


IMAGES = (
    Image("relayfleet", "Dockerfile", ("operator/relayfleet/**/*", "requirements/runtime.txt"), wheels=True),
    Image("rabbitmq", "images/rabbitmq/Dockerfile", ("images/rabbitmq/**/*",)),
    Image("dns", "images/dns/Dockerfile", ("images/dns/**/*",)),
    Image("postgresql", "images/postgresql/Dockerfile", ("images/postgresql/**/*",)),
    Image("sink", "tests/sink/Dockerfile", ("tests/sink/*.py",)),
    Image("mailclient", "images/mailclient/Dockerfile", ("images/mailclient/**/*",)),
)


def references() -> dict[str, str]:
    """Name → full reference of every image of this checkout."""
    return {image.name: image.reference() for image in IMAGES if (settings.ROOT / image.dockerfile).exists()}


def build_all() -> dict[str, str]:
    """Builds what is missing, one after the other: they share the package index's patience and two cores."""
    return {name: build(name) for name in references()}


def build(name: str) -> str:
    """Builds one image if it is missing; its reference."""
    image = next(each for each in IMAGES if each.name == name)
    reference = image.reference()
    if not succeeds("docker", "image", "inspect", reference):
        with step(f"build {reference}"):
            _build(image, reference)
    return reference


def _build(image: Image, reference: str) -> None:
    if not image.files():
        raise TestbedError(f"image {image.name}: none of its files exist")
    with tempfile.TemporaryDirectory(prefix="relayfleet-context-") as folder:
        with tarfile.open(fileobj=io.BytesIO(_context(image))) as context:
            context.extractall(folder, filter="data")
        arguments = [f"BASE={settings.BASE_IMAGE}"]
        if image.wheels:
            wheels.put(Path(folder, "build", "wheels"))
            arguments.append("PIP_ARGS=--no-index")
        options = [part for each in arguments for part in ("--build-arg", each)]
        run(
            "docker", "build", "-t", reference, *options, "-f", Path(folder, image.dockerfile), folder,
            env=LEGACY_BUILDER, timeout=BUILD_TIMEOUT, log=settings.LOGS / "images.log",
        )  # fmt: skip


def _context(image: Image) -> bytes:
    """Files without their times: a checkout just made must find the layers that an older one left behind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as context:
        for path in image.files():
            entry = context.gettarinfo(str(path), str(path.relative_to(settings.ROOT)))
            entry.mtime, entry.uid, entry.gid, entry.mode = 0, 0, 0, 0o755 if entry.mode & 0o100 else 0o644
            with path.open("rb") as content:
                context.addfile(entry, content)
    return buffer.getvalue()
