import numpy as np
import pytest
import torch

from ray_musicssl.audio.frames import ENCODER_GRID, MFCC_GRID
from ray_musicssl.config.feature import (
    ChromaConfig,
    CombinedConfig,
    CqtConfig,
    LogmelConfig,
    MfccConfig,
    SemitoneConfig,
)
from ray_musicssl.demo.compose import compose
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.synth import render_score
from ray_musicssl.features.base import TargetFeature, clip_frames, make_feature

PARTS = (MfccConfig(), SemitoneConfig(), ChromaConfig(), CqtConfig(), LogmelConfig())


def noise(*shape):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def combined(*parts, **settings):
    return make_feature(CombinedConfig(parts=parts, **settings))


@pytest.mark.parametrize("weights", [(), (0.5, 3.0)])
def test_frames_are_those_of_the_parts_over_their_spreads_times_their_weights(weights):
    waveform = noise(16_000)
    mfcc, chroma = make_feature(PARTS[0]), make_feature(PARTS[2])
    feature = combined(PARTS[0], PARTS[2], weights=weights)
    by_mfcc, by_chroma = weights or (1, 1)
    assert (feature.name, feature.dim, feature.grid) == ("combined", 51, ENCODER_GRID)
    assert isinstance(feature, TargetFeature)
    # Frame t of the encoder's grid and frame 2 t of MFCC's begin at the same sample.
    expected = torch.cat([mfcc(waveform)[::2] / mfcc.spread * by_mfcc, chroma(waveform) / chroma.spread * by_chroma], 1)
    torch.testing.assert_close(feature(waveform), expected)


def test_parts_at_100_hz_keep_their_rate():
    feature = combined(MfccConfig(num_coefficients=5), MfccConfig(num_coefficients=7))
    assert feature.grid == MFCC_GRID
    assert feature(noise(16_000)).shape == (98, 36)


@pytest.mark.parametrize("num_samples", [0, 399, 400, 559, 560, 719, 720, 16_000])
def test_there_are_as_many_frames_as_the_encoder_gives(num_samples):
    assert combined(PARTS[0], PARTS[1])(torch.ones(num_samples)).shape == (ENCODER_GRID.num_frames(num_samples), 99)


def test_the_order_of_the_parts_is_that_of_the_dimensions():
    waveform = noise(16_000)
    frames, turned = combined(PARTS[2], PARTS[3])(waveform), combined(PARTS[3], PARTS[2])(waveform)
    torch.testing.assert_close(turned, frames.roll(72, dims=1))


def test_a_batch_equals_its_rows():
    feature, batch = combined(*PARTS), noise(2, 20_000)
    torch.testing.assert_close(feature(batch), torch.stack([feature(row) for row in batch]), rtol=1e-4, atol=1e-4)


def pieces():
    for index, style in enumerate(list(STYLES)[:6]):
        score = compose(seed=7, index=index, style_name=style, duration_s=4.0)
        wave = render_score(score, 16_000, np.random.default_rng(index))
        yield (wave / np.abs(wave).max() * 30_000).astype(np.int16)


OTHER_SETTINGS = (
    MfccConfig(num_coefficients=1),
    MfccConfig(num_coefficients=20),
    ChromaConfig(norm="max"),
    ChromaConfig(norm="sum"),
    ChromaConfig(compression="power", norm="max"),
    ChromaConfig(compression="amplitude", norm="sum"),
)


@pytest.mark.parametrize("parts", [PARTS, OTHER_SETTINGS])
def test_on_music_no_part_outweighs_another(parts):
    """A part's squared distance from its mean is about 1 on music: spreads are neither stale nor of other units."""
    feature = combined(*parts)
    frames = np.concatenate([clip_frames(feature, pcm) for pcm in pieces()])
    shares = np.split(frames.var(axis=0), np.cumsum([make_feature(part).dim for part in parts[:-1]]))
    for part, share in zip(parts, shares, strict=True):
        assert 0.4 < share.sum() < 2.5, (part.name, share.sum())
