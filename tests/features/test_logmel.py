import pytest
import torch
import torchaudio
from pydantic import ValidationError

from ray_musicssl.audio.frames import MFCC_GRID
from ray_musicssl.config.feature import LogmelConfig
from ray_musicssl.features.base import make_feature
from ray_musicssl.features.kaldi import mel_bands
from ray_musicssl.features.logmel import Logmel


def noise(*shape, seed=0, level=0.1):
    return level * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logmel(num_bands=80):
    return Logmel(LogmelConfig(num_bands=num_bands))


def kaldi(waveform, num_bands=80):
    return torchaudio.compliance.kaldi.fbank(waveform[None], num_mel_bins=num_bands, dither=0.0)


@pytest.mark.parametrize("num_bands", [4, 23, 40, 80, 126])
@pytest.mark.parametrize("num_samples", [400, 559, 560, 50_000])
def test_equals_kaldi_on_noise(num_samples, num_bands):
    waveform = noise(num_samples, seed=num_samples)
    found, expected = logmel(num_bands)(waveform), kaldi(waveform, num_bands)
    assert found.shape == expected.shape
    # Where a band holds a single weak bin, float32 rounding of the spectrum shows in its logarithm.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=5e-3)
    assert (found - expected).norm() <= 1e-4 * expected.norm()


def test_equals_kaldi_on_tones_with_an_offset():
    time = torch.arange(20_000) / 16_000
    waveform = 0.2 + 0.1 * torch.sin(2 * torch.pi * 440 * time) + noise(20_000, level=1e-3)
    assert (logmel()(waveform) - kaldi(waveform)).norm() <= 1e-4 * kaldi(waveform).norm()


def test_a_shifted_band_would_be_seen():
    waveform = noise(8_000)
    expected = kaldi(waveform, 81)[:, :80]
    assert (logmel()(waveform) - expected).norm() > 1e-3 * expected.norm()


def test_every_band_has_a_bin():
    for num_bands in range(4, 127):
        assert (mel_bands(num_bands).sum(dim=0) > 0).all(), num_bands


def test_silence_gives_the_log_floor():
    expected = torch.tensor(torch.finfo(torch.float32).eps).log()
    assert (logmel()(torch.zeros(4_000)) == expected).all()


def test_a_batch_equals_its_rows():
    batch = noise(3, 100_000)
    feature = logmel()
    torch.testing.assert_close(feature(batch), torch.stack([feature(row) for row in batch]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("num_samples", [0, 1, 399])
def test_too_short_audio_gives_no_frames(num_samples):
    assert logmel()(torch.zeros(num_samples)).shape == (0, 80)
    assert logmel()(torch.zeros(2, num_samples)).shape == (2, 0, 80)


def test_the_config_reaches_the_feature():
    feature = make_feature(LogmelConfig(num_bands=40))
    assert (feature.name, feature.dim, feature.grid) == ("logmel", 40, MFCC_GRID)
    with pytest.raises(ValidationError, match="less than or equal to 126"):
        LogmelConfig(num_bands=127)
