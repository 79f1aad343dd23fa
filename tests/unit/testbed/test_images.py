"""Tags that change exactly when an image would, and archives without what a node already has."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.testbed.images import Image
from tests.testbed.loading import saved, write_missing

IMAGE = Image("thing", "Dockerfile", ("src/**/*.py",))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "src" / "__pycache__").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "src" / "a.py").write_text("a")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        pytest.param("Dockerfile", True, id="its recipe"),
        pytest.param("src/a.py", True, id="a source"),
        pytest.param("src/b.py", True, id="a new source"),
        pytest.param("README.md", False, id="a file that does not go in"),
        pytest.param("src/__pycache__/a.py", False, id="what Python leaves behind"),
    ],
)
def test_tag(checkout: Path, path: str, changes: bool) -> None:
    before = IMAGE.reference(checkout)
    (checkout / path).write_text("changed")
    assert (IMAGE.reference(checkout) != before) is changes


def test_a_moved_file_changes_the_tag(checkout: Path) -> None:
    before = IMAGE.reference(checkout)
    (checkout / "src" / "a.py").rename(checkout / "src" / "b.py")
    assert IMAGE.reference(checkout) != before


def _docker_save(layers: dict[str, bytes]) -> tarfile.TarFile:
    buffer = io.BytesIO()
    config = json.dumps({"rootfs": {"diff_ids": list(layers)}}).encode()
    paths = {digest: f"{digest[-1]}/layer.tar" for digest in layers}
    manifest = [{"Config": "c.json", "RepoTags": ["relayfleet/thing:1"], "Layers": list(paths.values())}]
    files = {paths[digest]: content for digest, content in layers.items()}
    files |= {"c.json": config, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return tarfile.open(fileobj=buffer)


def test_layers_that_a_node_has_are_named_but_not_sent() -> None:
    target = io.BytesIO()
    with _docker_save({"sha256:a": b"base", "sha256:b": b"ours"}) as source:
        write_missing(source, saved(source), {"sha256:a"}, target)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        blobs = {name for name in archive.getnames() if name in ("blobs/sha256/a", "blobs/sha256/b")}
        index = json.load(archive.extractfile("index.json") or io.BytesIO())
        (manifest,) = index["manifests"]
        content = archive.extractfile(f"blobs/{manifest['digest'].replace(':', '/')}") or io.BytesIO()
        layers = [layer["digest"] for layer in json.load(content)["layers"]]
    assert blobs == {"blobs/sha256/b"}
    assert layers == ["sha256:a", "sha256:b"]
    assert manifest["annotations"] == {"io.containerd.image.name": "docker.io/relayfleet/thing:1"}
