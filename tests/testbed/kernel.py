"""What the running kernel was built with."""

import gzip
from pathlib import Path


def kernel_option(name: str) -> bool | None:
    """Whether the kernel was built with an option (as a module counts); None when the kernel does not tell."""
    try:
        config = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        return None
    return f"CONFIG_{name}=y" in config or f"CONFIG_{name}=m" in config
