import gc

import numpy as np

from ray_musicssl.clustering import prepared as module
from ray_musicssl.clustering.prepared import prepared
from ray_musicssl.clustering.sums import assign, partial_sums

FRAMES = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)


def fixed(values):
    array = np.array(values, np.float32)
    array.setflags(write=False)
    return array


def test_a_set_that_cannot_change_is_prepared_once_and_one_that_can_each_time():
    made = []
    closed, opened = fixed([[1.0], [2.0]]), np.ones((2, 1), np.float32)
    for _ in range(3):
        prepared(closed, "a", made.append)
        prepared(opened, "a", made.append)
    prepared(closed, "b", made.append)
    assert sum(array is closed for array in made) == 2  # once for each device
    assert sum(array is opened for array in made) == 3


def test_a_set_goes_with_its_array_and_none_is_mistaken_for_another_at_its_address():
    gc.collect()
    before = len(module._kept)
    for number in range(20):
        array = fixed([[number]])
        assert prepared(array, "c", lambda array: float(array[0, 0])) == number
        assert assign(FRAMES[:, :1].copy(), array).max() == 0  # what labelling keeps does not hold the array
    del array
    gc.collect()
    assert len(module._kept) == before


def test_changed_centroids_give_changed_labels():
    centroids = FRAMES[:4].copy()
    before = assign(FRAMES, centroids)
    centroids[:] = FRAMES[4:8]
    expected = ((FRAMES[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    assert (before != expected).any()
    np.testing.assert_array_equal(assign(FRAMES, centroids), expected)


def test_kept_centroids_give_the_same_bits():
    closed = fixed(FRAMES[:7])
    first, again = partial_sums(FRAMES, closed), partial_sums(FRAMES, closed)
    alone = partial_sums(FRAMES, FRAMES[:7].copy())
    for found in (again, alone):
        assert (found.sums.tobytes(), found.inertia) == (first.sums.tobytes(), first.inertia)
