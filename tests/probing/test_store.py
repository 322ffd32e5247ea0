"""Where features are kept: files of a few stretches, and where to find each again."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.probing import store as store_module
from ray_musicssl.probing.features import FeatureChunk, extract_chunk, pooled
from ray_musicssl.probing.store import (
    CHUNK_AUDIO_S,
    CHUNK_STRETCHES,
    FeatureStore,
    hash_of_places,
    read_places,
    save_chunk,
)
from ray_musicssl.tasks.base import Example


def chunk_of(*keys, failed=()):
    """A tensor of its own for each key."""
    features = {key: torch.full((2, 6), float(ord(key[0]))).half() for key in keys}
    return FeatureChunk(features=features, failed=dict.fromkeys(failed, "undecodable"))


def example(index=0, duration_s=1.0, path="x"):
    return Example(id=f"e{index}", track="t", path=Path(path), split="train", target=0, duration_s=duration_s)


def test_what_is_kept_is_found_again_by_its_key_in_any_order_of_files(tmp_path):
    save_chunk(tmp_path / "mean" / "1.safetensors", chunk_of("a", "c", failed=["bad"]))
    save_chunk(tmp_path / "mean" / "2.safetensors", chunk_of("b", "d"))
    store = FeatureStore(tmp_path, "mean")
    found = read_places([store.find(key) for key in "abcda"])
    assert [tensor[0, 0].item() for tensor in found] == [ord(key) for key in "abcda"]
    assert (store.find("bad").fault, store.find("a").fault, store.find("e")) == ("undecodable", None, None)


def test_files_that_come_and_go_are_seen_at_the_next_look(tmp_path):
    store = FeatureStore(tmp_path, None)
    save_chunk(tmp_path / "frames" / "1.safetensors", chunk_of("a"))
    assert store.find("a") is None
    store.look()
    assert store.find("a").path == tmp_path / "frames" / "1.safetensors"
    (tmp_path / "frames" / "1.safetensors").unlink()
    store.look()
    assert store.find("a") is None


class Pooling:
    """Frames that follow from the audio, and their statistics."""

    name = "pooling"

    def embed(self, waveform, sample_rate, *, pool=None):
        return pooled(waveform[:1, :3000].reshape(2, 500, 3), pool)


def test_the_mean_is_found_where_mean_and_deviation_are_and_is_the_same_to_the_bit(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).uniform(-1, 1, 3000), 1000, subtype="FLOAT")
    heard = {"a": example(duration_s=None, path=tmp_path / "x.wav")}
    means = []
    for made in ("mean", "mean+sd"):
        store = FeatureStore(tmp_path / made, made)
        (plan,) = store.plan(heard)
        save_chunk(plan.path, extract_chunk(Pooling(), plan.stretches, pool=made))
        means += read_places([FeatureStore(tmp_path / made, "mean").find("a")])
    assert means[0].shape == (2, 3)
    assert torch.equal(*means)
    assert FeatureStore(tmp_path / "mean", "mean+sd").find("a") is None  # the other way round nothing is found


def test_files_cover_every_stretch_once_and_stay_small(tmp_path):
    durations = [30.0] * 9 + [0.5] * 300 + [500.0, 1.0]
    heard = {f"k{index}": example(index, duration) for index, duration in enumerate(durations)}
    plans = FeatureStore(tmp_path, "mean").plan(heard)
    assert [entry for plan in plans for entry in plan.stretches.items()] == list(heard.items())
    assert [len(plan.stretches) for plan in plans] == [4, 4, 128, 128, 45, 1, 1]
    assert all(plan.audio_s <= CHUNK_AUDIO_S or len(plan.stretches) == 1 for plan in plans)
    assert CHUNK_STRETCHES == 128
    assert len({plan.path for plan in plans}) == len(plans)
    assert FeatureStore(tmp_path, "mean").plan(heard) == plans


def test_removing_takes_every_file_that_a_stretch_would_be_found_in_and_no_other(tmp_path):
    for name, keys in (("mean/1", "ab"), ("mean/2", "c"), ("mean+sd/3", "ad"), ("mean+sd/4", "e"), ("frames/5", "a")):
        save_chunk(tmp_path / f"{name}.safetensors", chunk_of(*keys))
    store = FeatureStore(tmp_path, "mean")
    store.remove(["a"])
    assert sorted(path.stem for path in tmp_path.rglob("*.safetensors")) == ["2", "4", "5"]
    assert [key for key in "abcde" if store.find(key)] == ["c", "e"]


def test_the_hash_of_places_tells_every_tensor_and_fault_apart_and_not_the_files(tmp_path):
    one, other = torch.zeros(1, 4).half(), torch.eye(4)[:1].half()
    chunks = [
        FeatureChunk(features={"a": one}, failed={}),
        FeatureChunk(features={"a": other}, failed={}),
        FeatureChunk(features={"a": one.reshape(2, 2)}, failed={}),
        FeatureChunk(features={}, failed={"a": "missing"}),
        FeatureChunk(features={}, failed={"a": "empty"}),
        FeatureChunk(features={"a": one, "b": other}, failed={}),
    ]
    hashes = []
    for index, chunk in enumerate(chunks):
        save_chunk(tmp_path / str(index) / "mean" / f"{index}.safetensors", chunk)
        hashes.append(hash_of_places([FeatureStore(tmp_path / str(index), "mean").find("a")]))
    assert len(set(hashes)) == 5
    assert hashes[0] == hashes[5]


def test_equal_chunks_are_equal_bytes(tmp_path):
    for name in ("1", "2"):
        save_chunk(tmp_path / name, chunk_of("b", "a", "c", failed=["bad"]))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_what_a_damaged_file_held_counts_as_not_there_and_is_told(tmp_path, caplog):
    save_chunk(tmp_path / "mean" / "1.safetensors", chunk_of("a"))
    save_chunk(tmp_path / "mean" / "2.safetensors", chunk_of("b"))
    place = FeatureStore(tmp_path, "mean").find("a")
    (tmp_path / "mean" / "1.safetensors").write_bytes(b"short")
    with caplog.at_level(logging.WARNING):
        store = FeatureStore(tmp_path, "mean")
    assert (store.find("a"), store.find("b") is None) == (None, False)
    assert "1.safetensors are damaged" in caplog.text
    for _ in range(2):  # damaged, then gone
        with pytest.raises(DataError, match=r"1\.safetensors cannot be read .*remove the file"):
            list(read_places([place]))
        place.path.unlink(missing_ok=True)


def test_a_file_that_the_system_does_not_give_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    save_chunk(tmp_path / "mean" / "1.safetensors", chunk_of("a"))

    def fail(*_, **__):
        raise PermissionError("Permission denied")

    monkeypatch.setattr(store_module, "safe_open", fail)
    with pytest.raises(EnvironmentFaultError, match=r"1\.safetensors cannot be read now .*run the same command again"):
        FeatureStore(tmp_path, "mean")
