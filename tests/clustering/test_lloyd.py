from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from ray_musicssl.clustering.lloyd import LloydState, fit, iterate, next_centroids
from ray_musicssl.clustering.sums import SLAB_VALUES, ClusterSums, Farthest, assign, farthest, partial_sums, summed_rows
from ray_musicssl.clustering.tree import add_along_tree
from ray_musicssl.errors import DataError


def mixture(num_frames=3000, dim=7, num_centres=25, seed=0, offset=20.0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_centres, dim)) * 3 + offset
    return (centres[rng.integers(num_centres, size=num_frames)] + rng.normal(size=(num_frames, dim))).astype(np.float32)


def brute_force(frames, centroids):
    """Squared distances in float64, [frames, clusters]."""
    return ((frames[:, None].astype(np.float64) - centroids[None].astype(np.float64)) ** 2).sum(-1)


@pytest.mark.parametrize("num_iterations", [1, 5, 30])
def test_fit_equals_scikit_learn(num_iterations):
    frames = mixture()
    start = frames[:20]
    ours = fit(frames, start, num_iterations)
    theirs = KMeans(20, init=start, n_init=1, max_iter=num_iterations, tol=0, algorithm="lloyd").fit(frames)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)
    if theirs.n_iter_ == num_iterations:  # it stops by itself when no label changes
        np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, rtol=1e-3)


def test_fit_makes_exactly_the_updates_asked_for_with_tolerance_zero():
    frames = mixture(200, num_centres=3)
    result = fit(frames, frames[:3], num_iterations=40)  # converged long before
    assert result.num_updates == 40
    assert len(result.history) == 41


def test_inertia_belongs_to_the_centroids_returned():
    frames = mixture()
    result = fit(frames, frames[:20], 3)
    distances = brute_force(frames, result.centroids)
    assert result.inertia == result.history[-1]
    assert result.inertia == pytest.approx(distances.min(axis=1).sum(), rel=1e-6)
    np.testing.assert_array_equal(result.counts, np.bincount(distances.argmin(axis=1), minlength=20))


def test_inertia_never_rises():
    frames = mixture()
    history = np.array(fit(frames, frames[:20], 15).history)
    assert (np.diff(history) <= 1e-6 * history[:-1]).all()


def test_tolerance_stops_at_the_first_small_fall():
    frames = mixture()
    full = fit(frames, frames[:20], 30).history
    stopped = fit(frames, frames[:20], 30, tolerance=0.01)
    falls = [(before - after) / before for before, after in pairwise(full)]
    expected = next(i for i, fall in enumerate(falls) if fall <= 0.01) + 1
    assert 1 < expected < 30
    assert stopped.num_updates == expected
    assert stopped.history == full[: expected + 1]


def test_a_fit_that_goes_on_from_any_update_ends_with_the_same_bits():
    frames = mixture()
    states = []

    class Passes:
        def sums(self, centroids):
            return partial_sums(frames, centroids)

        def farthest(self, centroids, count):
            return farthest(frames, centroids, count)

    start = LloydState(centroids=frames[:20])
    whole = iterate(Passes(), start, num_iterations=8, tolerance=0, on_update=states.append)
    for state in states:
        resumed = iterate(Passes(), state, num_iterations=8, tolerance=0)
        assert resumed.centroids.tobytes() == whole.centroids.tobytes()
        assert resumed.history == whole.history


@pytest.mark.parametrize(("num_frames", "dim", "num_clusters"), [(1, 3, 2), (511, 5, 7), (513, 39, 100), (4000, 2, 3)])
def test_labels_are_the_nearest_centroids(num_frames, dim, num_clusters):
    frames, centroids = mixture(num_frames, dim, seed=1), mixture(num_clusters, dim, seed=2)
    distances = brute_force(frames, centroids)
    labels = assign(frames, centroids)
    assert labels.dtype == np.int32
    chosen = distances[np.arange(num_frames), labels]
    np.testing.assert_allclose(chosen, distances.min(axis=1), rtol=1e-5, atol=1e-4)
    assert (labels == distances.argmin(axis=1)).mean() > 0.999


def test_of_equally_near_centroids_the_first_wins():
    centroids = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    np.testing.assert_array_equal(assign(centroids, centroids), [0, 1, 0, 1])


def test_no_frames_give_no_labels():
    assert assign(np.empty((0, 4), np.float32), np.ones((3, 4), np.float32)).shape == (0,)


def test_sums_equal_a_loop_over_clusters():
    frames, centroids = mixture(), mixture(30, seed=3)
    labels = assign(frames, centroids)
    sums = partial_sums(frames, centroids)
    for cluster in range(30):
        members = frames[labels == cluster].astype(np.float64)
        assert sums.counts[cluster] == len(members)
        np.testing.assert_allclose(sums.sums[cluster], members.sum(axis=0), rtol=1e-12)


def test_sums_reach_beyond_one_slab():
    dim = SLAB_VALUES // 1024
    assert summed_rows(dim) == 1024
    frames = np.random.default_rng(0).normal(size=(2500, dim)).astype(np.float32)
    centroids = frames[:2]
    sums = partial_sums(frames, centroids)
    np.testing.assert_array_equal(sums.counts, np.bincount(assign(frames, centroids), minlength=2))
    np.testing.assert_allclose(sums.sums.sum(axis=0), frames.sum(axis=0, dtype=np.float64), atol=1e-8)
    assert sums.inertia == pytest.approx(brute_force(frames, centroids).min(axis=1).sum(), rel=1e-6)


