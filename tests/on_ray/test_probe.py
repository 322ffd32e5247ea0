"""The whole probe stage on a few files, with hand-made features."""

import numpy as np
import pytest
import soundfile

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.on_ray import extract, fits, room
from ray_musicssl.on_ray.probe import probe
from ray_musicssl.probing.results import read_score
from ray_musicssl.probing.sources import Origin

CONFIG = ProbeConfig(hidden_dim=16, lr=1e-2, max_epochs=8, beat_max_epochs=1, num_seeds=2)

NODES = [
    {"Alive": True, "Resources": {"CPU": 64.0, "memory": 64e9}},
    {"Alive": True, "Resources": {"CPU": 4.0, "memory": 32e9}},
    {"Alive": True, "Resources": {"memory": 500e9}},  # a head that runs no tasks
    {"Alive": False, "Resources": {"CPU": 1.0, "memory": 500e9}},
]


@pytest.mark.ray
def test_probe_scores_every_encoder_on_every_task_and_repeats_nothing(gtzan_dir, tmp_path, cluster):
    tasks = ["gtzan_genre", "gtzan_rhythm"]
    outs, cache_dir = [tmp_path / "a", tmp_path / "b"], tmp_path / "cache"

    def run():
        return probe(["mfcc", "mfcc+semitone"], gtzan_dir, tasks, outs, CONFIG, cache_dir=cache_dir)

    def written():
        return {
            path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in {".json", ".safetensors"}
        }

    scores = run()
    assert [(score.model, score.task) for score in scores] == [
        (model, task) for model in ("mfcc", "mfcc+semitone") for task in tasks
    ]
    kept = [read_score(path) for path in tmp_path.rglob("scores/*.json")]
    assert sorted(kept, key=lambda score: (score.model, score.task)) == scores
    for score in scores:
        assert score.used == {"train": 8, "valid": 4, "test": 3}
        assert score.expected == {"train": 8, "valid": 4, "test": 4}
        assert score.skipped == {"undecodable": 1}
        assert all(len(entry.values) == 2 for entry in (*score.metrics.values(), *score.valid.values()))
        assert score.layer_weights == [1.0]
        assert score.source == Origin(kind="baseline", path=None, seed=None)
        assert score.official == {"train": 443, "valid": 197, "test": 290}
        assert score.is_part
    assert scores[0].metrics["accuracy"].mean == 1.0
    assert np.sum(scores[0].details["confusion"]["matrix"]) == 3
    assert len(scores[1].details["beats"]["activation"]) == 149  # 3 s

    before = written()
    assert run() == scores
    skipped_paths = {path for path in before if "skipped" in path.parts}
    assert {path for path, time in written().items() if before.get(path) != time} <= skipped_paths

    # What a killed command leaves behind: some chunks, some scores. The next one gives the same bytes.
    chunk_path = min(cache_dir.rglob("*.safetensors"))
    score_path = outs[0] / "scores" / "gtzan_genre.json"
    kept = {path: path.read_bytes() for path in (chunk_path, score_path)}
    for folder in outs:
        for path in (folder / "scores").glob("*.json"):
            path.unlink()
    chunk_path.unlink()
    assert run() == scores
    assert {path: path.read_bytes() for path in kept} == kept


def test_strict_refuses_what_cannot_be_used_before_anything_starts(gtzan_dir, tmp_path):
    with pytest.raises(DataError, match="1 undecodable"):
        probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], CONFIG, cache_dir=tmp_path / "cache", strict=True)


@pytest.fixture
def hidden_fault_dir(gtzan_dir):
    """Every header is good, but one training track is not a number."""
    last_path = max((gtzan_dir / "genres").rglob("rock.*.wav"))
    soundfile.write(last_path, np.random.default_rng(0).uniform(-0.1, 0.1, 24_000), 8000)
    path = min((gtzan_dir / "genres").rglob("blues.*.wav"))
    soundfile.write(path, np.full(24_000, np.nan), 8000, subtype="FLOAT")
    return gtzan_dir


