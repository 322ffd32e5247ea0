"""What a probe can be asked for beside its scores: layers, a grid of rates, pooling, statistics."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.on_ray import extract
from ray_musicssl.on_ray.probe import probe
from ray_musicssl.probing.baselines import MfccFeatures
from ray_musicssl.probing.fit import fit_probe
from ray_musicssl.probing.identity import audio_identity, stretch_keys
from ray_musicssl.probing.results import read_score
from ray_musicssl.probing.rows import ProbeSplit
from ray_musicssl.probing.sources import BASELINES, describe
from ray_musicssl.probing.store import FeatureStore, read_places
from ray_musicssl.run_dir import read_json, write_json
from ray_musicssl.tasks.base import SPLITS
from ray_musicssl.tasks.gtzan import GtzanGenre

CONFIG = ProbeConfig(hidden_dim=16, lr=1e-2, max_epochs=8, beat_max_epochs=1, num_seeds=2)


@pytest.fixture
def layered(monkeypatch):
    """A baseline of three layers: MFCC's pooled features, then half of them, then the other half."""

    class Layered(MfccFeatures):
        num_layers = 3

        def embed(self, waveform, sample_rate, *, pool=None):
            frames = super().embed(waveform, sample_rate, pool=pool)
            first, second = frames.copy(), frames.copy()
            first[..., ::2], second[..., 1::2] = 0, 0
            return np.concatenate([frames, first, second])

    monkeypatch.setattr(BASELINES, "_table", {"mfcc": "ray_musicssl.probing.baselines:MfccFeatures"})
    monkeypatch.setattr("ray_musicssl.probing.baselines.MfccFeatures", Layered)
    return Layered


def test_layers_are_added_to_a_score_and_kept_beside_it(gtzan_dir, tmp_path, without_ray, layered):
    def run(**asked):
        before = len(without_ray)
        (score,) = probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], CONFIG, cache_dir=tmp_path / "c", **asked)
        return score, [name for name, _ in without_ray[before:]]

    plain, _ = run()
    assert plain.by_layer == []
    full, ran = run(by_layer=True)
    assert ran == ["_fit_on_worker"]  # 3 layers of 2 seeds, and neither features nor the weighted sum again
    assert replace(full, by_layer=[]) == plain
    for layer, found in enumerate(full.by_layer):
        alone = probe_alone(tmp_path, gtzan_dir, layer)
        assert [run["accuracy"] for run in alone] == found["accuracy"].values
    assert read_score(tmp_path / "scores" / "gtzan_genre.json") == full
    assert run() == (full, [])
    assert run(by_layer=True) == (full, [])
    assert run(by_layer=True, fresh=True)[0] == full


def probe_alone(root, data_dir, layer):
    """Test scores of probes on what the cache has of one layer, fitted here by hand."""
    task = GtzanGenre()
    data = task.read(data_dir)
    store = FeatureStore(root / "c" / describe("mfcc").content_hash, "mean+sd")
    splits = {}
    for split in SPLITS:
        keys = stretch_keys(audio_identity(data.split(split), root / "hashes.json"))
        features = torch.stack(list(read_places(store.places(keys))))
        splits[split] = ProbeSplit(examples=data.split(split), features=features[:, layer : layer + 1])
    seeds = range(CONFIG.seed, CONFIG.seed + CONFIG.num_seeds)
    return [fit_probe(task, splits, CONFIG, num_outputs=10, seed=seed).test for seed in seeds]


def test_of_a_grid_the_rate_is_taken_that_brute_force_finds_best_on_valid(gtzan_dir, tmp_path, without_ray):
    def run(out, **changes):
        config = CONFIG.model_copy(update={"max_epochs": 2, **changes})
        (score,) = probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path / out], config, cache_dir=tmp_path / "c")
        return score

    rates = (1e-6, 1e-2, 1e-4)
    each = {rate: run(f"{rate:g}", lr=rate) for rate in rates}
    grid = run("grid", lr_grid=rates)
    best = max(rates, key=lambda rate: each[rate].valid["accuracy"].mean)
    assert grid.lr == best
    assert grid.valid_by_lr == {f"{rate:g}": score.valid["accuracy"] for rate, score in each.items()}
    assert (grid.metrics, grid.valid, grid.details) == (each[best].metrics, each[best].valid, each[best].details)
    assert len({score.mean for score in grid.valid_by_lr.values()}) > 1
    assert each[best].lr is None
    assert "lr 0.01" in grid.line()


