import librosa
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.config.feature import CqtConfig
from ray_musicssl.features import constant_q
from ray_musicssl.features.base import make_feature
from ray_musicssl.features.constant_q import ConstantQ
from ray_musicssl.features.cqt import Cqt


def tones(*hertz, num_samples=40_000, level=0.3):
    time = np.arange(num_samples) / 16_000
    return torch.from_numpy((level * sum(np.sin(2 * np.pi * f * time + f) for f in hertz)).astype(np.float32))


def noise(num_samples=40_000):
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(0))


SIGNALS = {
    "tone": tones(440.0),
    "chord": tones(110, 138.59, 164.81, 330, 659.26, 1318.5, 2637, level=0.1),
    "noise": noise(),
}
TRANSFORMS = {  # lowest_midi, num_bins, bins_per_octave, filter_scale
    "notes": (36, 72, 12, 1.0),
    "quarter tones": (36, 144, 24, 1.0),
    "thirds of semitones": (24, 252, 36, 1.0),
    "long kernels": (24, 84, 12, 2.0),
}
# The largest difference in thousandths of the loudest bin. librosa rounds its windows to whole samples at the rate they
# are heard at, some dozens there, ours are as long as the formula says: with kernels twice as long it halves.
TOLERANCES = {"notes": 35, "quarter tones": 17, "thirds of semitones": 15, "long kernels": 13}


def magnitudes(waveform, transform):
    return ConstantQ(*TRANSFORMS[transform])(waveform[None])[0].sqrt().numpy()


def frequencies(transform):
    lowest_midi, num_bins, bins_per_octave, _ = TRANSFORMS[transform]
    return 440 * 2 ** ((lowest_midi - 69) / 12 + np.arange(num_bins) / bins_per_octave)


def librosa_magnitudes(waveform, transform):
    """librosa's, where a sine of amplitude 0.001 gives 1 too; its frame t + 1 of the padded clip is our frame t."""
    _, num_bins, bins_per_octave, filter_scale = TRANSFORMS[transform]
    hertz = frequencies(transform)
    settings = {"n_bins": num_bins, "bins_per_octave": bins_per_octave, "filter_scale": filter_scale}
    padded = np.pad(waveform.numpy(), (120, 0))
    found = librosa.cqt(padded, sr=16_000, hop_length=320, fmin=hertz[0], tuning=0.0, sparsity=0.0, **settings)
    lengths, _ = librosa.filters.wavelet_lengths(freqs=hertz, sr=16_000, filter_scale=filter_scale)
    return np.abs(found.T)[1:] * 2000 / np.sqrt(lengths)


def by_hand(waveform, transform, bins, frame):
    """The sums of the definition, in float64 at the full rate."""
    _, _, bins_per_octave, filter_scale = TRANSFORMS[transform]
    step = 2 ** (1 / bins_per_octave)
    quality = filter_scale * (step**2 + 1) / (step**2 - 1)
    time = (np.arange(len(waveform)) - (320 * frame + 200)) / 16_000
    found = []
    for hertz in frequencies(transform)[bins]:
        length_s = quality / hertz
        window = np.where(np.abs(time) < length_s / 2, 0.5 + 0.5 * np.cos(2 * np.pi * time / length_s), 0)
        whole = np.sum(0.5 + 0.5 * np.cos(2 * np.pi * np.arange(-0.5, 0.5, 1 / 16_000 / length_s)))
        found.append(abs(waveform.double().numpy() @ (window * np.exp(-2j * np.pi * hertz * time))) * 2000 / whole)
    return np.array(found)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_magnitudes_equal_librosa_s(transform, signal):
    found, expected = magnitudes(SIGNALS[signal], transform), librosa_magnitudes(SIGNALS[signal], transform)
    errors = np.abs(found - expected[: len(found)])
    assert errors[5:-5].max() <= TOLERANCES[transform] / 1000 * expected.max()
    # Whoever filters first and cuts at the ends afterwards hears the ends a little differently.
    assert errors.max() <= 3 * TOLERANCES[transform] / 1000 * expected.max()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_magnitudes_equal_the_sums_of_the_definition(transform):
    bins = np.arange(0, TRANSFORMS[transform][1], TRANSFORMS[transform][1] // 8)
    found = magnitudes(SIGNALS["noise"], transform)[60, bins]
    expected = by_hand(SIGNALS["noise"], transform, bins, 60)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3 * expected.max())


