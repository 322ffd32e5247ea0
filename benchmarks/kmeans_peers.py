"""Everyone who fits or labels in `benchmarks/kmeans.py`, ours included: each function runs in its case's own process.

Conventions:
    A step is a whole fit, or a labelling of all rows. `score` is the mean squared distance of 20,000 of the rows to the
    centroids found, and "rows not at the nearest" the labels that differ in more than a tie, both in float arithmetic of
    their own, alike for all and after the clock has stopped.
"""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from benchmarks.compare import Scores, Step

MINIBATCH_ROWS = 10_000  # Source: HuBERT's recipe (fairseq, learn_kmeans.py)
FAIRSEQ_ROWS = 1500  # frames of 30 s at 50 Hz: its label loop takes a file at a time


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Rows, and where to start."""

    num_rows: int
    dim: int
    num_clusters: int

    @property
    def title(self) -> str:
        """As the tables name it."""
        return f"{self.dim}-d, k={self.num_clusters}, n={self.num_rows:,}"

    def rows(self) -> Float32[np.ndarray, "frames dim"]:
        """The same rows in every process: 400 overlapping clusters in a 30- or 64-dimensional subspace, and noise."""
        draws = np.random.default_rng(0)
        rank = 30 if self.dim < 64 else 64
        basis = draws.normal(size=(rank, self.dim)) / np.sqrt(rank)
        centres = draws.normal(size=(400, rank)) * 1.5
        inner = centres[draws.integers(len(centres), size=self.num_rows)] + draws.normal(size=(self.num_rows, rank))
        return (inner @ basis + 0.3 * draws.normal(size=(self.num_rows, self.dim))).astype(np.float32)

    def start(self, rows: Float32[np.ndarray, "frames dim"]) -> Float32[np.ndarray, "clusters dim"]:
        """Some of the rows."""
        return rows[np.random.default_rng(1).choice(len(rows), self.num_clusters, replace=False)]


def fit_ours(problem: Problem, num_iterations: int) -> Step:
    """`clustering.lloyd.fit`."""
    from ray_musicssl.clustering.lloyd import fit

    rows = problem.rows()
    return _scored(rows, lambda: fit(rows, problem.start(rows), num_iterations).centroids)


def fit_lloyd(problem: Problem, num_iterations: int) -> Step:
    """scikit-learn's KMeans."""
    rows = problem.rows()
    warnings.simplefilter("ignore")  # it says that it has not converged

    def run() -> Float32[np.ndarray, "clusters dim"]:
        settings = {"n_init": 1, "max_iter": num_iterations, "tol": 0, "algorithm": "lloyd"}
        return (
            sklearn_model("KMeans", problem.num_clusters, init=problem.start(rows), **settings)
            .fit(rows)
            .cluster_centers_
        )

    return _scored(rows, run)


def fit_minibatch(problem: Problem, num_iterations: int) -> Step:
    """scikit-learn's MiniBatchKMeans as HuBERT's recipe sets it, stopped after as many row visits."""
    rows = problem.rows()
    warnings.simplefilter("ignore")

    def run() -> Float32[np.ndarray, "clusters dim"]:
        # One pass more than Lloyd's updates: `fit` judges its centroids in a pass of its own, which this does not.
        settings = {"n_init": 1, "max_iter": num_iterations + 1, "tol": 0.0, "max_no_improvement": None}
        model = sklearn_model(
            "MiniBatchKMeans",
            problem.num_clusters,
            init=problem.start(rows),
            batch_size=MINIBATCH_ROWS,
            compute_labels=False,
            reassignment_ratio=0.0,
            random_state=0,
            **settings,
        )
        return model.fit(rows).cluster_centers_

    return _scored(rows, run)


def fit_faiss(problem: Problem, num_iterations: int) -> Step:
    """Faiss's Kmeans; it judges no centroids after its last update."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    rows = problem.rows()

    def run() -> Float32[np.ndarray, "clusters dim"]:
        model = faiss.Kmeans(
            problem.dim,
            problem.num_clusters,
            niter=num_iterations,
            max_points_per_centroid=len(rows),
            min_points_per_centroid=1,
        )
        model.train(rows, init_centroids=problem.start(rows))
        return model.centroids

    return _scored(rows, run)


def label_ours(problem: Problem) -> Step:
    """`clustering.sums.assign`."""
    from ray_musicssl.clustering.sums import assign, one_blas_thread

    def run(rows: Any, centroids: Any) -> Any:
        with one_blas_thread():
            return assign(rows, centroids)

    return _labelled(problem, run)


def label_sklearn(problem: Problem) -> Step:
    """scikit-learn's `predict`."""
    rows = problem.rows()
    warnings.simplefilter("ignore")
    centroids = _means(problem, rows)
    model = sklearn_model("KMeans", problem.num_clusters, init=centroids, n_init=1, max_iter=1).fit(centroids)
    return _labelled(problem, lambda rows, _: model.predict(rows))


