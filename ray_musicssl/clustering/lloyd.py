"""Lloyd's k-means: the loop, and the step from sums to centroids. Who computes the sums is not decided here.

Conventions:
    An update is a function of the frames and the centroids before it; nothing is random and nothing is carried along.
    `history[i]` is the inertia after i updates, so `history[0]` belongs to the initial centroids.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64

from ray_musicssl.clustering.sums import (
    ClusterSums,
    Farthest,
    assign,
    farthest,
    one_blas_thread,
    partial_sums,
)
from ray_musicssl.errors import DataError

__all__ = [
    "ArrayPasses",
    "LloydResult",
    "LloydState",
    "Passes",
    "assign",
    "fit",
    "iterate",
    "next_centroids",
    "partial_sums",
    "refilled",
    "settled",
]

MOST_REFILLS = 3  # a cluster whose only frame was far may be emptied by a refill; that ends soon


@dataclass(frozen=True, kw_only=True)
class LloydState:
    """Where the loop is: after `num_updates` updates, before the pass over the frames that judges them."""

    centroids: Float32[np.ndarray, "clusters dim"]
    history: tuple[float, ...] = ()

    @property
    def num_updates(self) -> int:
        """Updates made so far; each but the first state was preceded by one judged pass."""
        return len(self.history)


@dataclass(frozen=True, kw_only=True)
class LloydResult:
    """A fit, and how it got there."""

    centroids: Float32[np.ndarray, "clusters dim"]
    inertia: float  # sum of squared distances of the frames to these centroids
    counts: Int64[np.ndarray, " clusters"]  # frames of each cluster
    history: tuple[float, ...]

    @property
    def num_updates(self) -> int:
        """Updates that led from the initial centroids to these."""
        return len(self.history) - 1


@runtime_checkable
class Passes(Protocol):
    """Passes over all frames, wherever they are."""

    def sums(self, centroids: Float32[np.ndarray, "clusters dim"]) -> ClusterSums:
        """What all frames add up to."""
        ...

    def farthest(self, centroids: Float32[np.ndarray, "clusters dim"], count: int) -> Farthest:
        """The `count` frames farthest from their centroids."""
        ...


@dataclass(frozen=True)
class ArrayPasses:
    """Passes over frames in memory."""

    frames: Float32[np.ndarray, "frames dim"]

    def sums(self, centroids: Float32[np.ndarray, "clusters dim"]) -> ClusterSums:
        """What all frames add up to."""
        return partial_sums(self.frames, centroids)

    def farthest(self, centroids: Float32[np.ndarray, "clusters dim"], count: int) -> Farthest:
        """The `count` frames farthest from their centroids."""
        return farthest(self.frames, centroids, count)


def fit(
    frames: Float[np.ndarray, "frames dim"],
    initial_centroids: Float[np.ndarray, "clusters dim"],
    num_iterations: int,
    tolerance: float = 0.0,
) -> LloydResult:
    """K-means of frames in memory, from given centroids.

    Args:
        frames: one row a frame; converted to float32.
        initial_centroids: where to start; converted to float32.
        num_iterations: most updates; exactly so many with `tolerance` 0.
        tolerance: stop when an update lowers the inertia by less than this fraction.

    Raises:
        ValueError: if `num_iterations` is below 1.
        DataError: if the shapes do not fit, a value is not finite, or there are fewer frames than clusters.

    Source: agrees with scikit-learn's KMeans(algorithm="lloyd", n_init=1) from the same start.
    """
    if num_iterations < 1:
        raise ValueError(f"num_iterations is {num_iterations}; at least one update is needed")
    rows = np.ascontiguousarray(frames, np.float32)
    start = np.ascontiguousarray(initial_centroids, np.float32)
    _check(rows, start)
    with one_blas_thread():
        return iterate(
            ArrayPasses(rows), LloydState(centroids=start), num_iterations=num_iterations, tolerance=tolerance
        )


def iterate(
    passes: Passes,
    state: LloydState,
    *,
    num_iterations: int,
    tolerance: float,
    on_update: Callable[[LloydState], None] = lambda _: None,
) -> LloydResult:
    """Update the centroids until `num_iterations` updates are made or the inertia no longer falls.

    Args:
        passes: gives the sums over all frames.
        state: where to begin; a saved one goes on exactly where it was.
        num_iterations: most updates, those before `state` included.
        tolerance: smallest relative fall of the inertia that counts as progress; 0 makes every update.
        on_update: called with each new state.
    """
    while True:
        sums = passes.sums(state.centroids)
        history = (*state.history, sums.inertia)
        if state.num_updates >= num_iterations or _has_converged(history, tolerance):
            return LloydResult(centroids=state.centroids, inertia=sums.inertia, counts=sums.counts, history=history)
        num_empty = int((sums.counts == 0).sum())
        spare = passes.farthest(state.centroids, num_empty) if num_empty else None
        state = LloydState(centroids=next_centroids(sums, state.centroids, spare), history=history)
        on_update(state)


def settled(passes: Passes, centroids: Float32[np.ndarray, "clusters dim"], history: tuple[float, ...]) -> LloydResult:
    """Judge centroids by a pass over all frames; empty clusters move onto far frames first, the others stay.

    Args:
        passes: gives the sums over all frames.
        centroids: where they ended.
        history: the inertia so far; the final one is appended.
    """
    sums = passes.sums(centroids)
    for _ in range(MOST_REFILLS):
        num_empty = int((sums.counts == 0).sum())
        moved = refilled(centroids, sums.counts, passes.farthest(centroids, num_empty)) if num_empty else centroids
        if np.array_equal(moved, centroids):
            break
        centroids, sums = moved, passes.sums(moved)
    return LloydResult(centroids=centroids, inertia=sums.inertia, counts=sums.counts, history=(*history, sums.inertia))


def next_centroids(
    sums: ClusterSums, previous: Float32[np.ndarray, "clusters dim"], spare: Farthest | None = None
) -> Float32[np.ndarray, "clusters dim"]:
    """The mean of each cluster's frames.

    An empty cluster, in ascending order, takes the farthest frame of `spare` that is left, which leaves its old cluster;
    with none left that differs from its centroid, the cluster stays where it was.

    Source: scikit-learn's KMeans, which moves empty clusters the same way.
    """
    totals, counts = sums.sums.copy(), sums.counts.copy()
    empty = np.flatnonzero(counts == 0)
    for index, cluster in enumerate(empty):
        if spare is None or index >= len(spare) or spare.distances[index] <= 0:
            break
        frame = spare.frames[index].astype(np.float64)
        totals[spare.labels[index]] -= frame
        counts[spare.labels[index]] -= 1
        totals[cluster], counts[cluster] = frame, 1
    filled = counts > 0
    centroids = previous.copy()
    centroids[filled] = totals[filled] / counts[filled, None]
    return centroids


def refilled(
    centroids: Float32[np.ndarray, "clusters dim"], counts: Int64[np.ndarray, " clusters"], spare: Farthest
) -> Float32[np.ndarray, "clusters dim"]:
    """The centroids with each empty one, in ascending order, moved onto the farthest frame of `spare` that is left.

    All others stay; with no frame left that differs from its centroid, so does an empty one.
    """
    moved = centroids.copy()
    usable = int((spare.distances > 0).sum())  # farthest first
    empty = np.flatnonzero(counts == 0)[:usable]
    moved[empty] = spare.frames[: len(empty)]
    return moved


def _has_converged(history: tuple[float, ...], tolerance: float) -> bool:
    return tolerance > 0 and len(history) > 1 and history[-2] - history[-1] <= tolerance * history[-2]


def _check(frames: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"]) -> None:
    if frames.ndim != 2 or centroids.ndim != 2 or frames.shape[1] != centroids.shape[1]:
        raise DataError(
            f"frames have shape {frames.shape} and centroids {centroids.shape}; both must be matrices of equal width"
        )
    if len(frames) < len(centroids):
        raise DataError(
            f"{len(frames)} frames cannot fill {len(centroids)} clusters; give more frames or fewer clusters"
        )
    for name, array in (("frames", frames), ("centroids", centroids)):
        if not np.isfinite(array).all():
            raise DataError(f"{name} hold NaN or infinity in row {int(np.argwhere(~np.isfinite(array))[0, 0])}")
