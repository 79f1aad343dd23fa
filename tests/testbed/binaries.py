"""Programs built from Go modules, once per version: what a machine needs that reaches a module proxy but no image registry.

Each program is built inside a small module of our own that requires the published one. That is what makes Kubernetes
buildable from the proxy at all: its published go.mod asks for its own libraries as `v0.0.0`, and only the main module may
say where those are. The checksum database vouches for what is downloaded.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from . import settings
from .progress import step
from .shell import TestbedError, run

ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"}
BUILD_TIMEOUT = 1800.0


@dataclass(frozen=True)
class Program:
    """One module at one version, and the executables that come out of it."""

    name: str
    module: str
    version: str
    packages: dict[str, str]  # name of the executable → package
    flags: str = "-s -w"
    replaced_by: str = ""  # version that stands for the module's own `v0.0.0` requirements
    source: dict[str, str] = field(default_factory=dict)  # extra files of our module
    change: tuple[tuple[str, str, str], ...] = ()  # in the published sources: file, pattern, replacement
    added: dict[str, str] = field(default_factory=dict)  # files put among the published sources

    @property
    def folder(self) -> Path:
        return settings.CACHE / "binaries" / f"{self.name}-{self.version}"

    def path(self, executable: str) -> Path:
        return self.folder / executable

    @property
    def built(self) -> bool:
        return all(self.path(executable).exists() for executable in self.packages)


def _version_flags(version: str) -> str:
    """kubeadm and kubelet compare their versions, so the linker has to be told them."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {package}.{k}={v}" for package in packages for k, v in values.items())])


_CONTAINERD = "github.com/containerd/containerd/v2"
_COREDNS = "github.com/coredns/coredns"
_LOCAL_PATH = "github.com/rancher/local-path-provisioner"
_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_KUBERNETES = ("kubeadm", "kubelet", *_CONTROL_PLANE, "kubectl")
_ETCD_MAIN = """package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"""

_PAUSE_MAIN = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

// The first process of a pod: it holds the pod's namespaces until it is told to end.
func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
"""

TOOLS = Program("kind", "sigs.k8s.io/kind", settings.KIND, {"kind": "sigs.k8s.io/kind"})
KUBERNETES = Program(
    "kubernetes",
    "k8s.io/kubernetes",
    settings.KUBERNETES,
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES},
    flags=_version_flags(settings.KUBERNETES),
    replaced_by=settings.KUBERNETES_STAGING,
)
CONTAINERD = Program(
    "containerd",
    _CONTAINERD,
    settings.CONTAINERD,
    {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
)
ETCD = Program("etcd", "go.etcd.io/etcd/server/v3", settings.ETCD, {"etcd": "."}, source={"main.go": _ETCD_MAIN})
COREDNS = Program("coredns", _COREDNS, settings.COREDNS, {"coredns": _COREDNS})
LOCAL_PATH = Program(
    "local-path-provisioner", _LOCAL_PATH, settings.LOCAL_PATH, {"local-path-provisioner": _LOCAL_PATH}
)
PAUSE = Program("pause", "", "v1", {"pause": "."}, source={"main.go": _PAUSE_MAIN})

NODE_PROGRAMS = (KUBERNETES, CONTAINERD, ETCD, LOCAL_PATH, COREDNS, PAUSE)


def build(program: Program) -> None:
    """Builds what is missing of a program. A file appears under its name only when it is complete."""
    if program.built:
        return
    if not shutil.which("go"):
        raise TestbedError("Go 1.26 or newer is not installed; where no image can be pulled, Kubernetes is built")
    program.folder.mkdir(parents=True, exist_ok=True)
    module = _own_module(program)
    for executable, package in program.packages.items():
        if not program.path(executable).exists():
            with step(f"build {executable} {program.version}"):
                _build_one(module, program, executable, package)


def _build_one(module: Path, program: Program, executable: str, package: str) -> None:
    partial = program.path(f"{executable}.partial")
    run(
        "go", "build", "-p", _jobs(), "-trimpath", "-ldflags", program.flags, "-o", partial, package,
        cwd=module, env=ENVIRONMENT, timeout=BUILD_TIMEOUT, log=settings.LOGS / "go.log",
    )  # fmt: skip
    partial.rename(program.path(executable))


def _jobs() -> str:
    return str(max(os.cpu_count() or 1, 2))


def sources(program: Program) -> Path:
    """Where the Go tool keeps the module's files."""
    answer = run("go", "mod", "download", "-json", f"{program.module}@{program.version}", env=ENVIRONMENT, timeout=300)
    return Path(json.loads(answer)["Dir"])


def _own_module(program: Program) -> Path:
    folder = settings.CACHE / "src" / f"{program.name}-{program.version}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    published = (sources(program) / "go.mod").read_text() if program.replaced_by else ""
    text = go_mod(program, published)
    if program.change or program.added:
        _changed_copy(program, folder / "changed")
        text += f"\nreplace {program.module} => ./changed\n"
    (folder / "go.mod").write_text(text)
    for name, text in program.source.items():
        (folder / name).write_text(text)
    return folder


def _changed_copy(program: Program, folder: Path) -> None:
    shutil.copytree(sources(program), folder)
    run("chmod", "-R", "u+w", folder)  # the module cache is read-only
    for name, pattern, replacement in program.change:
        text, count = re.subn(pattern, replacement, (folder / name).read_text())
        if not count:
            raise TestbedError(f"{program.module} {program.version}: {name} has nothing like {pattern}")
        (folder / name).write_text(text)
    for name, text in program.added.items():
        (folder / name).write_text(text)


def go_mod(program: Program, published: str) -> str:
    """go.mod of our own module; `published` is the program's, read for its requirements that only we can place."""
    lines = [f"module testbed/{program.name}", "", "go 1.26.0", ""]
    if program.module:
        lines += [f"require {program.module} {program.version}", ""]
    words = (line.split() for line in published.splitlines())
    unplaced = {word[0] for word in words if len(word) >= 2 and word[1] == "v0.0.0"}
    lines += [f"replace {name} => {name} {program.replaced_by}" for name in sorted(unplaced)]
    return "\n".join(lines) + "\n"
