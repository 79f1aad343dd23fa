"""The way from a bare machine to two regions, each step only if it is needed.

Steps that wait for different things (compilers for the processor, apt for the network) run side by side.
"""

import fcntl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from . import baseimage, clusters, engine, images, loading, network, nodeimage, policies, settings, tools
from .progress import say, step
from .settings import REGIONS, Region
from .shell import run, succeeds


def up() -> None:
    with alone():
        engine.ensure()
        pull = engine.can_pull()
        clusters.ensure_network()
        references = together(lambda: _regions(pull), lambda: _images(pull))
        loading.load([*references, settings.BASE_IMAGE])
    clusters.describe()


def _regions(pull: bool) -> list[str]:
    tools.ensure()
    todo = [region for region in REGIONS.values() if not clusters.healthy(region)]
    if todo:
        image = settings.STOCK_NODE_IMAGE if pull else nodeimage.ensure()
        together(*(_creation(region, image, pull) for region in todo))
    for region in REGIONS.values():
        clusters.settle_kube_proxy(region)
        policies.ensure(region)
    return []


def _creation(region: Region, image: str, stock: bool) -> Callable[[], list[str]]:
    def make() -> list[str]:
        with step(f"cluster {region.cluster}"):
            clusters.create(region, image, stock)
            network.lay(region)
            clusters.wait_ready(region)
        return []

    return make


def _images(pull: bool) -> list[str]:
    baseimage.ensure(pull)
    return list(images.build_all().values())


def refresh_images() -> dict[str, str]:
    """For a running test bed: what changed in the checkout gets into the clusters."""
    with alone():
        references = images.build_all()
        loading.load(references.values(), [region for region in REGIONS.values() if clusters.healthy(region)])
    return references


def down() -> None:
    with alone():
        for region in REGIONS.values():
            with step(f"delete cluster {region.cluster}"):
                clusters.delete(region)
        if succeeds("docker", "network", "inspect", settings.NETWORK):
            run("docker", "network", "rm", settings.NETWORK)


def together(*jobs: Callable[[], list[str]]) -> list[str]:
    """All results; the first failure is raised when all have ended, so that no half-made thing goes on behind it."""
    with ThreadPoolExecutor(max_workers=max(len(jobs), 1)) as pool:
        futures = [pool.submit(job) for job in jobs]
    return [result for future in futures for result in future.result()]


@contextmanager
def alone() -> Iterator[None]:
    """Two runs at once (a test session and a person) would build and create the same things; the second one waits."""
    settings.CACHE.mkdir(parents=True, exist_ok=True)
    with (settings.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run of the test bed is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
