"""The whole probe stage on a few files, with hand-made features."""

import numpy as np
import pytest
import soundfile

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.on_ray import extract, fits
from ray_musicssl.on_ray.probe import probe
from ray_musicssl.probing.results import read_score

CONFIG = ProbeConfig(hidden_dim=16, lr=1e-2, max_epochs=8, beat_max_epochs=1, num_seeds=2)

NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "memory": 64e9}},
    {"Alive": True, "Resources": {"CPU": 4.0, "memory": 16e9}},
    {"Alive": True, "Resources": {"memory": 1e9}},  # a head that runs no tasks
    {"Alive": False, "Resources": {"CPU": 1.0, "memory": 1e9}},
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
    assert scores[0].metrics["accuracy"].mean == 1.0
    assert np.sum(scores[0].details["confusion"]["matrix"]) == 3
    assert len(scores[1].details["beats"]["activation"]) == 149  # 3 s

    before = written()
    assert run() == scores
    skipped_paths = {path for path in before if "skipped" in path.parts}
    assert {path for path, time in written().items() if before.get(path) != time} <= skipped_paths

    # What a killed command leaves behind: some chunks, some scores. The next one gives the same bytes.
    chunk_path = min(cache_dir.rglob("chunk-00000.safetensors"))
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


@pytest.mark.parametrize(
    ("size_gb", "num_cpus"), [(0.0, 1), (3.4, 1), (3.6, 2), (7.4, 2), (15.4, 4), (15.6, 4), (100.0, 4)]
)
def test_a_fit_takes_the_cpus_whose_memory_its_features_need(monkeypatch, size_gb, num_cpus):
    """On the node with the least memory a CPU comes with 4 GB, and a task takes half a GB beside its features."""
    monkeypatch.setattr(fits.ray, "nodes", lambda: NODES)
    assert fits._num_cpus(round(size_gb * 1e9)) == num_cpus


def test_fits_of_large_features_leave_room_and_others_do_not_wait_for_it(gtzan_dir, tmp_path, without_ray, monkeypatch):
    monkeypatch.setattr(fits, "WORKER_BYTES", 0)
    monkeypatch.setattr(fits, "FITTED_BYTES", 10_000)
    monkeypatch.setattr(fits.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4, "memory": 20_000}}])
    tasks = ["gtzan_genre", "gtzan_rhythm"]  # 16 tracks of 78 means and spreads, 2 bytes each: 2496 bytes; 150 times 39
    scores = probe(["mfcc"], gtzan_dir, tasks, [tmp_path], CONFIG, cache_dir=tmp_path / "c")
    assert [entry for entry in without_ray if entry[0] == "_fit_on_worker"] == [
        ("_fit_on_worker", 1),  # both seeds together: its features are small
        ("_fit_on_worker", 4),
        ("_fit_on_worker", 4),
    ]
    assert [score.task for score in scores] == tasks


@pytest.mark.parametrize(
    ("specs", "tasks", "message"),
    [
        (["mfcc", "mfcc"], ["gtzan_genre"], "one for each"),
        (["mfcc"], ["gtzan_genres"], 'did you mean "gtzan_genre"'),
        (["nonsense"], ["gtzan_genre"], "cannot be probed"),
    ],
)
def test_wrong_words_are_refused_before_anything_starts(gtzan_dir, tmp_path, specs, tasks, message):
    with pytest.raises(ConfigError, match=message):
        probe(specs, gtzan_dir, tasks, [tmp_path], CONFIG, cache_dir=tmp_path / "cache")


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

    def one_at_a_time(function, items, *, num_cpus=1):
        return serial(function, items, num_cpus=2)  # a task fills the cluster

    for module in (fits, extract):
        monkeypatch.setattr(module, "run_tasks", one_at_a_time)
    assert run("one") == both
    chunks = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.safetensors")}
        for name in ("one", "two")
    ]
    assert chunks[0] == chunks[1]
