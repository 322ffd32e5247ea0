import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus

from ray_musicssl.clustering.seeding import SEED_FRAMES, kmeans_plus_plus, seed_rows
from ray_musicssl.errors import DataError


def test_seeds_are_those_of_scikit_learn():
    frames = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    expected, _ = kmeans_plusplus(frames, 12, random_state=3)
    np.testing.assert_array_equal(kmeans_plus_plus(frames, 12, seed=3), expected)


def test_every_seed_but_the_first_is_told_and_telling_changes_nothing():
    frames = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    told = []
    seeds = kmeans_plus_plus(frames, 12, seed=3, on_seed=lambda: told.append(1))
    assert (
        len(told) == 11
    )  # if this fails, scikit-learn draws otherwise now and the meter of `kmeans seeds` stands still
    np.testing.assert_array_equal(seeds, kmeans_plus_plus(frames, 12, seed=3))


def test_seeds_are_distinct_frames():
    frames = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    seeds = kmeans_plus_plus(frames, 50, seed=0)
    assert len({row.tobytes() for row in seeds}) == 50
    assert {row.tobytes() for row in seeds} <= {row.tobytes() for row in frames}


def test_few_frames_are_all_used_for_seeding():
    np.testing.assert_array_equal(seed_rows(1000, 10, seed=0), np.arange(1000))


def test_many_frames_are_sampled_by_the_seed_alone():
    rows = seed_rows(1_000_000, 100, seed=0)
    assert len(rows) == SEED_FRAMES
    assert (np.diff(rows) > 0).all()
    assert rows.mean() == pytest.approx(500_000, rel=0.02)
    np.testing.assert_array_equal(rows, seed_rows(1_000_000, 100, seed=0))
    assert not np.array_equal(rows, seed_rows(1_000_000, 100, seed=1))


def test_a_large_codebook_has_more_frames_to_choose_from():
    assert len(seed_rows(1_000_000, 20_000, seed=0)) == 80_000


def test_fewer_frames_than_clusters_are_refused():
    with pytest.raises(DataError, match=r"7 frames cannot fill 8 clusters.*at most 7"):
        seed_rows(7, 8, seed=0)
