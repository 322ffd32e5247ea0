"""Features that probes share and keep: what is made again, and when."""

import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.on_ray import extract, fits
from ray_musicssl.on_ray.probe import probe
from ray_musicssl.probing.baselines import MfccFeatures
from ray_musicssl.probing.identity import audio_identity, stretch_keys
from ray_musicssl.probing.sources import describe
from ray_musicssl.probing.store import FeatureStore, read_places
from ray_musicssl.tasks.base import TASKS
from ray_musicssl.tasks.gtzan import GtzanGenre

CONFIG = ProbeConfig(hidden_dim=16, lr=1e-2, max_epochs=8, beat_max_epochs=1, num_seeds=2)


def written(root, *suffixes):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.suffix in suffixes}


def test_a_data_folder_that_moved_needs_no_new_features_or_scores_but_no_cache_makes_both(
    gtzan_dir, tmp_path, without_ray
):
    def run(folder, **asked):
        return probe(["mfcc"], folder, ["gtzan_genre"], [tmp_path / "out"], CONFIG, cache_dir=tmp_path / "c", **asked)

    scores = run(gtzan_dir)
    without_ray.clear()
    moved = shutil.copytree(gtzan_dir, tmp_path / "moved", copy_function=shutil.copyfile)  # with new times
    assert run(moved) == scores
    assert without_ray == []
    before = written(tmp_path, ".safetensors")
    (chunk_path,) = before
    damaged = chunk_path.read_bytes()
    chunk_path.write_bytes(b"damaged")
    assert run(moved, fresh=True) == scores
    assert [name for name, _ in without_ray] == ["_extract_on_worker", "_fit_on_worker"]
    assert chunk_path.read_bytes() == damaged
    assert written(tmp_path, ".safetensors").keys() == before.keys()


@pytest.fixture
def shared_tasks(monkeypatch):
    """Two tasks that hear the same audio."""
    monkeypatch.setattr(TASKS, "_table", dict.fromkeys(("gtzan_genre", "again"), TASKS["gtzan_genre"]))


@pytest.fixture
def silence(monkeypatch):
    """From now on MFCC hear nothing, under their old name: what a bug in an extractor, or a mended one, looks like."""

    def begin():
        monkeypatch.setattr(MfccFeatures, "embed", lambda *_, pool=None: np.zeros((1, 78), np.float32))

    return begin


@pytest.mark.parametrize("killed_in", ["_extract_on_worker", "_fit_on_worker"])
def test_a_killed_no_cache_call_leaves_nothing_old_behind_and_an_ordinary_one_goes_on(
    gtzan_dir, tmp_path, without_ray, monkeypatch, silence, killed_in
):
    def run(**asked):
        return probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], CONFIG, cache_dir=tmp_path / "c", **asked)

    (old,) = run()
    silence()

    def killed(*_, **__):
        raise KeyboardInterrupt

    module = {"_extract_on_worker": extract, "_fit_on_worker": fits}[killed_in]
    with monkeypatch.context() as patch:
        patch.setattr(module, killed_in, killed)
        with pytest.raises(KeyboardInterrupt):
            run(fresh=True)
    (score,) = run()
    assert score.metrics["accuracy"].mean < old.metrics["accuracy"].mean == 1.0
    assert run() == [score] == run(fresh=True)


def test_features_made_anew_for_one_task_end_the_score_of_another_that_saw_the_old_ones(
    gtzan_dir, tmp_path, without_ray, shared_tasks, silence
):
    def run(task, **asked):
        (score,) = probe(["mfcc"], gtzan_dir, [task], [tmp_path], CONFIG, cache_dir=tmp_path / "c", **asked)
        return score

    old = run("again")
    assert run("gtzan_genre").features_hash == old.features_hash
    shutil.move(tmp_path / "c", tmp_path / "elsewhere")
    assert run("again") == old  # features that are gone say nothing against it
    shutil.move(tmp_path / "elsewhere", tmp_path / "c")
    silence()
    fresh = run("gtzan_genre", fresh=True)
    assert run("again").metrics == fresh.metrics != old.metrics
    assert run("again").features_hash == fresh.features_hash != old.features_hash


