"""What one block of frames says about a set of centroids: assignments, sums, and its worst-served frames.

Conventions:
    Frames and centroids are float32 and finite; scores are float32 (`nearest.py`), sums float64.
    Distances are squared Euclidean. Of equally near centroids the lowest index wins.
    Callers hold `one_blas_thread()`, so that a product's bits do not depend on the machine's thread count.
    `device` is "cpu", or a device of torch ("cuda", "cuda:1"): there the same, in other bits (`on_device.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from scipy.sparse import csc_array

from ray_musicssl.clustering.prepared import prepared
from ray_musicssl.clustering.threads import one_blas_thread

__all__ = [
    "ClusterSums",
    "Farthest",
    "assign",
    "farthest",
    "one_blas_thread",
    "partial_sums",
    "summed_rows",
    "sums_of_slabs",
]

SLAB_ROWS = 4096  # labelled and summed together: few enough to stay in cache while they are
SLAB_VALUES = 1 << 22  # float64 values (32 MB) that are summed at once, at most


@dataclass(frozen=True, kw_only=True)
class ClusterSums:
    """What a block of frames adds to a Lloyd iteration."""

    sums: Float64[np.ndarray, "clusters dim"]
    counts: Int64[np.ndarray, " clusters"]
    inertia: float  # sum of squared distances to the nearest centroid, not divided by the number of frames

    def __add__(self, other: "ClusterSums") -> "ClusterSums":
        return ClusterSums(
            sums=self.sums + other.sums,
            counts=self.counts + other.counts,
            inertia=self.inertia + other.inertia,
        )


@dataclass(frozen=True, kw_only=True)
class Farthest:
    """The frames farthest from their centroids, farthest first; of equally far ones the first block and row."""

    distances: Float32[np.ndarray, " candidates"]
    blocks: Int64[np.ndarray, " candidates"]
    rows: Int64[np.ndarray, " candidates"]  # inside their block
    labels: Int32[np.ndarray, " candidates"]
    frames: Float32[np.ndarray, "candidates dim"]

    def __len__(self) -> int:
        return len(self.distances)

    def merged(self, other: "Farthest", count: int) -> "Farthest":
        """The `count` farthest of both."""
        distances, blocks, rows, labels, frames = (
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("distances", "blocks", "rows", "labels", "frames")
        )
        # lexsort sorts by its last key first: a total order, so that the result does not depend on who merged what when.
        order = np.lexsort((rows, blocks, -distances))[:count]
        return Farthest(
            distances=distances[order],
            blocks=blocks[order],
            rows=rows[order],
            labels=labels[order],
            frames=frames[order],
        )


def assign(
    frames: Float32[np.ndarray, "frames dim"],
    centroids: Float32[np.ndarray, "clusters dim"],
    *,
    device: str = "cpu",
) -> Int32[np.ndarray, " frames"]:
    """The index of each frame's nearest centroid.

    Raises:
        ConfigError: if there is no such device.
    """
    if device != "cpu":
        from ray_musicssl.clustering import on_device  # noqa: PLC0415  (loads torch, as below)

        return on_device.assign(frames, centroids, device)
    from ray_musicssl.clustering.nearest import NearestCentroids  # noqa: PLC0415

    return prepared(centroids, device, NearestCentroids).labels(frames).astype(np.int32)


def partial_sums(
    frames: Float32[np.ndarray, "frames dim"],
    centroids: Float32[np.ndarray, "clusters dim"],
    *,
    device: str = "cpu",
) -> ClusterSums:
    """Each cluster's frames, counted and summed, and how far they are from it.

    Raises:
        ConfigError: if there is no such device.
    """
    return sums_of_slabs([frames], centroids, device=device)


def sums_of_slabs(
    slabs: Iterable[Float32[np.ndarray, "frames dim"]],
    centroids: Float32[np.ndarray, "clusters dim"],
    *,
    device: str = "cpu",
) -> ClusterSums:
    """What `partial_sums` gives of slabs of frames, added in their order; at least one slab.

    Raises:
        ConfigError: if there is no such device.
    """
    if device == "cpu":
        return reduce(ClusterSums.__add__, (_sums_on_cpu(slab, centroids) for slab in slabs))
    from ray_musicssl.clustering import on_device  # noqa: PLC0415  (loads torch, as below)

    found = on_device.sums_of_slabs(slabs, centroids, device)
    return _with_inertia(found.sums, found.counts, found.squares, centroids)


def _sums_on_cpu(
    frames: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"]
) -> ClusterSums:
    from ray_musicssl.clustering.nearest import NearestCentroids  # noqa: PLC0415

    num_clusters, dim = centroids.shape
    nearest = prepared(centroids, "cpu", NearestCentroids)
    sums = np.zeros(centroids.shape, np.float64)
    counts = np.zeros(num_clusters, np.int64)
    squares = 0.0
    for start in range(0, len(frames), summed_rows(dim)):
        rows = frames[start : start + summed_rows(dim)]
        labels = nearest.labels(rows)
        wide = rows.astype(np.float64)
        # Column i of the membership matrix has its one at frame i's cluster: the product adds the frames in their order.
        # Three times faster than sorting by cluster and `np.add.reduceat`, and far from `np.add.at`.
        ones, columns = np.ones(len(rows)), np.arange(len(rows) + 1)
        sums += csc_array((ones, labels, columns), shape=(num_clusters, len(rows))) @ wide
        counts += np.bincount(labels, minlength=num_clusters)
        squares += float(np.vdot(wide, wide))
    return _with_inertia(sums, counts, squares, centroids)


def farthest(
    frames: Float32[np.ndarray, "frames dim"],
    centroids: Float32[np.ndarray, "clusters dim"],
    count: int,
    *,
    block: int = 0,
    device: str = "cpu",
) -> Farthest:
    """The `count` frames of block number `block` that are farthest from their nearest centroids (or all, if fewer).

    Raises:
        ConfigError: if there is no such device.
    """
    labels = assign(frames, centroids, device=device)
    distances = np.empty(len(frames), np.float32)
    for start in range(0, len(frames), summed_rows(centroids.shape[1])):
        slab = slice(start, start + summed_rows(centroids.shape[1]))
        away = frames[slab] - centroids[labels[slab]]
        np.vecdot(away, away, out=distances[slab])
    few = np.argsort(-distances, kind="stable")[:count]
    return Farthest(
        distances=distances[few],
        blocks=np.full(len(few), block, np.int64),
        rows=few.astype(np.int64),
        labels=labels[few],
        frames=frames[few],
    )


def summed_rows(dim: int) -> int:
    """Rows of one slab: those that are labelled and summed together."""
    return max(1, min(SLAB_ROWS, SLAB_VALUES // dim))


def _with_inertia(
    sums: Float64[np.ndarray, "clusters dim"],
    counts: Int64[np.ndarray, " clusters"],
    squares: float,
    centroids: Float32[np.ndarray, "clusters dim"],
) -> ClusterSums:
    """Sum |x - c|^2 over the frames of each c as sum |x|^2 - 2 c . sum x + n |c|^2: no distance is ever computed."""
    wide = centroids.astype(np.float64)
    inertia = squares + float(np.vdot(counts, np.vecdot(wide, wide))) - 2 * float(np.vdot(sums, wide))
    # Rounding can push the sum of frames that are centroids below zero.
    return ClusterSums(sums=sums, counts=counts, inertia=max(inertia, 0.0))
