import numpy as np
import pytest
import torch
import torchaudio

from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.features.base import FEATURES, clip_frames, make_feature
from ray_musicssl.features.mfcc import Mfcc


def known_signal():
    n = np.arange(16000)
    tone = 0.5 * np.sin(2 * np.pi * 440 * n / 16000)
    swell = 0.1 * (n / 16000) * np.sin(2 * np.pi * 1000 * n / 16000 + 0.3)
    return torch.from_numpy((tone + swell).astype(np.float32))


def noise(*shape, seed=0, level=0.1):
    return level * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kaldi(waveform, num_coefficients=13):
    """The oracle: torchaudio's Kaldi front end, and its deltas."""
    cepstra = torchaudio.compliance.kaldi.mfcc(waveform[None], num_ceps=num_coefficients, dither=0.0)
    first = torchaudio.functional.compute_deltas(cepstra.T).T
    return torch.cat([cepstra, first, torchaudio.functional.compute_deltas(first.T).T], dim=1)


# Known answers: Kaldi's algorithm run in float32 on the signal above.
FRAME_0 = (
    "-52.7024 64.9764 31.7982 -31.2518 -61.6665 -53.7693 -46.0317 -52.6878 -50.5825 -21.5745 21.7381 49.5986 42.6498"
)
FRAME_0_REST = "10.5185 -15.9044 -16.9554 -3.4016 3.6375 0.3124 -3.1312"
FRAME_50 = (
    "-47.5448 72.2369 13.0362 -63.3484 -66.4215 -23.4312 -13.5668 -47.7942 -73.9331 -50.0724 14.7443 67.3293 61.6567"
)


def numbers(text):
    return torch.tensor([float(word) for word in text.split()])


def test_known_signal_gives_known_cepstra():
    frames = Mfcc()(known_signal())
    assert frames.shape == (98, 39)
    torch.testing.assert_close(frames[0, :13], numbers(FRAME_0), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(frames[50, :13], numbers(FRAME_50), rtol=1e-4, atol=1e-3)
    assert frames.mean().item() == pytest.approx(-3.74999, abs=2e-5)
    assert frames.abs().mean().item() == pytest.approx(16.21473, abs=2e-4)


def test_known_signal_gives_known_deltas():
    frames = Mfcc()(known_signal())
    torch.testing.assert_close(frames[50, 13:17], numbers("0.02624 0.17303 0.29120 -0.02269"), rtol=0, atol=1e-3)
    torch.testing.assert_close(frames[50, 26:30], numbers("-0.024431 0.059716 0.331458 0.143006"), rtol=0, atol=1e-3)


def test_twenty_cepstra_begin_with_the_thirteen():
    wide, narrow = Mfcc(20)(known_signal()), Mfcc(13)(known_signal())
    assert wide.shape == (98, 60)
    torch.testing.assert_close(wide[:, :13], narrow[:, :13])
    torch.testing.assert_close(wide[0, 13:20], numbers(FRAME_0_REST), rtol=1e-4, atol=1e-3)
    assert wide.abs().mean().item() == pytest.approx(11.81663, abs=2e-4)


def test_silence_gives_the_log_floor_and_no_shape():
    frames = Mfcc()(torch.zeros(4000))
    torch.testing.assert_close(frames[:, 0], torch.full((23,), -76.457), rtol=0, atol=1e-3)
    assert frames[:, 1:].abs().max() < 1e-4


@pytest.mark.parametrize("num_coefficients", [1, 13, 20, 23])
@pytest.mark.parametrize("num_samples", [400, 559, 560, 50_000])
def test_equals_kaldi_on_noise(num_samples, num_coefficients):
    waveform = noise(num_samples, seed=num_samples)
    expected = kaldi(waveform, num_coefficients)
    found = Mfcc(num_coefficients)(waveform)
    assert found.shape == expected.shape
    # Log energies of nearly empty bands carry float32 rounding in both; it is absolute, not relative to the cepstrum.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-3)
    assert (found - expected).norm() <= 1e-4 * expected.norm()


def test_equals_kaldi_on_quiet_audio_with_an_offset():
    waveform = 0.3 + noise(8000, level=1e-3)
    expected = kaldi(waveform)
    assert (Mfcc()(waveform) - expected).norm() <= 1e-4 * expected.norm()


def test_a_batch_equals_its_rows():
    batch = noise(3, 100_000)  # long enough for several chunks
    feature = Mfcc()
    torch.testing.assert_close(feature(batch), torch.stack([feature(row) for row in batch]), rtol=1e-4, atol=1e-3)


def test_a_wrong_pre_emphasis_would_be_seen(monkeypatch):
    monkeypatch.setattr("ray_musicssl.features.kaldi.PRE_EMPHASIS", 0.96)
    waveform = noise(8000)
    expected = kaldi(waveform)
    assert (Mfcc()(waveform) - expected).norm() > 1e-3 * expected.norm()


@pytest.mark.parametrize("num_samples", [0, 1, 399])
def test_too_short_audio_gives_no_frames(num_samples):
    assert Mfcc()(torch.zeros(num_samples)).shape == (0, 39)
    assert Mfcc()(torch.zeros(2, num_samples)).shape == (2, 0, 39)


@pytest.mark.parametrize("num_coefficients", [0, 24])
def test_impossible_numbers_of_cepstra_are_refused(num_coefficients):
    with pytest.raises(ConfigError, match=f"num_coefficients={num_coefficients} must be between 1 and 23"):
        Mfcc(num_coefficients)


def test_the_registry_builds_what_the_config_says():
    assert list(FEATURES) == ["mfcc", "semitone", "chroma", "cqt", "logmel", "hidden", "residual", "combined"]
    feature = make_feature(MfccConfig(num_coefficients=20))
    assert (feature.name, feature.dim, feature.grid.frame_rate) == ("mfcc", 60, 100.0)


def test_stored_clips_are_read_at_full_scale_one():
    pcm = np.array([16384, -32768] * 400, np.int16)
    expected = Mfcc()(torch.tensor([0.5, -1.0] * 400))
    np.testing.assert_array_equal(clip_frames(Mfcc(), pcm), expected.numpy())
