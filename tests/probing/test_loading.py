"""From features on disk to splits: what is left out, and windows that become one example."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import DataError
from ray_musicssl.probing import loading
from ray_musicssl.probing.features import FeatureChunk
from ray_musicssl.probing.fit import fit_probe
from ray_musicssl.probing.loading import load_splits
from ray_musicssl.probing.rows import ProbeSplit
from ray_musicssl.probing.store import FeatureStore, read_places, save_chunk
from ray_musicssl.tasks.base import SPLITS, Example, TaskData
from ray_musicssl.tasks.giantsteps import KEYS, GiantStepsKey

WINDOWS = {"a": 3, "b": 1, "c": 2}  # of each track of a split

on_linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process maps")


def window(split, track, index, target):
    name = f"{split}-{track}"
    return Example(id=f"{name}-{index}", track=name, path=Path("x"), split=split, target=target, offset_s=30.0 * index)


@pytest.fixture
def windows():
    """Three tracks a split, of one to three windows, with the tracks' answers."""
    examples = [
        window(split, track, index, target)
        for split in SPLITS
        for target, (track, count) in enumerate(WINDOWS.items())
        for index in range(count)
    ]
    return TaskData(examples=examples, skipped=[], expected=dict.fromkeys(SPLITS, 3), classes=KEYS)


@pytest.fixture
def features(windows):
    rng = np.random.default_rng(0)
    return {e.id: torch.from_numpy(rng.standard_normal((2, 4))).half() for e in windows.examples}


def places_of(data, folder):
    """Where the features of each example are; its id stands for what it sounds like."""
    return FeatureStore(folder, "mean").places([example.id for example in data.examples])


@pytest.fixture
def places(windows, features, tmp_path):
    """Every seventh window is in the same file: tracks lie across files."""
    for begin in range(7):
        kept = {name: features[name] for name in list(features)[begin::7]}
        save_chunk(tmp_path / "mean" / f"{begin}.safetensors", FeatureChunk(features=kept, failed={}))
    return places_of(windows, tmp_path)


def test_every_window_is_an_example_of_its_own_unless_they_are_averaged(windows, features, places):
    loaded = load_splits(windows, places, "multiclass")
    for split in SPLITS:
        assert loaded.splits[split].examples == windows.split(split)
        expected = torch.stack([features[e.id] for e in windows.split(split)])
        assert torch.equal(loaded.splits[split].features, expected)
    assert loaded.used == {"train": 3, "valid": 3, "test": 3}


def test_probing_averaged_windows_is_averaging_by_hand_and_then_fitting(windows, features, places):
    loaded = load_splits(windows, places, "multiclass", averages_windows=True)
    by_hand = {}
    for split in SPLITS:
        rows = [
            np.mean([features[f"{split}-{track}-{i}"].float().numpy() for i in range(count)], axis=0)
            for track, count in WINDOWS.items()
        ]
        examples = [window(split, track, 0, target) for target, track in enumerate(WINDOWS)]
        by_hand[split] = ProbeSplit(examples=examples, features=torch.from_numpy(np.stack(rows)))
        assert [e.id for e in loaded.splits[split].examples] == [f"{split}-{track}" for track in WINDOWS]
        torch.testing.assert_close(loaded.splits[split].features, by_hand[split].features, rtol=1e-6, atol=1e-6)
    config = ProbeConfig(hidden_dim=8, max_epochs=3)
    fits = [fit_probe(GiantStepsKey(), splits, config, num_outputs=24, seed=0) for splits in (loaded.splits, by_hand)]
    np.testing.assert_allclose(*(np.stack(fit.test_predictions.outputs) for fit in fits), rtol=1e-4, atol=1e-5)
    assert len(fits[0].test_predictions.outputs) == 3


