"""How many brokers there are to be.

A cluster never shrinks: a broker that is left out takes its copies of mail with it. While the resource lives the API server sees to that; a
new resource that adopts volumes of a larger cluster is held to the number of volumes.
"""

from __future__ import annotations


def brokers_wanted(stated: int, so_far: int | None, volumes: int) -> int:
    """`stated` in the spec, `so_far` by the status (None: the resource is new), `volumes` that are there. An odd number, 3 to 7."""
    least = so_far if so_far is not None else volumes
    return min(7, max(stated, least + (least + 1) % 2))