def test_a_blunt_halving_filter_would_be_heard(monkeypatch):
    """The twin of the test above."""
    monkeypatch.setattr(constant_q, "STOPBAND_DB", 20.0)
    bins = np.arange(0, 72, 7)
    found = magnitudes(SIGNALS["noise"], "notes")[60, bins]
    expected = by_hand(SIGNALS["noise"], "notes", bins, 60)
    assert np.abs(found - expected).max() > 0.02 * expected.max()


def test_magnitudes_half_a_frame_later_are_others():
    """The twin of the test beside librosa: a shift by half a hop is beyond the tolerance."""
    found, expected = magnitudes(SIGNALS["noise"][160:], "notes"), librosa_magnitudes(SIGNALS["noise"], "notes")
    assert np.abs(found - expected[: len(found)])[5:-5].max() > 5 * TOLERANCES["notes"] / 1000 * expected.max()


def feature(**settings):
    return Cqt(CqtConfig(**settings))


@pytest.mark.parametrize("bins_per_octave", [12, 24, 36])
@pytest.mark.parametrize("midi", [12, 29, 47, 60, 71, 90, 107])
def test_a_tone_peaks_in_its_own_bin(midi, bins_per_octave):
    cqt = feature(lowest_midi=12, num_bins=96 * bins_per_octave // 12, bins_per_octave=bins_per_octave)
    frames = cqt(tones(440 * 2 ** ((midi - 69) / 12), num_samples=160_000))
    assert (frames[100:-100].argmax(dim=-1) == (midi - 12) * bins_per_octave // 12).all()


def test_a_tone_of_a_thousandth_is_at_the_knee():
    power = ConstantQ(36, 72, 12)(tones(440.0, level=0.001)[None])[0, 50, 69 - 36]
    assert power.item() == pytest.approx(1.0, rel=1e-3)


def test_frames_have_length_one_and_silence_none():
    frames = feature()(torch.cat([tones(262.0), torch.zeros(40_000)]))
    torch.testing.assert_close(frames[:100].norm(dim=-1), torch.ones(100))
    assert (frames[-60:] == 0).all()


def test_a_batch_equals_its_rows():
    batch = torch.stack([tones(100.0), noise(), torch.zeros(40_000)])
    cqt = feature()
    torch.testing.assert_close(cqt(batch), torch.stack([cqt(row) for row in batch]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_samples", [0, 399, 400, 719, 720, 16_000])
def test_there_are_as_many_frames_as_the_encoder_gives(num_samples):
    assert feature()(torch.ones(num_samples)).shape == (ENCODER_GRID.num_frames(num_samples), 72)


def test_bins_beyond_half_the_sample_rate_are_refused():
    with pytest.raises(ValidationError, match=r"reach MIDI note 119\.0; 118 is the last below 8 kHz"):
        CqtConfig(lowest_midi=36, num_bins=84)
    assert CqtConfig(lowest_midi=36, num_bins=83).num_bins == 83


def test_the_config_reaches_the_feature():
    cqt = make_feature(CqtConfig(lowest_midi=48, num_bins=48, bins_per_octave=24, filter_scale=0.5))
    assert (cqt.name, cqt.dim, cqt.grid) == ("cqt", 48, ENCODER_GRID)
    assert cqt(tones(440 * 2 ** (-20.5 / 12)))[60].argmax() == 1
