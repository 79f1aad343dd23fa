"""The image of a node, for machines that cannot pull kindest/node: Debian, systemd, containerd, Kubernetes.

The images of the control plane lie inside, in the node's containerd, as kind expects them: each is one binary.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import binaries, settings
from .binaries import Program
from .progress import step
from .shell import TestbedError, run, succeeds

LEGACY_BUILDER = {"DOCKER_BUILDKIT": "0"}  # the only one that Debian's docker.io has
INGREDIENTS = ("node.Dockerfile", "default-storage.yaml")
ON_THE_NODE = ("kubeadm", "kubelet", "kubectl", *binaries.CONTAINERD.packages)
IN_IMAGES: dict[str, Program] = {
    "kube-apiserver": binaries.KUBERNETES,
    "kube-controller-manager": binaries.KUBERNETES,
    "kube-scheduler": binaries.KUBERNETES,
    "kube-proxy": binaries.KUBERNETES,
    "etcd": binaries.ETCD,
    "coredns": binaries.COREDNS,
    "pause": binaries.PAUSE,
}
LOCAL_PATH_IMAGE = f"docker.io/relayfleet/local-path-provisioner:{settings.LOCAL_PATH}"


def name() -> str:
    """Tagged by everything that goes into it, so that an old image is never taken for a new one."""
    text = b"".join((settings.FILES / file).read_bytes() for file in INGREDIENTS) + Path(__file__).read_bytes()
    versions = " ".join(f"{program.name} {program.version}" for program in (binaries.TOOLS, *binaries.NODE_PROGRAMS))
    return f"relayfleet/node:{settings.KUBERNETES}-{hashlib.sha256(text + versions.encode()).hexdigest()[:12]}"


def ensure() -> str:
    image = name()
    if not succeeds("docker", "image", "inspect", image):
        for program in binaries.NODE_PROGRAMS:
            binaries.build(program)
        with step(f"node image {image}"), tempfile.TemporaryDirectory(prefix="relayfleet-node-") as folder:
            _bare(Path(folder), f"{image}-bare")
            archive = _control_plane(Path(folder))
            _fill(f"{image}-bare", archive, image)
    return image


def _bare(folder: Path, image: str) -> None:
    """The node without images in it."""
    context = folder / "node"
    shutil.copytree(binaries.sources(binaries.TOOLS) / "images" / "base" / "files", context / "files")
    (context / "bin").mkdir()
    for program in binaries.NODE_PROGRAMS:
        for executable in program.packages:
            if executable in ON_THE_NODE:
                shutil.copy(program.path(executable), context / "bin" / executable)
    storage = (settings.FILES / "default-storage.yaml").read_text()
    storage = storage.replace("LOCAL_PATH_VERSION", settings.LOCAL_PATH).replace("HELPER_IMAGE", settings.BASE_IMAGE)
    (context / "default-storage.yaml").write_text(storage)
    shutil.copy(settings.FILES / "node.Dockerfile", context / "Dockerfile")
    run("chmod", "-R", "u+w", context)  # the module cache is read-only
    _build(context, image, f"BASE={settings.BASE_IMAGE}", f"KUBERNETES={settings.KUBERNETES}")


def _build(context: Path, image: str, *arguments: str) -> None:
    pairs = [word for argument in arguments for word in ("--build-arg", argument)]
    log = settings.LOGS / "images.log"
    run("docker", "build", "-t", image, *pairs, context, env=LEGACY_BUILDER, timeout=900, log=log)


def _control_plane(folder: Path) -> Path:
    """One archive of the images that kubeadm will ask for, under the names by which it asks."""
    kubeadm = binaries.KUBERNETES.path("kubeadm")
    wanted = run(kubeadm, "config", "images", "list", "--kubernetes-version", settings.KUBERNETES).split()
    images = {reference: reference.rpartition("/")[2].partition(":")[0] for reference in wanted}
    if unknown := set(images.values()) ^ set(IN_IMAGES):
        raise TestbedError(f"kubeadm {settings.KUBERNETES} asks for other images than these: {sorted(unknown)}")
    for reference, executable in images.items():
        _single(folder / executable, reference, IN_IMAGES[executable].path(executable))
    _single(folder / "local-path", LOCAL_PATH_IMAGE, binaries.LOCAL_PATH.path("local-path-provisioner"))
    archive = folder / "images.tar"
    # The base image comes along: it is in kube-proxy's image anyway, and volumes are prepared by pods made from it.
    run("docker", "save", "-o", archive, *images, LOCAL_PATH_IMAGE, settings.BASE_IMAGE, timeout=300)
    return archive


def _single(context: Path, image: str, executable: Path) -> None:
    context.mkdir()
    shutil.copy(executable, context)
    lines = [
        f"COPY {executable.name} /usr/local/bin/{executable.name}",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f'ENTRYPOINT ["/usr/local/bin/{executable.name}"]',
    ]
    if executable.name == "kube-proxy":  # it writes its rules with the tools of the image
        tools = "apt-get install -qy --no-install-recommends nftables iptables conntrack kmod ipset"
        install = f"apt-get update -q && {tools} && rm -rf /var/lib/apt/lists/*"
        lines = [f"FROM {settings.BASE_IMAGE}", f"RUN {install}", *lines]
    elif executable.name == "pause":  # the kubelet gives a pod's sandbox no user of its own
        lines = ["FROM scratch", *lines, "USER 65535:65535"]
    else:
        lines = ["FROM scratch", *lines]
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    _build(context, image)


def _fill(bare: str, archive: Path, image: str) -> None:
    """Puts images into the containerd of a running node and keeps the result.

    `docker commit` of Docker 20.10 loses the stop signal, and then a node takes ten seconds to stop; hence the second build.
    """
    with _node(bare) as container:
        run("docker", "cp", archive, f"{container}:/images.tar", timeout=300)
        fill = "ctr -n k8s.io images import --no-unpack /images.tar && rm /images.tar"
        run("docker", "exec", container, "sh", "-ec", fill, timeout=300)
        run("docker", "exec", container, "sh", "-c", "pkill containerd; sleep 1; rm -rf /run/containerd")
        entry = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
        run("docker", "commit", "--change", entry, "--change", "CMD []", container, f"{image}-filled", timeout=300)
    last = f"FROM {image}-filled\nSTOPSIGNAL SIGRTMIN+3\n"
    run("docker", "build", "-t", image, "-", stdin=last, env=LEGACY_BUILDER)


@contextmanager
def _node(image: str) -> Iterator[str]:
    container = "relayfleet-node-image-build"
    run("docker", "rm", "-f", container)
    run("docker", "run", "-d", "--privileged", "--name", container, "--entrypoint", "sleep", image, "infinity")
    try:
        run("docker", "exec", "-d", container, "containerd")
        deadline = time.monotonic() + 30
        while not succeeds("docker", "exec", container, "ctr", "version"):
            if time.monotonic() > deadline:
                raise TestbedError("containerd did not start in the node image")
            time.sleep(0.3)
        yield container
    finally:
        run("docker", "rm", "-f", container)