def test_a_finished_score_takes_on_what_an_earlier_version_did_not_write(gtzan_dir, tmp_path, without_ray):
    def run():
        (score,) = probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], CONFIG, cache_dir=tmp_path / "c")
        return score

    score = run()
    path = tmp_path / "scores" / "gtzan_genre.json"
    raw = read_json(path)
    for name in ("source", "official", "is_part", "features_hash"):
        del raw[name]
    write_json(path, raw | {"model": "old name"})
    without_ray.clear()
    assert replace(run(), features_hash=score.features_hash) == score
    assert without_ray == []
    assert read_score(path).source == score.source


def test_pooling_is_the_tasks_unless_another_is_asked_for_and_beats_have_none(gtzan_dir, tmp_path, without_ray, caplog):
    def run(pooling, tasks=("gtzan_genre",)):
        config = CONFIG.model_copy(update={"pooling": pooling})
        return probe(["mfcc"], gtzan_dir, tasks, [tmp_path], config, cache_dir=tmp_path / "c")

    (score,) = run("task")
    without_ray.clear()
    assert run("outputs") == [score]
    assert without_ray == []  # the same recipe
    (averaged,) = run("embeddings")
    assert averaged.config_hash != score.config_hash
    assert averaged.used == score.used
    assert "no effect" not in caplog.text
    run("embeddings", ["gtzan_rhythm"])
    assert "pooling=embeddings has no effect on gtzan_rhythm" in caplog.text


def test_statistics_of_an_encoder_are_what_is_asked_for_and_of_hand_made_features_always_both(
    gtzan_dir, tmp_path, without_ray, whole_run_dir
):
    audio_keys = stretch_keys(audio_identity(GtzanGenre().read(gtzan_dir).examples, tmp_path / "hashes.json"))

    def run(model, statistics, task="gtzan_genre"):
        config = CONFIG.model_copy(update={"statistics": statistics})
        cache_dir = tmp_path / "c"
        (score,) = probe([str(model)], gtzan_dir, [task], [tmp_path / Path(model).name], config, cache_dir=cache_dir)
        store = FeatureStore(cache_dir / score.encoder_hash, score.statistics)
        features = extract.FeatureSet(source=describe(str(model)), store=store, examples=[], keys=audio_keys)
        tensors = list(read_places(features.places()))
        if score.statistics:
            assert {tensor.numel() for tensor in tensors} == {features.values_a_vector}
        return score, {tensor.shape[-1] for tensor in tensors}

    narrow, wide = run(whole_run_dir, "mean"), run(whole_run_dir, "mean+sd")
    assert (narrow[0].statistics, narrow[1], wide[0].statistics, wide[1]) == ("mean", {32}, "mean+sd", {64})
    assert narrow[0].config_hash != wide[0].config_hash
    assert ", mean+sd  gtzan_genre" in wide[0].line()
    assert len(list((tmp_path / whole_run_dir.name / "scores").iterdir())) == 2  # one does not replace the other

    hand_made, beats = run("mfcc", "mean"), run(whole_run_dir, "mean", "gtzan_rhythm")
    assert (hand_made[0].statistics, hand_made[1], beats[0].statistics) == ("mean+sd", {78}, None)
    without_ray.clear()
    assert (run("mfcc", "mean+sd"), run(whole_run_dir, "mean+sd", "gtzan_rhythm")) == (hand_made, beats)
    assert (run(whole_run_dir, "mean"), run(whole_run_dir, "mean+sd")) == (narrow, wide)
    assert without_ray == []  # the same recipes
