"""The Docker Engine: found running, or installed and started.

An engine that already runs is used as it is. Otherwise, as root on Debian or Ubuntu, `docker.io` is installed and `dockerd`
started, detached from this process, with addresses from the test range.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from . import settings
from .progress import say, step
from .shell import TestbedError, run, succeeds

# debootstrap builds the base image; the rest is what dockerd and the harness use on the host.
PACKAGES = ("docker.io", "debootstrap", "iptables", "nftables")
START_TIMEOUT = 60.0
INOTIFY_INSTANCES = 1024


def running() -> bool:
    return succeeds("docker", "info", timeout=20)


def ensure() -> None:
    if shutil.which("docker") and running():
        return
    _refuse_elsewhere()
    if not shutil.which("dockerd"):
        with step("Docker Engine: install from Debian"):
            install(*PACKAGES)
    with step("Docker Engine: start"):
        _allow_watches()
        _start()
        _wait()


def install(*packages: str) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    log = settings.LOGS / "apt.log"
    run("apt-get", "update", log=log, timeout=300)
    run("apt-get", "install", "-y", "--no-install-recommends", *packages, env=quiet, log=log, timeout=900)


def _refuse_elsewhere() -> None:
    """One clear sentence where the harness cannot help itself."""
    if os.geteuid() == 0 and Path("/etc/debian_version").exists():
        return
    installed = shutil.which("docker") is not None
    raise TestbedError(
        "the Docker Engine does not answer: start it (or add yourself to the `docker` group) and run this again"
        if installed
        else "no Docker Engine was found: install Docker and start it, then run this again "
        "(as root on Debian or Ubuntu this program installs it itself)"
    )


def _start() -> None:
    log = settings.LOGS / "dockerd.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    _forget_dead_engine()
    with log.open("a") as sink:
        subprocess.Popen(
            ["dockerd", "--config-file", str(_write_config())],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


def _allow_watches() -> None:
    """Each node runs some forty programs that watch files; the usual limit of 128 a user is used up by the third node."""
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text()) < INOTIFY_INSTANCES and os.access(limit, os.W_OK):
        limit.write_text(str(INOTIFY_INSTANCES))


def _write_config() -> Path:
    wrapper = settings.CACHE / "engine" / "oci-runtime"
    config = settings.CACHE / "engine" / "daemon.json"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("oci_runtime.py"), wrapper)
    wrapper.chmod(0o755)
    config.write_text(
        json.dumps(
            {
                "bip": settings.ENGINE_BRIDGE,
                "default-address-pools": [{"base": settings.ENGINE_POOL, "size": 24}],
                "default-runtime": "bounded",
                "runtimes": {"bounded": {"path": str(wrapper)}},
                "storage-driver": "overlay2",
                "log-opts": {"max-size": "20m"},
            },
            indent=2,
        )
    )
    return config


def _forget_dead_engine() -> None:
    """Pid files of an engine that died with the machine's last session would keep the next one from starting."""
    for pid_file in (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid")):
        if pid_file.exists() and not Path("/proc", pid_file.read_text().strip()).exists():
            pid_file.unlink()


def _wait() -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not running():
        if time.monotonic() > deadline:
            raise TestbedError(f"dockerd did not come up; its log is {settings.LOGS / 'dockerd.log'}")
        time.sleep(0.5)


def can_pull() -> bool:
    """Whether images can be pulled here; decides between stock images and images built from packages.

    A stock node image that is already present answers the question without asking a registry; so does one built here.
    """
    if succeeds("docker", "image", "inspect", settings.STOCK_NODE_IMAGE):
        return True
    if run("docker", "images", "-q", "relayfleet/node"):
        say("this machine uses images built from packages (none could be pulled)")
        return False
    with step(f"try to pull {settings.STOCK_NODE_IMAGE}"):
        pulled = _pull(settings.STOCK_NODE_IMAGE)
    say("images can be pulled: stock kind and stock images" if pulled else "images cannot be pulled: building them")
    return pulled


def _pull(image: str) -> bool:
    """A registry that is out of reach answers at once or never, so the first seconds decide."""
    if not succeeds("docker", "manifest", "inspect", image, timeout=20):
        return False
    return succeeds("docker", "pull", image, timeout=900)
