import librosa
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.config.feature import ChromaConfig
from ray_musicssl.features.base import make_feature
from ray_musicssl.features.chroma import Chroma, chroma_bands
from ray_musicssl.features.constant_q import ConstantQ

WIDEST = {"lowest_midi": 12, "highest_midi": 118}


def chroma(**settings):
    return Chroma(ChromaConfig(**settings))


def notes(*midis, num_samples=32_000, level=0.1, num_partials=1):
    time = np.arange(num_samples) / 16_000
    hertz = [440 * 2 ** ((midi - 69) / 12) * partial for midi in midis for partial in range(1, num_partials + 1)]
    return torch.from_numpy((level * sum(np.sin(2 * np.pi * f * time + f) / f * 100 for f in hertz)).astype(np.float32))


@pytest.mark.parametrize("size", [1024, 4096, 8000])
def test_the_bins_belong_to_the_classes_that_librosa_gives_them_to(size):
    expected = librosa.filters.chroma(sr=16_000, n_fft=size, tuning=0.0, octwidth=None, dtype=np.float64).T
    found = chroma_bands(size, 36, 95).numpy()
    hertz = np.arange(size // 2 + 1) * 16_000 / size
    inside = (hertz > 63.6) & (hertz < 2033)  # a quarter tone below C2 and above B6
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-12)
    assert (found[~inside] == 0).all()


@pytest.mark.parametrize("window_s", [0.256, 0.5])
@pytest.mark.parametrize(("norm", "order"), [("euclidean", 2), ("max", np.inf), ("sum", 1)])
def test_frames_equal_librosa_s_of_the_shifted_clip(norm, order, window_s):
    waveform = notes(45, 52, 61, 76, num_partials=4) + notes(90, level=2.0)
    size = round(window_s * 16_000)
    stft = {"n_fft": size, "hop_length": 320, "window": "hann", "center": True}
    # librosa's frame t is centred on sample 320 t, ours on 320 t + 200.
    expected = librosa.feature.chroma_stft(
        y=waveform.numpy()[200:], sr=16_000, norm=order, tuning=0.0, octwidth=None, **stft
    ).T
    found = chroma(norm=norm, compression="power", window_s=window_s, **WIDEST)(waveform).numpy()
    inside = slice(size // 640 + 1, -(size // 640 + 1))  # windows that reach beyond neither end
    np.testing.assert_allclose(found[inside], expected[: len(found)][inside], rtol=1e-3, atol=1e-5)


def test_frames_of_another_tuning_are_told_apart():
    """The twin of the test above: a tenth of a semitone is seen."""
    waveform = notes(45, 52, 61, 76)
    tuned = librosa.feature.chroma_stft(
        y=waveform.numpy()[200:], sr=16_000, n_fft=4096, hop_length=320, norm=2, tuning=0.1, octwidth=None
    ).T
    found = chroma(compression="power", **WIDEST)(waveform).numpy()
    assert np.abs(found - tuned[: len(found)])[10:-10].max() > 1e-2


def test_a_folded_constant_q_transform_is_what_librosa_folds():
    waveform = notes(45, 52, 61, 76, num_partials=4)
    powers = ConstantQ(36, 60, 12)(waveform[None])[0].numpy().T
    expected = librosa.feature.chroma_cqt(C=powers, sr=16_000, bins_per_octave=12, norm=2, fmin=65.406).T
    found = chroma(spectrum="cqt", compression="power")(waveform).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    lowest_a = librosa.feature.chroma_cqt(C=powers, sr=16_000, bins_per_octave=12, norm=2, fmin=69.296).T
    assert np.abs(found - lowest_a).max() > 0.1  # folded from another note it would be seen


@pytest.mark.parametrize(("compression", "turn"), [("log", np.log1p), ("amplitude", np.asarray)])
def test_compression_is_of_a_class_s_amplitude(compression, turn):
    waveform = notes(57, 64, level=0.5)
    middle = 320 * 25 + 200
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(4096) / 4096)
    spectrum = np.fft.rfft(waveform.double().numpy()[middle - 2048 : middle + 2048] * hann * 1000 * 2 / hann.sum())
    expected = turn(np.sqrt(np.abs(spectrum) ** 2 @ chroma_bands(4096, 36, 95).numpy()))
    found = chroma(compression=compression)(waveform)[25].numpy()
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("spectrum", ["stft", "cqt"])
@pytest.mark.parametrize("midi", range(48, 96))
def test_a_note_is_its_pitch_class_in_every_octave(midi, spectrum):
    frames = chroma(spectrum=spectrum)(notes(midi, num_samples=8_000))
    assert (frames[8:-8].argmax(dim=-1) == midi % 12).all()


def test_notes_beyond_the_range_do_not_count():
    alone, beside = notes(60), notes(60) + notes(114, level=3.0)
    torch.testing.assert_close(chroma()(beside)[10:-10], chroma()(alone)[10:-10], rtol=0, atol=2e-2)
    assert (chroma(**WIDEST)(beside)[10:-10] - chroma()(alone)[10:-10]).norm(dim=-1).min() > 0.1


@pytest.mark.parametrize("norm", ["euclidean", "max", "sum"])
def test_sound_has_norm_one_and_silence_none(norm):
    frames = chroma(norm=norm)(torch.cat([notes(60), torch.zeros(16_000)]))
    norms = torch.linalg.vector_norm(frames, ord={"euclidean": 2, "max": torch.inf, "sum": 1}[norm], dim=-1)
    torch.testing.assert_close(norms[:90], torch.ones(90))
    assert (frames[-20:] == 0).all()


def test_a_batch_equals_its_rows():
    batch = torch.stack([notes(50, num_samples=40_000), notes(71, num_samples=40_000), torch.zeros(40_000)])
    feature = chroma()
    torch.testing.assert_close(feature(batch), torch.stack([feature(row) for row in batch]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_samples", [0, 399, 400, 719, 720, 16_000])
def test_there_are_as_many_frames_as_the_encoder_gives(num_samples):
    assert chroma()(torch.ones(num_samples)).shape == (ENCODER_GRID.num_frames(num_samples), 12)


def test_a_range_without_some_class_is_refused():
    with pytest.raises(ValidationError, match="highest_midi must be at least lowest_midi \\+ 11"):
        ChromaConfig(lowest_midi=60, highest_midi=70)


def test_a_window_that_would_not_be_used_is_refused():
    with pytest.raises(ValidationError, match=r"window_s=0\.5 has no effect with spectrum=cqt"):
        ChromaConfig(spectrum="cqt", window_s=0.5)


def test_the_config_reaches_the_feature():
    feature = make_feature(ChromaConfig(lowest_midi=72, highest_midi=84))
    assert (feature.name, feature.dim, feature.grid) == ("chroma", 12, ENCODER_GRID)
    assert (feature(notes(48, 79))[20].argmax() == 79 % 12).all()
