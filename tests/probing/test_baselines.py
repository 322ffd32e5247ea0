"""Hand-made features, and the words that name what is probed."""

import numpy as np
import pytest
import torch

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.config.harmony import ChromaConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.features.chroma import Chroma
from ray_musicssl.features.mfcc import Mfcc
from ray_musicssl.features.semitone import Semitone
from ray_musicssl.probing.sources import describe, open_features


@pytest.fixture(scope="module")
def waveform():
    return np.random.default_rng(0).uniform(-0.3, 0.3, 16_000 * 2 + 123).astype(np.float32)


@pytest.mark.parametrize(("spec", "frame_dim"), [("mfcc", 39), ("chroma", 12), ("mfcc+semitone", 99)])
def test_pooled_features_are_mean_and_spread_of_the_frames(spec, frame_dim, waveform):
    features = open_features(spec)
    frames = features.embed(waveform, 16_000)
    assert frames.shape == (1, ENCODER_GRID.num_frames(len(waveform)), frame_dim)
    expected = np.concatenate([frames[0].mean(axis=0), frames[0].std(axis=0)])
    pooled = features.embed(waveform, 16_000, pool="mean+sd")
    assert (pooled.shape, features.dim) == ((1, 2 * frame_dim), frame_dim)
    np.testing.assert_allclose(pooled[0], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(features.embed(waveform, 16_000, pool="mean"), pooled[:, :frame_dim])


def test_frames_are_every_second_mfcc_frame_beside_the_semitones(waveform):
    frames = open_features("mfcc+semitone").embed(waveform, 16_000)[0]
    audio = torch.from_numpy(waveform)
    np.testing.assert_array_equal(frames[:, :39], Mfcc(num_coefficients=13)(audio)[::2])
    np.testing.assert_array_equal(frames[:, 39:], Semitone()(audio))


def test_chroma_is_the_target_feature_of_that_name_and_shows_which_note_sounds():
    time_s = np.arange(16_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    features = open_features("chroma")
    np.testing.assert_array_equal(features.embed(tone, 16_000)[0], Chroma(ChromaConfig())(torch.from_numpy(tone)))
    assert features.embed(tone, 16_000, pool="mean")[0, :12].argmax() == 9  # A


def test_stereo_is_averaged_and_other_rates_are_resampled(waveform):
    features = open_features("mfcc")
    stereo = np.stack([waveform, np.zeros_like(waveform)])
    np.testing.assert_allclose(features.embed(stereo, 16_000), features.embed(waveform / 2, 16_000), atol=1e-4)
    assert features.embed(waveform, 32_000).shape[1] == ENCODER_GRID.num_frames(round(len(waveform) / 2))


def test_audio_below_one_frame_is_refused():
    with pytest.raises(ValueError, match="shorter than one frame"):
        open_features("mfcc").embed(np.zeros(300, np.float32), 16_000)


def test_baselines_are_told_apart_and_have_lasting_hashes():
    names = ("mfcc", "chroma", "mfcc+semitone")
    found = [describe(name) for name in names]
    assert len({source.content_hash for source in found}) == len(names)
    assert found == [describe(name) for name in names]


@pytest.mark.parametrize("spec", ["nonsense", "random:nowhere"])
def test_what_cannot_be_probed_is_refused_with_what_can(spec):
    with pytest.raises(ConfigError, match=r"allowed are .*random:DIR for any of these, mfcc, chroma, mfcc\+semitone"):
        open_features(spec)