def label_faiss(problem: Problem) -> Step:
    """A flat index of faiss."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)

    def run(rows: Any, centroids: Any) -> Any:
        index = faiss.IndexFlatL2(problem.dim)
        index.add(centroids)
        return index.search(rows, 1)[1][:, 0]

    return _labelled(problem, run)


def label_fairseq(problem: Problem) -> Step:
    """The label loop of HuBERT's recipe, re-stated: |x|^2 - 2 x.c + |c|^2 for a file's frames, and the lowest of each."""
    import torch

    def run(rows: Any, centroids: Any) -> Any:
        columns = torch.from_numpy(centroids).T.contiguous()
        squares = (columns**2).sum(0, keepdim=True)
        found = []
        for first in range(0, len(rows), FAIRSEQ_ROWS):
            x = torch.from_numpy(rows[first : first + FAIRSEQ_ROWS])
            distances = x.pow(2).sum(1, keepdim=True) - 2 * torch.matmul(x, columns) + squares
            found.append(distances.argmin(dim=1).numpy())
        return np.concatenate(found)

    return _labelled(problem, run)


def label_torch(problem: Problem) -> Step:
    """One product and one argmin in chunks, as one would write it in torch."""
    import torch

    def run(rows: Any, centroids: Any) -> Any:
        columns = torch.from_numpy(-2 * centroids.T).contiguous()
        squares = torch.from_numpy((centroids**2).sum(1))
        chunks = torch.from_numpy(rows).split(4096)
        return torch.cat([torch.addmm(squares, x, columns).argmin(dim=1) for x in chunks]).numpy()

    return _labelled(problem, run)


def sklearn_model(name: str, num_clusters: int, **settings: Any) -> Any:
    """An estimator of `sklearn.cluster`."""
    return getattr(importlib.import_module("sklearn.cluster"), name)(num_clusters, **settings)


def _scored(rows: Float32[np.ndarray, "frames dim"], run: Callable[[], Float32[np.ndarray, "clusters dim"]]) -> Step:
    def step() -> Callable[[], Scores]:
        centroids = run()
        sample = rows[:: max(1, len(rows) // 20_000)]
        return lambda: {"score": mean_distance(sample, centroids)}

    return step


def _labelled(problem: Problem, run: Callable[[Any, Any], Any]) -> Step:
    rows = problem.rows()
    centroids = _means(problem, rows)
    exact = _scores(rows, centroids)
    lowest = exact.min(axis=1)

    def step() -> Callable[[], Scores]:
        labels = run(rows, centroids)
        return lambda: {"rows not at the nearest": float((exact[np.arange(len(rows)), labels] > lowest).sum())}

    return step


def _means(problem: Problem, rows: Float32[np.ndarray, "frames dim"]) -> Float32[np.ndarray, "clusters dim"]:
    """Centroids as a codebook has them: after one update."""
    start = problem.start(rows)
    labels: Int64[np.ndarray, " frames"] = _scores(rows, start).argmin(axis=1)
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(problem.num_clusters))
    sums = np.add.reduceat(rows[order], np.minimum(bounds, len(rows) - 1), axis=0, dtype=np.float64)
    counts = np.bincount(labels, minlength=problem.num_clusters)[:, None]
    return np.where(counts > 0, sums / np.maximum(counts, 1), start).astype(np.float32)


def _scores(rows: Any, centroids: Any) -> Any:
    wide = centroids.astype(np.float64)
    return np.vecdot(wide, wide) - 2 * rows.astype(np.float64) @ wide.T


def mean_distance(rows: Float32[np.ndarray, "frames dim"], centroids: Float32[np.ndarray, "clusters dim"]) -> float:
    """Mean squared distance of the rows to their nearest centroids."""
    wide = centroids.astype(np.float32)
    lowest = (np.vecdot(wide, wide) - 2 * rows @ wide.T).min(axis=1)
    return float((lowest + np.vecdot(rows, rows)).mean(dtype=np.float64))
