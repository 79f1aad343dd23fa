"""Brings images into the nodes, and of each image only the layers that a node does not have.

`kind load` sends whole images to every node, some hundred megabytes of which all but the last layer are there already.
Here the archive is made anew for each node: the same image description, without the layers that the node has.
"""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import binaries
from .network import on_node
from .progress import step
from .settings import REGIONS, Region
from .shell import CommandError, TestbedError, run

IMPORT_TIMEOUT = 300.0
_OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Saved:
    """One image inside an archive that `docker save` wrote: its description, and where its layers lie."""

    reference: str
    config: bytes
    layers: tuple[tuple[str, str, int], ...]  # digest, path in the archive, size


def load(references: Iterable[str], regions: Sequence[Region] = tuple(REGIONS.values())) -> None:
    wanted = {_full(reference): reference for reference in references}
    nodes = [node for region in regions for node in region.nodes]
    missing = {node: [wanted[name] for name in wanted.keys() - present(node)] for node in nodes}
    lacking = [node for node in nodes if missing[node]]
    needed = sorted({reference for node in lacking for reference in missing[node]})
    if not needed:
        return
    with step(f"load {', '.join(needed)} into {len(lacking)} nodes"), tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "images.tar")
        run("docker", "save", "-o", archive, *needed, timeout=IMPORT_TIMEOUT)
        if not _plain(archive):
            _load_whole(needed, regions)
            return
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda node: _load_node(node, archive, missing[node]), lacking))


def _plain(archive: Path) -> bool:
    """Docker's containerd store saves layers compressed, under other digests than the image's own; those go whole."""
    with tarfile.open(archive) as source:
        layers = [layer for image in saved(source) for layer in image.layers]
    return all(not path.startswith("blobs/") or path == _blob(digest) for digest, path, _ in layers)


def _load_whole(references: list[str], regions: Iterable[Region]) -> None:
    for region in regions:
        command = ("load", "docker-image", *references, "--name", region.cluster)
        run(binaries.TOOLS.path("kind"), *command, timeout=IMPORT_TIMEOUT)


def present(node: str) -> set[str]:
    return set(on_node(node, "ctr", "-n", "k8s.io", "images", "ls", "-q").split())


def _full(reference: str) -> str:
    """The name that containerd knows an image by."""
    host, slash, _ = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    return reference if "." in host or ":" in host else f"docker.io/{reference}"


def _load_node(node: str, archive: Path, references: list[str]) -> None:
    held = set(on_node(node, "ctr", "-n", "k8s.io", "content", "ls", "-q").split())
    command = ["docker", "exec", "-i", node, "ctr", "-n", "k8s.io", "images", "import", "--snapshotter=overlayfs", "-"]
    with tempfile.TemporaryFile() as trimmed, tarfile.open(archive) as source:
        write_missing(source, [image for image in saved(source) if image.reference in references], held, trimmed)
        trimmed.seek(0)
        done = subprocess.run(
            command, stdin=trimmed, capture_output=True, text=True, timeout=IMPORT_TIMEOUT, check=False
        )
    if done.returncode:
        raise CommandError(command, done.returncode, done.stderr)


def saved(archive: tarfile.TarFile) -> list[Saved]:
    """What `manifest.json` says, which old and new versions of Docker write alike."""
    return [_saved(archive, entry) for entry in json.loads(_read(archive, "manifest.json"))]


def _saved(archive: tarfile.TarFile, entry: dict[str, Any]) -> Saved:
    config = _read(archive, entry["Config"])
    digests = json.loads(config)["rootfs"]["diff_ids"]
    layers = []
    for digest, path in zip(digests, entry["Layers"], strict=True):
        member = archive.getmember(path)
        while member.issym() or member.islnk():  # old versions link equal layers
            member = archive._find_link_target(member)  # type: ignore[attr-defined]
        layers.append((digest, member.name, member.size))
    return Saved(entry["RepoTags"][0], config, tuple(layers))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise TestbedError(f"docker save wrote no {name}")
    return member.read()


def write_missing(source: tarfile.TarFile, images: list[Saved], held: set[str], target: Any) -> None:
    """An OCI layout of `images` in which the layers in `held` are named but not contained."""
    written = set(held)
    manifests = []
    with tarfile.open(fileobj=target, mode="w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        for image in images:
            for digest, path, _ in image.layers:
                if digest not in written:
                    written.add(digest)
                    _copy(source, path, archive, _blob(digest))
            config = _add_blob(archive, image.config, f"{_OCI}.config.v1+json")
            layers = [
                {"mediaType": f"{_OCI}.layer.v1.tar", "digest": digest, "size": size}
                for digest, _, size in image.layers
            ]
            document = {"schemaVersion": 2, "mediaType": f"{_OCI}.manifest.v1+json", "config": config, "layers": layers}
            manifest = _add_blob(archive, json.dumps(document).encode(), f"{_OCI}.manifest.v1+json")
            manifests.append(manifest | {"annotations": {"io.containerd.image.name": _full(image.reference)}})
        _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _add_blob(archive: tarfile.TarFile, content: bytes, kind: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _add(archive, _blob(digest), content)
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _copy(source: tarfile.TarFile, path: str, archive: tarfile.TarFile, name: str) -> None:
    member = source.getmember(path)
    entry = tarfile.TarInfo(name)
    entry.size = member.size
    archive.addfile(entry, source.extractfile(member))
