import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus

from ray_musicssl.clustering.weighted_seeds import weighted_kmeans_plus_plus


def mixture(num_candidates=800, num_centres=60, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_centres, 5)) * 4
    return (centres[rng.integers(num_centres, size=num_candidates)] + rng.normal(size=(num_candidates, 5))).astype("f4")


def potential(candidates, weights, seeds):
    distances = ((candidates[:, None].astype(float) - seeds[None]) ** 2).sum(-1)
    return float((weights * distances.min(axis=1)).sum())


def test_seeds_are_as_good_as_those_of_k_means_plus_plus_drawn_one_by_one():
    candidates, weights = mixture(), np.random.default_rng(1).integers(1, 50, 800)
    ours = [potential(candidates, weights, weighted_kmeans_plus_plus(candidates, weights, 120, s)) for s in range(16)]
    theirs = [
        potential(
            candidates,
            weights,
            kmeans_plusplus(candidates, 120, sample_weight=weights, random_state=s, n_local_trials=1)[0],
        )
        for s in range(16)
    ]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)


def test_the_second_seed_has_its_probability():
    candidates = np.array([[0.0], [1.0], [3.0]], np.float32)
    weights = np.array([2, 1, 1])
    pairs = np.zeros((3, 3))
    for seed in range(2000):
        first, second = weighted_kmeans_plus_plus(candidates, weights, 2, seed)[:, 0]
        pairs[np.searchsorted([0, 1, 3], first), np.searchsorted([0, 1, 3], second)] += 1
    masses = weights * (candidates - candidates.T) ** 2  # [first, second]
    expected = weights[:, None] / 4 * masses / masses.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(pairs / 2000, expected, atol=0.035)


def test_seeds_are_distinct_candidates_and_a_function_of_the_seed():
    candidates, told = mixture(), []
    seeds = weighted_kmeans_plus_plus(candidates, np.ones(800, int), 300, 5, on_seeds=told.append)
    assert len({row.tobytes() for row in seeds}) == 300 == sum(told)
    assert {row.tobytes() for row in seeds} <= {row.tobytes() for row in candidates}
    assert seeds.tobytes() == weighted_kmeans_plus_plus(candidates, np.ones(800, int), 300, 5).tobytes()
    assert seeds.tobytes() != weighted_kmeans_plus_plus(candidates, np.ones(800, int), 300, 6).tobytes()


def test_what_has_no_weight_comes_last_and_equal_candidates_do_not_end_it():
    candidates = np.zeros((6, 2), np.float32)
    candidates[4:] = 1
    seeds = weighted_kmeans_plus_plus(candidates, np.array([0, 1, 0, 0, 1, 0]), 5, 0)
    assert {tuple(row) for row in seeds[:2]} == {(0, 0), (1, 1)}
    assert len(seeds) == 5


def test_what_has_no_weight_is_taken_once_each():
    candidates = np.arange(6, dtype=np.float32)[:, None]
    seeds = weighted_kmeans_plus_plus(candidates, np.array([0, 0, 0, 1, 0, 0]), 5, 0)
    assert seeds[:, 0].tolist() == [3, 0, 1, 2, 4]


def test_no_more_seeds_than_candidates():
    assert weighted_kmeans_plus_plus(mixture(7), np.ones(7, int), 9, 0).shape == (7, 5)