def test_the_inertia_of_frames_that_are_centroids_is_never_below_zero():
    for seed in range(20):
        frames = mixture(50, seed=seed, offset=1e3)
        assert 0 <= partial_sums(frames, frames).inertia < 1e-6 * 1e3**2 * 50 * 7


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 1500), max_size=6))
def test_sums_do_not_depend_on_the_partition(cuts):
    frames, centroids = mixture(1500), mixture(30, seed=4)
    whole = partial_sums(frames, centroids)
    parts = [partial_sums(block, centroids) for block in np.split(frames, sorted(cuts))]
    total = reduce(add, parts)
    np.testing.assert_array_equal(total.counts, whole.counts)
    np.testing.assert_allclose(total.sums, whole.sums, rtol=1e-9)
    assert total.inertia == pytest.approx(whole.inertia, rel=1e-6)


def test_the_farthest_frames_come_in_a_total_order():
    frames = np.repeat(mixture(300), 3, axis=0)  # every distance three times
    centroids = mixture(10, seed=5)
    found = farthest(frames, centroids, 7, block=2)
    nearest = brute_force(frames, centroids).min(axis=1)
    expected = np.lexsort((np.arange(len(frames)), -nearest.astype(np.float32).round(2)))[:7]
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.frames, frames[expected])
    assert (found.blocks == 2).all()


@pytest.mark.parametrize("num_blocks", [1, 2, 5])
def test_merging_candidates_does_not_depend_on_the_blocks_order(num_blocks):
    frames, centroids = np.repeat(mixture(200), 5, axis=0), mixture(10, seed=6)
    blocks = np.split(frames, num_blocks)
    found = [farthest(block, centroids, 12, block=i) for i, block in enumerate(blocks)]
    forward = reduce(lambda a, b: a.merged(b, 12), found)
    backward = reduce(lambda a, b: a.merged(b, 12), reversed(found))
    np.testing.assert_array_equal(forward.blocks, backward.blocks)
    np.testing.assert_array_equal(forward.rows, backward.rows)
    global_rows = forward.blocks * (len(frames) // num_blocks) + forward.rows
    np.testing.assert_array_equal(global_rows, farthest(frames, centroids, 12).rows)


def test_empty_clusters_take_the_farthest_frames():
    frames = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]], np.float32)
    previous = np.array([[1.0], [100.0], [200.0]], np.float32)  # two of three are empty
    centroids = next_centroids(partial_sums(frames, previous), previous, farthest(frames, previous, 2))
    np.testing.assert_array_equal(centroids, [[1.0], [11.0], [10.0]])  # the rest's mean, then the farthest two


def test_moving_empty_clusters_equals_scikit_learn():
    frames = mixture()
    start = np.concatenate([frames[:10], np.full((3, 7), 1e3, np.float32) + np.arange(3, dtype=np.float32)[:, None]])
    ours = fit(frames, start, 6)
    theirs = KMeans(13, init=start, n_init=1, max_iter=6, tol=0, algorithm="lloyd").fit(frames)
    assert (ours.counts > 0).all()
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)


def test_clusters_stay_put_when_no_frame_is_left_for_them():
    frames = np.ones((5, 2), np.float32)
    start = np.array([[1.0, 1.0], [9.0, 9.0]], np.float32)
    result = fit(frames, start, 2)
    np.testing.assert_array_equal(result.centroids, start)
    np.testing.assert_array_equal(result.counts, [5, 0])


@pytest.mark.parametrize(
    ("frames", "start", "said"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "3 frames cannot fill 4 clusters"),
        (np.full((3, 2), np.nan), np.ones((2, 2)), "frames hold NaN or infinity in row 0"),
        (np.ones((3, 2)), np.array([[1.0, 1.0], [np.inf, 1.0]]), "centroids hold NaN or infinity in row 1"),
    ],
)
def test_impossible_input_is_refused(frames, start, said):
    with pytest.raises(DataError, match=said):
        fit(frames, start, 1)


@given(num_parts=st.integers(1, 40))
def test_the_tree_adds_every_part_once_in_order(num_parts):
    assert add_along_tree([str(i) for i in range(num_parts)], add) == "".join(str(i) for i in range(num_parts))


def test_the_tree_pairs_neighbours():
    assert add_along_tree(list("abcde"), lambda a, b: f"({a}{b})") == "(((ab)(cd))e)"


def test_the_tree_s_order_reaches_the_bits():
    parts = [
        ClusterSums(sums=np.array([[value]]), counts=np.ones(1, np.int64), inertia=0.0)
        for value in (1e16, -1e16, 1.0, 1.0)
    ]
    assert add_along_tree(parts, add).sums[0, 0] == 2
    # The twin: what ended first must not decide.
    arrived = [parts[i] for i in (0, 2, 3, 1)]
    assert add_along_tree(arrived, add).sums[0, 0] != 2


def test_the_tree_refuses_nothing():
    with pytest.raises(ValueError, match="nothing to add"):
        add_along_tree([], add)


def test_of_equally_far_frames_those_of_the_first_block_come_first_then_of_the_first_row():
    def one(block, row):
        return Farthest(
            distances=np.ones(1, np.float32),
            blocks=np.array([block]),
            rows=np.array([row]),
            labels=np.zeros(1, np.int32),
            frames=np.full((1, 2), row, np.float32),
        )

    places = [(1, 0), (0, 7), (2, 1), (0, 3)]
    merged = reduce(lambda found, more: found.merged(more, 3), [one(*place) for place in places])
    assert list(zip(merged.blocks.tolist(), merged.rows.tolist(), strict=True)) == [(0, 3), (0, 7), (1, 0)]
    assert merged.frames[:, 0].tolist() == [3, 7, 0]
