"""Where features are kept: files of a few stretches, and where to find each again."""

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


def read(store, *keys):
    """The first value of each tensor, None where there is none."""
    return [tensor if tensor is None else chr(int(tensor[0, 0])) for tensor in read_places(store.places(keys))]


def test_what_is_kept_is_found_again_by_its_key_in_any_order_of_files(tmp_path):
    save_chunk(tmp_path / "mean" / "1.safetensors", chunk_of("a", "c", failed=["bad"]))
    save_chunk(tmp_path / "mean" / "2.safetensors", chunk_of("b", "d"))
    store = FeatureStore(tmp_path, "mean")
    assert read(store, "a", "b", "c", "bad", "d", "a") == ["a", "b", "c", None, "d", "a"]
    places = store.places(["a", "bad", "b"])
    assert (places.faults, places.file_of.tolist(), len(places.files)) == ({1: "undecodable"}, [0, 0, 1], 2)
    assert (store.has("a"), store.has("bad"), store.has("e"), store.places(["a", "e"])) == (True, True, False, None)


def test_files_that_come_and_go_or_change_are_seen_at_the_next_look(tmp_path):
    store = FeatureStore(tmp_path, None)
    path = tmp_path / "frames" / "1.safetensors"
    save_chunk(path, chunk_of("a"))
    assert not store.has("a")
    store.look()
    assert store.has("a")
    save_chunk(path, chunk_of("b"))
    for kept in (store, FeatureStore(tmp_path, None)):  # one that remembers, one that reads what is remembered
        kept.look()
        assert (kept.has("a"), read(kept, "b")) == (False, ["b"])
    path.unlink()
    store.look()
    assert not store.has("b")


def test_a_file_is_read_once_by_however_many_who_look(tmp_path, monkeypatch):
    for name in "abc":
        save_chunk(tmp_path / "mean" / f"{name}.safetensors", chunk_of(name))
    opened, about = [], store_module._about
    monkeypatch.setattr(store_module, "_about", lambda path: opened.append(path.stem) or about(path))
    FeatureStore(tmp_path, "mean").look()
    assert opened == ["a", "b", "c"]
    save_chunk(tmp_path / "mean" / "d.safetensors", chunk_of("d"))
    store = FeatureStore(tmp_path, "mean")
    assert (opened, read(store, "d", "a")) == (["a", "b", "c", "d"], ["d", "a"])
    for damage in ("[1]", "{", '{"a.safetensors": 3}'):
        (tmp_path / "mean" / "index.json").write_text(damage)
        assert read(FeatureStore(tmp_path, "mean"), "a", "d") == ["a", "d"]


def test_a_file_that_goes_while_it_is_looked_at_is_one_that_is_gone(tmp_path, monkeypatch):
    for name in "ab":
        save_chunk(tmp_path / "mean" / f"{name}.safetensors", chunk_of(name))
    about = store_module._about

    def gone(path):
        path.unlink()
        return about(path)

    monkeypatch.setattr(store_module, "_about", gone)
    store = FeatureStore(tmp_path, "mean")
    assert not store.has("a")
    assert not store.has("b")


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
        means += read_places(FeatureStore(tmp_path / made, "mean").places(["a"]))
    assert means[0].shape == (2, 3)
    assert torch.equal(*means)
    assert not FeatureStore(tmp_path / "mean", "mean+sd").has("a")  # the other way round nothing is found


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


def test_clearing_takes_every_form_that_a_stretch_would_be_found_in_and_what_is_damaged(tmp_path):
    for name in ("mean/1", "mean/2", "mean+sd/3", "frames/5"):
        save_chunk(tmp_path / f"{name}.safetensors", chunk_of(name[-1]))
    (tmp_path / "mean" / "2.safetensors").write_bytes(b"short")
    store = FeatureStore(tmp_path, "mean")
    store.clear()
    assert [path.name for path in tmp_path.rglob("*.*")] == ["5.safetensors"]
    assert not any(store.has(key) for key in "123")


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
        hashes.append(FeatureStore(tmp_path / str(index), "mean").places(["a"]).content_hash())
    assert len(set(hashes)) == 5
    assert hashes[0] == hashes[5]


def test_equal_chunks_are_equal_bytes(tmp_path):
    for name in ("1", "2"):
        save_chunk(tmp_path / name, chunk_of("b", "a", "c", failed=["bad"]))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_what_a_damaged_file_held_counts_as_not_there_and_is_told_once(tmp_path, caplog):
    save_chunk(tmp_path / "mean" / "1.safetensors", chunk_of("a"))
    save_chunk(tmp_path / "mean" / "2.safetensors", chunk_of("b"))
    places = FeatureStore(tmp_path, "mean").places(["b", "a"])
    (tmp_path / "mean" / "1.safetensors").write_bytes(b"short")
    store = FeatureStore(tmp_path, "mean")
    store.look()
    assert (store.has("a"), store.has("b")) == (False, True)
    assert caplog.text.count("1.safetensors: it is damaged") == 1
    for _ in range(2):  # damaged, then gone
        with pytest.raises(DataError, match=r"1\.safetensors cannot be read .*remove the file"):
            list(read_places(places))
        (tmp_path / "mean" / "1.safetensors").unlink(missing_ok=True)


def test_features_with_a_flipped_bit_are_refused(tmp_path):
    path = tmp_path / "mean+sd" / "1.safetensors"
    save_chunk(path, chunk_of("a", "b"))
    places = FeatureStore(tmp_path, "mean").places(["a", "b"])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # of the half that is not wanted
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"1\.safetensors are not those that were saved there; remove the file"):
        list(read_places(places))


def test_a_file_that_the_system_does_not_give_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    save_chunk(tmp_path / "mean" / "1.safetensors", chunk_of("a"))

    def fail(*_, **__):
        raise PermissionError("Permission denied")

    monkeypatch.setattr(store_module, "safe_open", fail)
    with pytest.raises(EnvironmentFaultError, match=r"1\.safetensors cannot be read now .*run the same command again"):
        FeatureStore(tmp_path, "mean")