def test_strict_refuses_what_extraction_finds_before_anything_is_fitted(
    hidden_fault_dir, tmp_path, without_ray, caplog
):
    def run(out, *, strict):
        return probe(
            ["mfcc"], hidden_fault_dir, ["gtzan_genre"], [out], CONFIG, cache_dir=tmp_path / "c", strict=strict
        )

    with pytest.raises(DataError, match="gtzan_genre: 1 undecodable found while extracting features of mfcc; mend"):
        run(tmp_path / "out", strict=True)
    assert {name for name, _ in without_ray} == {"_extract_on_worker"}
    (score,) = run(tmp_path / "out", strict=False)
    assert score.skipped == {"undecodable": 1}
    assert caplog.text.count("1 undecodable found while extracting") == 1

    # A score that was made without --strict does not pass for one made with it.
    with pytest.raises(DataError, match="1 undecodable found while extracting"):
        run(tmp_path / "out", strict=True)
    assert run(tmp_path / "out", strict=False) == [score]


@pytest.mark.parametrize(("size_gb", "asked_gb"), [(0.0, 0.5), (6.0, 6.5), (63.5, 64.0), (100.0, 64.0)])
def test_a_fit_asks_for_the_memory_that_its_features_need_and_never_for_more_than_a_node_has(
    monkeypatch, gtzan_dir, tmp_path, without_ray, caplog, size_gb, asked_gb
):
    """However many CPUs share a node's memory: Ray lets no more tasks run there than it holds."""
    monkeypatch.setattr(room.ray, "nodes", lambda: NODES)
    monkeypatch.setattr(extract.FeatureSet, "size_bytes", round(size_gb * 1e9))
    monkeypatch.setattr(fits, "FITTED_BYTES", 0)  # a task a fit
    monkeypatch.setattr(fits, "WORKER_BYTES", 500_000_000)
    probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], CONFIG, cache_dir=tmp_path / "c")
    asked = [memory_bytes / 1e9 for name, memory_bytes in without_ray if name == "_fit_on_worker"]
    assert asked == [asked_gb, asked_gb]
    assert caplog.text.count("no node has more than 64.0 GB") == (size_gb + 0.5 > asked_gb)


def test_averaged_windows_need_memory_for_a_float32_mean_a_track(gtzan_dir, tmp_path, without_ray, monkeypatch):
    monkeypatch.setattr(fits, "WORKER_BYTES", 1000)
    config = CONFIG.model_copy(update={"pooling": "embeddings"})
    probe(["mfcc"], gtzan_dir, ["gtzan_genre"], [tmp_path], config, cache_dir=tmp_path / "c")
    assert without_ray[-1] == ("_fit_on_worker", 15 * 78 * 4 + 1000)  # 15 tracks, 39 means and spreads


@pytest.mark.parametrize(
    ("specs", "tasks", "message"),
    [
        (["mfcc", "mfcc"], ["gtzan_genre"], "one for each"),
        (["mfcc"], ["gtzan_genres"], 'did you mean "gtzan_genre"'),
        (["nonsense"], ["gtzan_genre"], "cannot be probed"),
        (["hf/x", "hf-x"], ["gtzan_genre"], 'scores of "hf/x" and "hf-x" would both go to .*another --out'),
    ],
)
def test_wrong_words_are_refused_before_anything_starts(gtzan_dir, tmp_path, specs, tasks, message):
    outs = [tmp_path] if message == "one for each" else [tmp_path, tmp_path / "x" / ".."][: len(specs)]
    with pytest.raises(ConfigError, match=message):
        probe(specs, gtzan_dir, tasks, outs, CONFIG, cache_dir=tmp_path / "cache")


@pytest.mark.ray
def test_scores_of_two_encoders_on_two_tasks_do_not_depend_on_the_number_of_workers(
    gtzan_dir, tmp_path, cluster, monkeypatch
):
    tasks = ["gtzan_genre", "gtzan_rhythm"]
    config = CONFIG.model_copy(update={"lr_grid": (1e-2, 1e-3), "max_epochs": 4})

    def run(name):
        outs = [tmp_path / name / "a", tmp_path / name / "b"]
        return probe(["mfcc", "chroma"], gtzan_dir, tasks, outs, config, cache_dir=tmp_path / name / "c", by_layer=True)

    both = run("two")
    serial = fits.run_tasks

    def one_at_a_time(function, items, *, memory_bytes=()):
        return serial(function, items, num_cpus=2, memory_bytes=memory_bytes)  # a task fills the cluster

    for module in (fits, extract):
        monkeypatch.setattr(module, "run_tasks", one_at_a_time)
    assert run("one") == both
    chunks = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.safetensors")}
        for name in ("one", "two")
    ]
    assert chunks[0] == chunks[1]