def test_features_made_anew_for_one_task_are_never_mixed_with_old_ones_of_another(
    gtzan_dir, tmp_path, without_ray, monkeypatch, silence
):
    """The first task hears half of what the second does."""

    class Half(GtzanGenre):
        name = "half"

        def read(self, data_dir, *, annotations_only=False):
            data = super().read(data_dir, annotations_only=annotations_only)
            return replace(data, examples=[e for i, e in enumerate(data.examples) if i % 2 or e.split != "train"])

    monkeypatch.setitem(TASKS._table, "half", f"{__name__}:Half")
    monkeypatch.setattr(sys.modules[__name__], "Half", Half, raising=False)

    def run(task, **asked):
        (score,) = probe(["mfcc"], gtzan_dir, [task], [tmp_path], CONFIG, cache_dir=tmp_path / "c", **asked)
        return score

    run("gtzan_genre")
    (tmp_path / "scores" / "gtzan_genre.json").unlink()
    silence()
    run("half", fresh=True)
    run("gtzan_genre")
    features = FeatureStore(tmp_path / "c" / describe("mfcc").content_hash, "mean+sd")
    keys = stretch_keys(audio_identity(GtzanGenre().read(gtzan_dir).examples, tmp_path / "hashes.json"))
    assert not any(tensor.any() for tensor in read_places(features.places(keys)))


def test_layers_are_not_added_to_a_score_whose_features_came_back_as_others(gtzan_dir, tmp_path, without_ray, silence):
    def run(**asked):
        (score,) = probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], CONFIG, cache_dir=tmp_path / "c", **asked)
        return score

    old = run()
    shutil.rmtree(tmp_path / "c")
    silence()
    score = run(by_layer=True)
    assert score.by_layer == [score.metrics] != [old.metrics]


def test_tasks_that_hear_the_same_audio_share_its_features(gtzan_dir, tmp_path, without_ray, shared_tasks):
    probe(["mfcc"], gtzan_dir, list(TASKS), [tmp_path], CONFIG, cache_dir=tmp_path / "c")
    assert [name for name, _ in without_ray].count("_extract_on_worker") == 1


@pytest.fixture
def extracted(monkeypatch):
    """How many stretches of audio were made features of, since this list was cleared."""
    counts, extract_chunk = [], extract.extract_chunk

    def counting(features, stretches, *, pool):
        counts.append(len(stretches))
        return extract_chunk(features, stretches, pool=pool)

    monkeypatch.setattr(extract, "extract_chunk", counting)
    return counts


def test_a_data_set_that_grows_by_a_track_costs_that_track_and_one_that_shrinks_nothing(
    gtzan_dir, tmp_path, without_ray, extracted
):
    def run(cache):
        (score,) = probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path / cache], CONFIG, cache_dir=tmp_path / cache)
        return score

    paths = sorted(path for path in (gtzan_dir / "genres").rglob("*.wav"))
    first = paths[0].read_bytes()
    paths[0].unlink()
    assert run("c").skipped["missing"] == 1
    few = sum(extracted)
    paths[0].write_bytes(first)
    extracted.clear()
    whole = run("c")
    assert extracted == [1]
    assert run("all at once") == whole
    assert extracted == [1, few + 1]
    paths[1].unlink()
    extracted.clear()
    run("c")
    assert extracted == []


def test_the_mean_is_not_made_again_where_mean_and_deviation_are_kept_unless_it_is_to_be_made_anew(
    gtzan_dir, tmp_path, without_ray, extracted, whole_run_dir
):
    def run(statistics, cache="c", **asked):
        config = CONFIG.model_copy(update={"statistics": statistics})
        homes = {"out_dirs": [tmp_path / cache], "cache_dir": tmp_path / cache}
        (score,) = probe([str(whole_run_dir)], gtzan_dir, ["gtzan_genre"], config=config, **homes, **asked)
        return score

    run("mean+sd")
    extracted.clear()
    narrow = run("mean")
    assert extracted == []
    assert replace(run("mean", "alone"), features_hash=narrow.features_hash) == narrow
    extracted.clear()
    assert run("mean") == narrow == replace(run("mean", fresh=True), features_hash=narrow.features_hash)
    assert sum(extracted) == sum(narrow.used.values())
