"""What a codebook leaves of its frames, and what it is good for."""

import numpy as np
import pytest
import torch

from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.clustering.lloyd import fit
from ray_musicssl.clustering.seeding import kmeans_plus_plus
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import MfccConfig, ResidualConfig
from ray_musicssl.errors import DataError
from ray_musicssl.features.base import make_feature
from ray_musicssl.features.residual import Residual

MFCC = MfccConfig(num_coefficients=4)


@pytest.fixture(scope="module")
def waveform():
    """Eight notes of changing loudness with noise in them."""
    draws = torch.Generator().manual_seed(0)
    times = torch.arange(64_000) / 16_000
    pitches = torch.tensor([220.0, 330, 262, 392, 440, 294, 349, 494]).repeat_interleave(8_000)
    return torch.sin(2 * torch.pi * pitches * times) * 0.3 * (times % 0.5) + torch.randn(64_000, generator=draws) * 0.01


def fitted(feature, frames, num_clusters):
    """A codebook of frames, and the sum of squared distances to its centroids."""
    found = fit(frames, kmeans_plus_plus(frames, num_clusters, seed=0), num_iterations=20)
    record = FitRecord(
        parent="x",
        clustering=ClusteringConfig(num_clusters=num_clusters),
        num_frames=len(frames),
        inertia=found.history,
        usage=tuple(found.counts.tolist()),
    )
    return Codebook(found.centroids, feature, 100.0, record)


@pytest.fixture(scope="module")
def stages(waveform, tmp_path_factory):
    """Three stages of 8 clusters: of the MFCC, of what the first leaves, of what the second leaves."""
    home = tmp_path_factory.mktemp("stages")
    books, sections = [], [MFCC]
    for number in range(3):
        frames = make_feature(sections[-1])(waveform).numpy()
        books.append(fitted(sections[-1], frames, 8))
        books[-1].save(home / str(number))
        sections.append(ResidualConfig(codebook=str(home / str(number)), codebook_hash=books[-1].hash))
    return books, sections


def nearest(frames, centroids):
    """Centroids found in float64, all distances at once."""
    distances = ((frames.astype(np.float64)[:, None] - centroids) ** 2).sum(-1)
    return centroids[distances.argmin(axis=1)]


def test_a_frame_is_what_the_nearest_centroids_of_all_stages_before_leave(waveform, stages):
    books, sections = stages
    left = make_feature(MFCC)(waveform).numpy()
    for book, section in zip(books, sections[1:], strict=True):
        left = left - nearest(left, book.centroids)
        feature = make_feature(section)
        np.testing.assert_array_equal(feature(waveform).numpy(), left)
        assert (feature.dim, feature.grid) == (12, make_feature(MFCC).grid)


def test_each_stage_lowers_the_error_and_stages_beat_one_codebook_of_as_many_clusters(waveform, stages):
    _, sections = stages
    frames = make_feature(MFCC)(waveform).numpy()
    errors = [float((make_feature(section)(waveform).numpy() ** 2).sum()) for section in sections[1:]]
    assert errors[0] > 1.2 * errors[1] > 1.2**2 * errors[2]
    for num_stages in (2, 3):
        one = fitted(MFCC, frames, 8 * num_stages)
        assert errors[num_stages - 1] < 0.95 * one.fit.inertia[-1]


def test_a_batch_gives_each_row_s_own_frames_and_short_audio_none(waveform, stages):
    feature = make_feature(stages[1][2])
    batch = torch.stack([waveform[:16_000], waveform[16_000:32_000]])
    assert torch.equal(feature(batch), torch.stack([feature(row) for row in batch]))
    assert feature(waveform[:300]).shape == (0, 12)
    assert feature(batch[:0]).shape == (0, 98, 12)


def test_centroids_of_another_width_are_refused(stages):
    with pytest.raises(DataError, match="of 12 dimensions leaves nothing of the feature mfcc, whose frames have 39"):
        Residual(make_feature(MfccConfig()), stages[0][0].centroids)
