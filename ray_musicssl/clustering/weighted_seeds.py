"""k-means++ over weighted candidates, in time that a codebook of 100,000 clusters can wait for.

Conventions:
    Seeds are drawn as k-means++ draws them: one after another, each with probability weight x squared distance to the
    nearest seed before it. To spare a pass over all candidates for every seed, a batch of them is proposed from distances
    that may be out of date, and a proposal is taken with probability (distance now) / (distance it was proposed with): the
    seeds that are taken have the same distribution. Then one matrix product brings all distances up to date.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from ray_musicssl.clustering.sums import assign, one_blas_thread, summed_rows
from ray_musicssl.randomness import generator

MOST_PROPOSALS = 1024  # a batch
SEEDS_PER_PROPOSAL = 4  # proposals are a quarter of the seeds so far, at most: more of them would be refused


def _say_nothing(_: int) -> None:
    """Nobody watches."""


def weighted_kmeans_plus_plus(
    candidates: Float32[np.ndarray, "candidates dim"],
    weights: Int64[np.ndarray, " candidates"],
    num_clusters: int,
    seed: int,
    *,
    on_seeds: Callable[[int], None] = _say_nothing,
) -> Float32[np.ndarray, "clusters dim"]:
    """Choose `num_clusters` of the candidates, or all of them if there are no more.

    Where all that is left has no weight or lies on a seed, the first ones left are taken.

    Args:
        candidates: frames to choose from.
        weights: how many frames each stands for.
        num_clusters: seeds wanted.
        seed: seed of the draws.
        on_seeds: told how many seeds each batch gave.

    Source: Arthur and Vassilvitskii 2007 (the distribution); the batches are rejection sampling.
    """
    is_left = np.ones(len(candidates), bool)
    # Before the first seed all distances are equal.
    mass = weights.astype(np.float64)
    distances = np.full(len(candidates), np.inf)
    chosen: list[Int64[np.ndarray, " seeds"]] = []
    num_chosen = 0
    draws = generator(seed, "weighted k-means++")
    with one_blas_thread():
        while num_chosen < min(num_clusters, len(candidates)):
            most = num_clusters - num_chosen
            taken = _batch(candidates, mass, distances, draws, num_chosen)[:most]
            if not len(taken):
                taken = np.flatnonzero(is_left)[:most]
            chosen.append(taken)
            num_chosen += len(taken)
            is_left[taken] = False
            distances = _brought_up_to_date(candidates, distances, taken, is_left)
            mass = weights * distances
            on_seeds(len(taken))
    return candidates[np.concatenate(chosen)]


def _batch(
    candidates: Float32[np.ndarray, "candidates dim"],
    mass: Float64[np.ndarray, " candidates"],
    distances: Float64[np.ndarray, " candidates"],
    draws: np.random.Generator,
    num_chosen: int,
) -> Int64[np.ndarray, " seeds"]:
    """The seeds that one batch of proposals gives; none if nothing has mass."""
    ends = np.cumsum(mass)
    if not ends[-1] > 0:
        return np.empty(0, np.int64)
    num_proposals = min(MOST_PROPOSALS, max(1, num_chosen // SEEDS_PER_PROPOSAL))
    proposed = np.searchsorted(ends, draws.random(num_proposals) * ends[-1], side="right")
    luck = draws.random(num_proposals)
    rows = candidates[proposed].astype(np.float64)
    return proposed[_accepted(rows, distances[proposed], luck)]


def _accepted(
    rows: Float64[np.ndarray, "proposals dim"],
    proposed_with: Float64[np.ndarray, " proposals"],
    luck: Float64[np.ndarray, " proposals"],
) -> Bool[np.ndarray, " proposals"]:
    """Go through the proposals in order and take each with the probability that it still deserves."""
    squares = np.einsum("nd,nd->n", rows, rows)
    between = np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0)  # [proposals, proposals]
    now = proposed_with.copy()
    taken = np.zeros(len(rows), bool)
    for index in range(len(rows)):
        # Before the very first seed the distance is infinite and the proposal stands.
        if np.isinf(proposed_with[index]) or luck[index] * proposed_with[index] < now[index]:
            taken[index] = True
            np.minimum(now, between[index], out=now)
            now[index] = 0
    return taken


def _brought_up_to_date(
    candidates: Float32[np.ndarray, "candidates dim"],
    distances: Float64[np.ndarray, " candidates"],
    taken: Int64[np.ndarray, " seeds"],
    is_left: Bool[np.ndarray, " candidates"],
) -> Float64[np.ndarray, " candidates"]:
    seeds = candidates[taken]
    found = np.empty(len(candidates), np.float64)
    step = summed_rows(candidates.shape[1])  # these may fill gigabytes: never a second copy of them all
    for start in range(0, len(candidates), step):
        slab = candidates[start : start + step]
        difference = slab - seeds[assign(slab, seeds)]
        found[start : start + step] = np.einsum("nd,nd->n", difference, difference)
    return np.where(is_left, np.minimum(distances, found), 0.0)
