import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.config.feature import SemitoneConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.features.base import make_feature
from ray_musicssl.features.semitone import Semitone


def tone(midi, num_samples=16000, level=0.3):
    hertz = 440.0 * 2 ** ((midi - 69) / 12)
    return torch.from_numpy((level * np.sin(2 * np.pi * hertz * np.arange(num_samples) / 16000)).astype(np.float32))


def click(at, num_samples=16000):
    waveform = torch.zeros(num_samples)
    waveform[at] = 0.5
    return waveform


@pytest.mark.parametrize("midi", range(33, 93))
def test_a_pure_tone_peaks_in_its_own_band(midi):
    peaks = Semitone()(tone(midi)).argmax(dim=-1)
    assert (peaks == midi - 33).all()


@pytest.mark.parametrize("level", [0.5, 0.02])
def test_the_peak_does_not_depend_on_loudness(level):
    assert (Semitone()(tone(57, level=level)).argmax(dim=-1) == 24).all()


@pytest.mark.parametrize("num_samples", [0, 399, 400, 719, 720, 16000, 80000])
@pytest.mark.parametrize("window_s", [0.064, 0.256, 1.024])
def test_there_are_as_many_frames_as_the_encoder_gives(num_samples, window_s):
    frames = Semitone(window_s=window_s)(torch.ones(num_samples))
    assert frames.shape == (ENCODER_GRID.num_frames(num_samples), 60)


def test_a_click_is_heard_by_the_windows_that_cover_it():
    at = 8200
    centres = 320 * torch.arange(ENCODER_GRID.num_frames(16000)) + 200
    heard = Semitone()(click(at)).norm(dim=-1) > 0
    # A Hann window of 4096 samples reaches 2047 samples to each side of its centre before it is zero.
    assert torch.equal(heard, (centres - at).abs() <= 2047)


def test_frames_are_symmetric_around_their_centre():
    frame, centre = 20, 320 * 20 + 200
    for distance in (1, 300, 1500):
        before, after = (Semitone()(click(centre + sign * distance))[frame] for sign in (-1, 1))
        torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    # The twin: one hop off the centre the two sides differ, so the equality above says something.
    loud, soft = (Semitone()(click(centre + offset) + 0.1 * tone(69))[frame] for offset in (-320 - 1000, -320 + 1000))
    assert (loud - soft).norm() > 1e-3


def test_a_window_in_the_clip_equals_the_windowed_spectrum_done_by_hand():
    waveform = torch.randn(16000, generator=torch.Generator().manual_seed(0)) * 0.1
    frame, middle = 25, 320 * 25 + 200
    stretch = waveform[middle - 2048 : middle + 2048].double().numpy()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(4096) / 4096)
    power = np.abs(np.fft.rfft(stretch * hann) * 1000 * 2 / hann.sum()) ** 2
    hertz = np.arange(2049) * 16000 / 4096
    expected = np.zeros(60)
    for band in range(60):
        centre = 440 * 2 ** ((33 + band - 69) / 12)
        width = max(centre * (2 ** (1 / 12) - 1), 16000 / 4096)
        expected[band] = np.log1p(np.sqrt(power @ np.clip(1 - np.abs(hertz - centre) / width, 0, None)))
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(Semitone()(waveform)[frame].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_frames_have_length_one_and_silence_none():
    frames = Semitone()(torch.cat([tone(60), torch.zeros(16000)]))
    torch.testing.assert_close(frames[:40].norm(dim=-1), torch.ones(40))
    assert (frames[-20:] == 0).all()


def test_a_batch_equals_its_rows():
    batch = torch.stack([tone(50, 40_000), tone(70, 40_000), torch.zeros(40_000)])
    feature = Semitone()
    torch.testing.assert_close(feature(batch), torch.stack([feature(row) for row in batch]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window_s", [0.064, 0.3, 1.024])
@pytest.mark.parametrize(("lowest_midi", "num_semitones"), [(12, 96), (96, 23)])
def test_every_band_owns_a_bin(lowest_midi, num_semitones, window_s):
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(1))
    frames = Semitone(lowest_midi, num_semitones, window_s)(noise)
    assert (frames[10:30] > 0).all()


def test_bands_beyond_half_the_sample_rate_are_refused():
    with pytest.raises(ConfigError, match="reach MIDI note 119; 118 is the last below 8 kHz"):
        Semitone(96, 24)
    with pytest.raises(ValidationError, match="reach MIDI note 119"):
        SemitoneConfig(lowest_midi=96, num_semitones=24)


def test_the_config_reaches_the_feature():
    feature = make_feature(SemitoneConfig(lowest_midi=45, num_semitones=24, window_s=0.128))
    assert (feature.name, feature.dim, feature.grid) == ("semitone", 24, ENCODER_GRID)
    assert (feature(tone(45)).argmax(dim=-1) == 0).all()