def test_windows_that_failed_are_left_out_of_the_mean_and_tracks_without_any_of_the_count(windows, features, tmp_path):
    failed = {"train-a-1": "undecodable", "test-b-0": "too_short"}
    kept = {name: tensor for name, tensor in features.items() if name not in failed}
    save_chunk(tmp_path / "mean" / "c.safetensors", FeatureChunk(features=kept, failed=failed))
    places = places_of(windows, tmp_path)
    loaded = load_splits(windows, places, "multiclass", averages_windows=True)
    assert (loaded.failed, loaded.used) == (failed, {"train": 3, "valid": 3, "test": 2})
    assert [e.id for e in loaded.splits["test"].examples] == ["test-a", "test-c"]
    expected = (features["test-c-0"].float() + features["test-c-1"].float()) / 2
    torch.testing.assert_close(loaded.splits["test"].features[1], expected)
    assert torch.equal(
        load_splits(windows, places, "multiclass").splits["train"].features[1:3],
        torch.stack([features["train-a-2"], features["train-b-0"]]),
    )
    expected = (features["train-a-0"].float() + features["train-a-2"].float()) / 2
    torch.testing.assert_close(loaded.splits["train"].features[0], expected)


def mapped_files(folder):
    """The chunks of a folder that are mapped; other tests may keep files of their own."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if line.endswith(".safetensors") and str(folder) in line]


@on_linux
@pytest.mark.parametrize(("kind", "pool", "most"), [("multiclass", "mean", 6), ("beats", None, 2)])
def test_few_files_are_mapped_at_a_time_and_none_afterwards(windows, places, tmp_path, monkeypatch, kind, pool, most):
    places, mapped = replace(places, pool=pool), []

    def noting(places):
        for tensor in read_places(places):
            mapped.append(len(mapped_files(tmp_path)))
            yield tensor

    monkeypatch.setattr(loading, "read_places", noting)
    loaded = load_splits(windows, places, kind)
    assert (max(mapped), len(mapped), mapped_files(tmp_path)) == (most, len(windows.examples), [])
    assert len(loaded.splits["train"].features) == 6


@on_linux
def test_averaging_holds_the_means_and_few_files_in_memory_and_nothing_more(tmp_path):
    """The peak of a process, against what averaged windows take in the end."""
    script = """
import sys
from pathlib import Path
import torch
from ray_musicssl.probing.features import FeatureChunk
from ray_musicssl.probing.loading import load_splits
from ray_musicssl.probing.store import FeatureStore, save_chunk
from ray_musicssl.tasks.base import Example, TaskData

examples = [
    Example(id=str(i), track=str(i // 2), path=Path("x"), split="train", target=0, offset_s=i) for i in range(1000)
]
data = TaskData(examples=examples, skipped=[], expected={}, classes=["a"])
for begin in range(0, 1000, 20):
    kept = {e.id: torch.ones(40, 1024).half() for e in examples[begin : begin + 20]}
    save_chunk(Path(sys.argv[1]) / "mean" / f"{begin}.safetensors", FeatureChunk(features=kept, failed={}))
places = FeatureStore(Path(sys.argv[1]), "mean").places([example.id for example in examples])
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
before = peak()
features = load_splits(data, places, "multiclass", averages_windows=True).splits["train"].features
print((peak() - before) / (features.numel() * features.element_size()))
"""
    found = subprocess.run([sys.executable, "-c", script, tmp_path], check=True, capture_output=True, text=True)
    assert float(found.stdout) < 1.2


def test_windows_with_different_answers_are_not_averaged(windows, places):
    examples = [*windows.examples, window("train", "a", 9, target=5)]
    odd = TaskData(examples=examples, skipped=[], expected={}, classes=KEYS)
    with pytest.raises(DataError, match=r"train-a-0 and train-a-9 of train-a have different answers .*pooling=outputs"):
        load_splits(odd, places, "multiclass", averages_windows=True)


def test_frames_stay_a_list_of_clips(tmp_path):
    data = TaskData(examples=[window("train", "a", 0, [0.5])], skipped=[], expected={}, classes=["beat"])
    clip = torch.zeros(2, 7, 4).half()
    save_chunk(tmp_path / "mean" / "c.safetensors", FeatureChunk(features={"train-a-0": clip}, failed={}))
    splits = load_splits(data, places_of(data, tmp_path), "beats").splits
    assert [tensor.shape for tensor in splits["train"].features] == [(2, 7, 4)]
    assert splits["valid"].features == []
    assert [tensor.shape for tensor in splits["train"].layers(slice(1, 2)).features] == [(1, 7, 4)]
