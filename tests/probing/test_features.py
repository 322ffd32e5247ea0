"""Features of stretches of audio: what is heard, and what cannot be used."""

import errno

import numpy as np
import pytest
import soundfile
import torch

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.probing.features import extract_chunk, read_stretch
from ray_musicssl.tasks.base import Example


class Recorder:
    """Gives back the start of what it is handed."""

    name, content_hash, num_layers, dim, frame_rate = "recorder", "0", 1, 4, 50.0

    def embed(self, waveform, sample_rate, *, pool=None):
        return waveform[:1, :4].copy() if pool else waveform[:1, :8].reshape(1, 2, 4).copy()


def example(path, index=0, **bounds):
    return Example(id=f"e{index}", track="t", path=path, split="train", target=0, **bounds)


@pytest.fixture
def ramp_path(tmp_path):
    """Three seconds at 1 kHz, stereo; sample n of the left channel is n / 4000."""
    left = np.arange(3000) / 4000
    soundfile.write(tmp_path / "ramp.wav", np.stack([left, -left], axis=1), 1000, subtype="FLOAT")
    return tmp_path / "ramp.wav"


def test_an_example_is_cut_where_it_says(ramp_path):
    stretch = read_stretch(example(ramp_path, offset_s=0.5, duration_s=1.25))
    assert (stretch.waveform.shape, stretch.sample_rate) == ((2, 1250), 1000)
    np.testing.assert_allclose(stretch.waveform[0], np.arange(500, 1750) / 4000, rtol=1e-6)
    assert read_stretch(example(ramp_path)).waveform.shape == (2, 3000)


def test_bad_audio_is_noted_and_the_rest_goes_on(ramp_path, tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.full(3000, np.nan), 1000, subtype="FLOAT")
    (tmp_path / "noise.wav").write_bytes(b"no audio")
    paths = [ramp_path, tmp_path / "nan.wav", tmp_path / "noise.wav"]
    stretches = {f"k{index}": example(path, index) for index, path in enumerate(paths)}
    stretches["k3"] = example(ramp_path, 3, offset_s=2.5, duration_s=30.0)
    chunk = extract_chunk(Recorder(), stretches, pool="mean")
    assert list(chunk.features) == ["k0"]
    assert chunk.failed == {"k1": "undecodable", "k2": "undecodable", "k3": "too_short"}


def test_a_file_that_the_system_cannot_open_stops_with_a_remedy_and_is_not_noted_as_bad_for_good(ramp_path, tmp_path):
    stretches = {"a": example(ramp_path), "b": example(tmp_path / "unmounted.wav", 1)}
    with pytest.raises(EnvironmentFaultError, match=r"unmounted.wav cannot be read now .*run the same command again"):
        extract_chunk(Recorder(), stretches, pool="mean")


def test_a_fault_of_the_disk_is_not_taken_for_bad_audio(ramp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(EnvironmentFaultError, match=r"ramp.wav cannot be read now .*Input/output error"):
        extract_chunk(Recorder(), {"a": example(ramp_path)}, pool="mean")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_encoder_that_makes_no_numbers_of_good_audio_is_named_with_the_file(ramp_path, value):
    class Broken(Recorder):
        def embed(self, waveform, sample_rate, *, pool=None):
            return np.array([[1.0, value, 0.0, 0.0]], np.float32)

    with pytest.raises(DataError, match=r"recorder makes features that are NaN or infinite of .*ramp\.wav"):
        extract_chunk(Broken(), {"a": example(ramp_path)}, pool="mean")


@pytest.mark.parametrize(("pool", "shape"), [("mean", (1, 4)), (None, (1, 2, 4))])
def test_features_are_kept_in_half_precision(ramp_path, pool, shape):
    (tensor,) = extract_chunk(Recorder(), {"a": example(ramp_path)}, pool=pool).features.values()
    assert (tensor.dtype, tensor.shape) == (torch.float16, shape)
    np.testing.assert_allclose(tensor.flatten()[:4], np.arange(4) / 4000, rtol=1e-3)
