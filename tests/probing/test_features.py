"""Feature chunks: which examples go where, what is kept, and what cannot be used."""

import errno
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.probing.features import (
    CHUNK_AUDIO_S,
    CHUNK_EXAMPLES,
    FeatureChunk,
    extract_chunk,
    load_chunk,
    load_facts,
    plan_chunks,
    read_stretch,
    save_chunk,
)
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
    examples = [example(path, index) for index, path in enumerate(paths)]
    examples.append(example(ramp_path, 3, offset_s=2.5, duration_s=30.0))
    chunk = extract_chunk(Recorder(), examples, pool="mean")
    assert list(chunk.features) == ["e0"]
    assert chunk.failed == {"e1": "undecodable", "e2": "undecodable", "e3": "too_short"}
    save_chunk(tmp_path / "chunk.safetensors", chunk)
    assert load_facts(tmp_path / "chunk.safetensors").failed == chunk.failed


def test_a_file_that_the_system_cannot_open_stops_with_a_remedy_and_is_not_noted_as_bad_for_good(ramp_path, tmp_path):
    examples = [example(ramp_path), example(tmp_path / "unmounted.wav", 1)]
    with pytest.raises(EnvironmentFaultError, match=r"unmounted.wav cannot be read now .*run the same command again"):
        extract_chunk(Recorder(), examples, pool="mean")


def test_a_fault_of_the_disk_is_not_taken_for_bad_audio(ramp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(EnvironmentFaultError, match=r"ramp.wav cannot be read now .*Input/output error"):
        extract_chunk(Recorder(), [example(ramp_path)], pool="mean")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_encoder_that_makes_no_numbers_of_good_audio_is_named_with_the_file(ramp_path, value):
    class Broken(Recorder):
        def embed(self, waveform, sample_rate, *, pool=None):
            return np.array([[1.0, value, 0.0, 0.0]], np.float32)

    with pytest.raises(DataError, match=r"recorder makes features that are NaN or infinite of .*ramp\.wav"):
        extract_chunk(Broken(), [example(ramp_path)], pool="mean")


def test_the_hash_of_a_chunk_tells_every_tensor_name_and_fault_apart(tmp_path):
    one, other = torch.zeros(1, 4).half(), torch.eye(4)[:1].half()
    chunks = [
        FeatureChunk(features={"a": one}, failed={}),
        FeatureChunk(features={"b": one}, failed={}),
        FeatureChunk(features={"a": other}, failed={}),
        FeatureChunk(features={"a": one.reshape(2, 2)}, failed={}),
        FeatureChunk(features={"a": one}, failed={"b": "missing"}),
    ]
    hashes = []
    for chunk in (*chunks, chunks[0]):
        save_chunk(tmp_path / "c.safetensors", chunk)
        hashes.append(load_facts(tmp_path / "c.safetensors").content_hash)
    assert len(set(hashes)) == len(chunks)
    assert hashes[0] == hashes[-1]


@pytest.mark.parametrize(("pool", "shape"), [("mean", (1, 4)), (None, (1, 2, 4))])
def test_a_chunk_is_read_back_as_it_was_saved(ramp_path, tmp_path, pool, shape):
    chunk = extract_chunk(Recorder(), [example(ramp_path, index) for index in range(3)], pool=pool)
    save_chunk(tmp_path / "chunk.safetensors", chunk)
    loaded = load_chunk(tmp_path / "chunk.safetensors")
    assert list(loaded.features) == ["e0", "e1", "e2"]
    for name, tensor in loaded.features.items():
        assert (tensor.dtype, tensor.shape) == (torch.float16, shape)
        assert torch.equal(tensor, chunk.features[name])


def test_an_empty_chunk_survives(tmp_path):
    save_chunk(tmp_path / "c.safetensors", FeatureChunk(features={}, failed={"a": "missing"}))
    assert load_chunk(tmp_path / "c.safetensors") == FeatureChunk(features={}, failed={"a": "missing"})


def test_a_damaged_chunk_stops_with_its_name(tmp_path):
    (tmp_path / "c.safetensors").write_bytes(b"short")
    for load in (load_chunk, load_facts):
        with pytest.raises(DataError, match=r"c\.safetensors cannot be read .*remove the file"):
            load(tmp_path / "c.safetensors")


def test_chunks_cover_every_example_once_and_stay_small():
    path = Path("x")
    durations = [30.0] * 9 + [0.5] * 300
    examples = [example(path, index, duration_s=duration) for index, duration in enumerate(durations)]
    plans = plan_chunks(examples, Path("folder"))
    assert [e for plan in plans for e in plan.examples] == examples
    assert all(plan.audio_s <= CHUNK_AUDIO_S and len(plan.examples) <= CHUNK_EXAMPLES for plan in plans)
    assert len({plan.path for plan in plans}) == len(plans) > 3
