import numpy as np
import pytest

from ray_musicssl.clustering import nearest
from ray_musicssl.clustering.nearest import CHUNK_ROWS, NearestCentroids
from ray_musicssl.clustering.screen import Screen
from ray_musicssl.clustering.threads import one_blas_thread

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread():
    with one_blas_thread():
        yield


def wide_frames(num_frames, *, dim=256, num_centres=40, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_centres, dim)) * 2 + 5
    chosen = centres[rng.integers(num_centres, size=num_frames)]
    return (chosen + spread * rng.normal(size=(num_frames, dim))).astype(np.float32)


def awkward_frames(centroids):
    """Frames between two centroids, on centroids, all equal, and with one large value that takes up the 8 bits."""
    halfway = (centroids[:100] + centroids[100:200]) / 2
    spiked = centroids[:100].copy()
    spiked[:, 3] += 1e4
    return np.concatenate([halfway, centroids, np.zeros((50, centroids.shape[1]), np.float32), spiked])


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_screened_labels_are_those_of_the_float32_product(spread):
    centroids = wide_frames(300, spread=spread, seed=1)
    frames = np.concatenate([wide_frames(1500, spread=spread), awkward_frames(centroids)])
    whole = NearestCentroids(centroids, is_screened=False).labels(frames)
    np.testing.assert_array_equal(NearestCentroids(centroids, is_screened=True).labels(frames), whole)


def test_screening_decides_most_rows_and_never_wrongly():
    centroids = wide_frames(200, seed=1)
    frames = np.concatenate([centroids, centroids]) + np.random.default_rng(2).normal(size=(400, 256))
    frames = np.concatenate([frames.astype(np.float32), awkward_frames(centroids)])
    shift = centroids.mean(axis=0)
    found = Screen(centroids - shift, num_rows=len(frames)).labels(frames - shift)
    exact = (centroids.astype(np.float64) ** 2).sum(axis=1) - 2 * frames.astype(np.float64) @ centroids.T.astype(float)
    decided = found >= 0
    assert decided[:400].mean() > 0.8
    np.testing.assert_array_equal(found[decided], exact.argmin(axis=1)[decided])


def test_frames_between_two_centroids_are_left_open():
    centroids = wide_frames(200, seed=1)
    centroids -= centroids.mean(axis=0)
    doubled = np.concatenate([centroids, centroids])
    assert (Screen(doubled, num_rows=200).labels(centroids) == -1).all()
    # and the whole product gives them the first of both
    labels = NearestCentroids(doubled, is_screened=True).labels(centroids)
    np.testing.assert_array_equal(labels, np.arange(200))


def test_the_bound_covers_a_screen_with_few_levels(monkeypatch):
    monkeypatch.setattr("ray_musicssl.clustering.screen.LEVELS", 15)  # errors eight times as large
    centroids, frames = wide_frames(200, seed=1), wide_frames(1000)
    whole = NearestCentroids(centroids, is_screened=False).labels(frames)
    np.testing.assert_array_equal(NearestCentroids(centroids, is_screened=True).labels(frames), whole)


def test_screening_that_decides_too_little_is_given_up():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(3 * CHUNK_ROWS, 256)).astype(np.float32)
    centroids = (1e-3 * rng.normal(size=(200, 256))).astype(np.float32)  # nearly all equally far
    screened = NearestCentroids(centroids, is_screened=True)
    labels = screened.labels(frames)
    assert screened._screen is None
    np.testing.assert_array_equal(labels, NearestCentroids(centroids, is_screened=False).labels(frames))


@pytest.mark.parametrize("is_screened", [False, True])
@pytest.mark.parametrize("dim", [39, 256])
def test_a_row_s_label_does_not_depend_on_the_rows_beside_it(is_screened, dim):
    frames, centroids = wide_frames(1500, dim=dim), wide_frames(150, dim=dim, seed=1)
    labels = NearestCentroids(centroids, is_screened=is_screened).labels(frames)
    order = np.random.default_rng(0).permutation(len(frames))
    for rows in (order, order[:700], order[:1]):
        again = NearestCentroids(centroids, is_screened=is_screened).labels(frames[rows])
        np.testing.assert_array_equal(again, labels[rows])


@pytest.mark.parametrize("is_intel", [False, True])
def test_both_libraries_find_the_nearest(monkeypatch, is_intel):
    monkeypatch.setattr(nearest, "_is_home_of_mkl", lambda: is_intel)
    frames, centroids = wide_frames(600, dim=5), wide_frames(33, dim=5, seed=1)  # 33: columns are added
    exact = ((frames[:, None].astype(np.float64) - centroids) ** 2).sum(-1)
    labels = NearestCentroids(centroids).labels(frames)
    chosen = exact[np.arange(len(frames)), labels]
    np.testing.assert_allclose(chosen, exact.min(axis=1), rtol=1e-5)


@pytest.mark.parametrize("is_screened", [False, True])
def test_what_all_centroids_share_costs_no_digits(is_screened):
    frames, centroids = wide_frames(500), wide_frames(100, seed=1)
    labels = NearestCentroids(centroids, is_screened=is_screened).labels(frames)
    far = np.float32(2**14)  # at |x|^2 = 7e10 a float32 step is 4096; the frames differ by some 1000
    moved = NearestCentroids(centroids + far, is_screened=is_screened).labels(frames + far)
    distances = ((frames[:, None].astype(np.float64) - centroids) ** 2).sum(-1)
    best, chosen = distances.min(axis=1), distances[np.arange(500), moved]
    assert (labels == distances.argmin(axis=1)).all()
    np.testing.assert_allclose(chosen, best, rtol=1e-2)  # coordinates themselves lose 1e-3


@pytest.mark.parametrize("is_screened", [False, True])
def test_near_ties_of_wide_frames_have_the_same_label_in_every_company(is_screened):
    """A BLAS chooses its kernels by shape: products of 64, 128 and 512 rows once gave midpoints of centroids other labels."""
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(800, 768)).astype(np.float32)
    first, second = centroids[rng.integers(800, size=(2, 600))]
    frames = (first + second) / 2
    whole = NearestCentroids(centroids, is_screened=is_screened).labels(frames)
    hard = NearestCentroids(centroids, is_screened=is_screened)
    hard._screen = None  # as after frames that screening could not decide
    np.testing.assert_array_equal(hard.labels(frames), whole)
    for rows in (slice(0, 64), slice(100, 228), slice(300, 301), slice(None, None, 7)):
        alone = NearestCentroids(centroids, is_screened=is_screened).labels(frames[rows])
        np.testing.assert_array_equal(alone, whole[rows])


def test_a_frame_that_is_infinite_still_gets_the_number_of_a_centroid():
    centroids = wide_frames(500, dim=39, seed=1)  # 12 columns are added
    frames = wide_frames(300, dim=39)
    frames[7, 3] = np.inf
    with np.errstate(invalid="ignore"):
        labels = NearestCentroids(centroids).labels(frames)
    assert labels.max() < 500
    finite = np.delete(np.arange(300), 7)
    np.testing.assert_array_equal(labels[finite], NearestCentroids(centroids).labels(frames[finite]))
