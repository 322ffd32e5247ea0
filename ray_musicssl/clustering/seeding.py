"""Where k-means starts: k-means++ on a sample of frames that depends on the seed alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from ray_musicssl.clustering.sums import one_blas_thread
from ray_musicssl.errors import DataError

# Source: fairseq's recipe draws its seeds from 30,000 frames (three batches of 10,000).
SEED_FRAMES = 30_000
FRAMES_PER_CLUSTER = 4  # at least, so that a large codebook still has a choice


def seed_rows(num_frames: int, num_clusters: int, seed: int) -> Int64[np.ndarray, " rows"]:
    """Which of `num_frames` frames the seeds are chosen from, ascending.

    Raises:
        DataError: if there are fewer frames than clusters.
    """
    if num_frames < num_clusters:
        raise DataError(
            f"{num_frames} frames cannot fill {num_clusters} clusters; "
            f"give more audio or lower clustering.num_clusters to at most {num_frames}"
        )
    wanted = max(SEED_FRAMES, FRAMES_PER_CLUSTER * num_clusters)
    if num_frames <= wanted:
        return np.arange(num_frames)
    return np.sort(np.random.default_rng(seed).choice(num_frames, wanted, replace=False))


class _Telling(np.random.RandomState):
    """A generator that says when numbers are drawn from it."""

    def __init__(self, seed: int, on_draw: Callable[[], None]) -> None:
        super().__init__(seed)
        self._on_draw = on_draw

    def uniform(self, *args: Any, **kwargs: Any) -> Any:
        """As its base does; scikit-learn calls it once for every seed but the first."""
        self._on_draw()
        return super().uniform(*args, **kwargs)


def _say_nothing() -> None:
    """Nobody watches."""


def kmeans_plus_plus(
    frames: Float32[np.ndarray, "frames dim"],
    num_clusters: int,
    seed: int,
    *,
    on_seed: Callable[[], None] = _say_nothing,
) -> Float32[np.ndarray, "clusters dim"]:
    """Frames that are far from one another, by greedy k-means++ as in scikit-learn.

    The same bits for any number of cores: products run on one thread. `on_seed` is called before each seed but the first.
    """
    from sklearn.cluster import kmeans_plusplus  # noqa: PLC0415  (a second of imports that labelling does not need)

    with one_blas_thread():
        centroids, _ = kmeans_plusplus(frames, num_clusters, random_state=_Telling(seed % 2**32, on_seed))
    return np.ascontiguousarray(centroids, np.float32)
