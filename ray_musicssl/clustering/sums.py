"""What one block of frames says about a set of centroids: assignments, sums, and its worst-served frames.

Conventions:
    Frames and centroids are float32; products are float32, in chunks that stay in cache; sums are float64.
    Distances are squared Euclidean. Of equally near centroids the lowest index wins.
    Both sides are shifted by the centroids' mean before the products: distances stay, rounding errors shrink.
    Callers hold `one_blas_thread()`, so that a product's bits do not depend on the machine's thread count.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from scipy.sparse import csc_array
from threadpoolctl import ThreadpoolController

CHUNK_ROWS = 512  # rows of one product; larger ones leave the cache and are twice as slow
SLAB_VALUES = 1 << 22  # float64 values (32 MB) that are summed at once


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


@dataclass(frozen=True, kw_only=True)
class _Nearest:
    """A slab's rows, each with its centroid and its distance to it."""

    start: int
    rows: Float32[np.ndarray, "frames dim"]
    labels: Int64[np.ndarray, " frames"]
    distances: Float32[np.ndarray, " frames"]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looking the libraries up takes milliseconds: once a process


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run matrix products on one thread while the block runs."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def assign(
    frames: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"]
) -> Int32[np.ndarray, " frames"]:
    """The index of each frame's nearest centroid."""
    labels = [slab.labels for slab in _nearest(frames, centroids)]
    return np.concatenate(labels).astype(np.int32) if labels else np.empty(0, np.int32)


def partial_sums(
    frames: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"]
) -> ClusterSums:
    """Each cluster's frames, counted and summed, and how far they are from it."""
    num_clusters = len(centroids)
    sums = np.zeros(centroids.shape, np.float64)
    counts = np.zeros(num_clusters, np.int64)
    inertia = 0.0
    for slab in _nearest(frames, centroids):
        # Column i of the membership matrix has its one at frame i's cluster: the product adds the frames in their order.
        # Four times faster than sorting by cluster and `np.add.reduceat`, and far from `np.add.at`.
        ones, columns = np.ones(len(slab.rows)), np.arange(len(slab.rows) + 1)
        membership = csc_array((ones, slab.labels, columns), shape=(num_clusters, len(slab.rows)))
        sums += membership @ slab.rows.astype(np.float64)
        counts += np.bincount(slab.labels, minlength=num_clusters)
        inertia += float(slab.distances.sum(dtype=np.float64))
    return ClusterSums(sums=sums, counts=counts, inertia=inertia)


def farthest(
    frames: Float32[np.ndarray, "frames dim"],
    centroids: Float32[np.ndarray, "clusters dim"],
    count: int,
    *,
    block: int = 0,
) -> Farthest:
    """The `count` frames of block number `block` that are farthest from their nearest centroids (or all, if fewer)."""
    found = Farthest(
        distances=np.empty(0, np.float32),
        blocks=np.empty(0, np.int64),
        rows=np.empty(0, np.int64),
        labels=np.empty(0, np.int32),
        frames=np.empty((0, centroids.shape[1]), np.float32),
    )
    for slab in _nearest(frames, centroids):
        few = np.argsort(-slab.distances, kind="stable")[:count]
        best = Farthest(
            distances=slab.distances[few],
            blocks=np.full(len(few), block, np.int64),
            rows=few.astype(np.int64) + slab.start,
            labels=slab.labels[few].astype(np.int32),
            frames=slab.rows[few],
        )
        found = found.merged(best, count)
    return found


def _nearest(
    frames: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"]
) -> Iterator[_Nearest]:
    num_clusters, dim = centroids.shape
    shift = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
    shifted = centroids - shift
    # |x - c|^2 = |x|^2 + (|c|^2 - 2 x.c): with a column of ones beside x, one product gives all that depends on c.
    weights = np.empty((dim + 1, num_clusters), np.float32)
    weights[:dim] = -2 * shifted.T
    weights[dim] = np.einsum("kd,kd->k", shifted, shifted, dtype=np.float64)
    rows_with_one = np.ones((CHUNK_ROWS, dim + 1), np.float32)
    scores = np.empty((CHUNK_ROWS, num_clusters), np.float32)
    slab_rows = max(1, SLAB_VALUES // (dim * CHUNK_ROWS)) * CHUNK_ROWS
    for start in range(0, len(frames), slab_rows):
        rows = frames[start : start + slab_rows]
        labels = np.empty(len(rows), np.int64)
        distances = np.empty(len(rows), np.float32)
        for first in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[first : first + CHUNK_ROWS]
            x, score = rows_with_one[: len(chunk)], scores[: len(chunk)]
            np.subtract(chunk, shift, out=x[:, :dim])
            np.matmul(x, weights, out=score)
            best = score.argmin(axis=1)
            labels[first : first + CHUNK_ROWS] = best
            nearest = score[np.arange(len(chunk)), best]
            # Rounding can push the distance of a frame that is a centroid below zero.
            np.maximum(
                nearest + np.einsum("nd,nd->n", x[:, :dim], x[:, :dim]), 0, out=distances[first : first + CHUNK_ROWS]
            )
        yield _Nearest(start=start, rows=rows, labels=labels, distances=distances)
