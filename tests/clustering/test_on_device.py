import numpy as np
import pytest
import torch

from ray_musicssl.clustering import on_device
from ray_musicssl.clustering.sums import assign, farthest, partial_sums, sums_of_slabs
from ray_musicssl.errors import ConfigError

DEVICES = [
    "cpu:torch",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]


@pytest.fixture
def block():
    rng = np.random.default_rng(0)
    centroids = (rng.normal(size=(30, 7)) * 3 + 20).astype(np.float32)
    frames = centroids[rng.integers(29, size=2000)] + rng.normal(size=(2000, 7)).astype(np.float32)
    centroids[29] = 1e3  # no frame is near the last one
    return frames, centroids


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk_scores", [1 << 28, 30 * 300])
def test_a_device_gives_the_sums_of_the_cpu(block, device, chunk_scores, monkeypatch):
    monkeypatch.setattr(on_device, "CHUNK_SCORES", chunk_scores)
    theirs, ours = partial_sums(*block, device=device), partial_sums(*block)
    np.testing.assert_array_equal(theirs.counts, ours.counts)
    np.testing.assert_allclose(theirs.sums, ours.sums, rtol=1e-12)
    assert theirs.inertia == pytest.approx(ours.inertia, rel=1e-9)
    assert theirs.counts[29] == 0


@pytest.mark.parametrize("device", DEVICES)
def test_slabs_are_added_up_on_a_device_to_what_they_give_on_the_cpu(block, device):
    frames, centroids = block
    buffer = np.empty((700, 7), np.float32)

    def slabs():
        for first in range(0, 2000, 700):  # each is valid until the next
            slab = buffer[: len(frames[first : first + 700])]
            slab[:] = frames[first : first + 700]
            yield slab

    theirs, ours = sums_of_slabs(slabs(), centroids, device=device), partial_sums(*block)
    np.testing.assert_array_equal(theirs.counts, ours.counts)
    np.testing.assert_allclose(theirs.sums, ours.sums, rtol=1e-12)
    assert theirs.inertia == pytest.approx(ours.inertia, rel=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_gives_the_same_bits_every_time(block, device):
    one, two = (partial_sums(*block, device=device) for _ in range(2))
    assert one.sums.tobytes() == two.sums.tobytes()
    assert one.inertia == two.inertia


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_gives_the_labels_and_the_farthest_of_the_cpu(block, device):
    frames, centroids = block
    frames.flags.writeable = False  # as an object store hands them out
    labels = assign(frames, centroids, device=device)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, assign(frames, centroids))
    np.testing.assert_array_equal(
        farthest(frames, centroids, 9, device=device).rows, farthest(frames, centroids, 9).rows
    )


@pytest.mark.parametrize("device", DEVICES)
def test_of_equally_near_centroids_a_device_takes_the_first(device):
    centroids = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    np.testing.assert_array_equal(assign(centroids, centroids, device=device), [0, 1, 0, 1])


@pytest.mark.parametrize("device", DEVICES)
def test_no_frames_give_no_labels_on_a_device(device):
    assert assign(np.empty((0, 4), np.float32), np.ones((3, 4), np.float32), device=device).shape == (0,)


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(block, name):
    with pytest.raises(ConfigError, match=rf"device is '{name}'.*choose cpu"):
        partial_sums(*block, device=name)
