"""How a fit ends: when the inertia falls no more, and when centroids that are judged leave clusters empty."""

import numpy as np
import pytest

from ray_musicssl.clustering.lloyd import ArrayPasses, LloydState, fit, iterate, refilled, settled
from ray_musicssl.clustering.sums import ClusterSums, farthest, partial_sums


class Told:
    """Passes that say what the inertia is."""

    def __init__(self, *inertias):
        self._inertias = iter(inertias)

    def sums(self, centroids):
        return ClusterSums(
            sums=centroids.astype(np.float64), counts=np.ones(len(centroids), np.int64), inertia=next(self._inertias)
        )

    def farthest(self, centroids, count):
        raise AssertionError("no cluster is empty")


class Counted(ArrayPasses):
    """Passes over an array that are counted."""

    num_passes = 0

    def sums(self, centroids):
        type(self).num_passes += 1
        return super().sums(centroids)


@pytest.mark.parametrize(("second", "num_updates"), [(90.5, 1), (89.5, 2)])  # falls of 9.5 and 10.5 % of the first
def test_the_tolerance_is_a_share_of_the_inertia_before_the_update(second, num_updates):
    start = LloydState(centroids=np.eye(2, dtype=np.float32))
    ended = iterate(Told(100.0, second, second), start, num_iterations=9, tolerance=0.1)
    assert ended.num_updates == num_updates


def test_empty_clusters_move_onto_the_farthest_frames_and_the_others_stay():
    frames = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]], np.float32)
    centroids = np.array([[1.5], [100.0], [200.0]], np.float32)
    ended = settled(ArrayPasses(frames), centroids, (7.0,))
    assert ended.centroids.tolist() == [[1.5], [11.0], [10.0]]
    assert ended.counts.tolist() == [3, 1, 1]
    assert ended.history == (7.0, ended.inertia) == (7.0, pytest.approx(2.25 + 0.25 + 0.25))


def test_centroids_without_an_empty_cluster_are_judged_in_one_pass():
    frames = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    centroids = fit(frames, frames[:5], 3).centroids
    Counted.num_passes = 0
    ended = settled(Counted(frames), centroids, ())
    assert Counted.num_passes == 1
    assert ended.centroids.tobytes() == centroids.tobytes()
    assert ended.inertia == partial_sums(frames, centroids).inertia


def test_an_empty_cluster_stays_where_it_is_when_every_frame_lies_on_a_centroid():
    frames = np.array([[1.0, 1.0]] * 4 + [[5.0, 5.0]], np.float32)
    centroids = np.array([[1.0, 1.0], [9.0, 9.0], [8.0, 8.0]], np.float32)
    sums = partial_sums(frames, centroids)
    assert sums.counts.tolist() == [4, 0, 1]
    on_place = np.array([[1.0, 1.0], [9.0, 9.0], [5.0, 5.0]], np.float32)
    spare = farthest(frames, on_place, 1)
    assert refilled(on_place, np.array([4, 0, 1]), spare).tolist() == on_place.tolist()
    # One frame is left for two empty clusters: the first takes it.
    lost = np.array([[1.0, 1.0], [9.0, 9.0], [99.0, 99.0]], np.float32)
    near = farthest(np.array([[1.0, 1.0], [2.0, 1.0]], np.float32), lost, 2)
    assert refilled(lost, np.array([2, 0, 0]), near).tolist() == [[1.0, 1.0], [2.0, 1.0], [99.0, 99.0]]
