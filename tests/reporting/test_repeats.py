import csv
import json

import numpy as np
import pytest

from ray_musicssl.reporting.found import find
from ray_musicssl.reporting.html import to_csv
from ray_musicssl.reporting.scoreboard import scoreboard
from ray_musicssl.reporting.tables import probe_table

from .conftest import score, write_json, write_run

TASK = "gtzan_genre"


def write(root, name, points, *, seed=0, preset="musichubert-demo", shards="music", twin=None, layers=(0.5, 0.5)):
    rng = np.random.default_rng(0)
    home = root / "runs" / name
    write_run(home, preset, [{"step": 1}], training={"max_steps": 10, "seed": seed})
    write_json(home / "started.json", {"provenance": {"shards": shards, "labels": []}})
    found = {**score(name, TASK, points, rng), "layer_weights": list(layers), "encoder_hash": f"{name} {preset}"}
    write_json(home / "scores" / f"{TASK}.json", found)
    if twin is not None:
        found = {**score(f"random:{name}", TASK, twin, rng), "encoder_hash": f"untrained {twin}"}
        write_json(root / "baselines" / f"random-{name}" / "scores" / f"{TASK}.json", found)


def mean_of(root, name):
    (score,) = [s for s in find(root).scores if s.model == name]
    return score.metrics["accuracy"].mean


def test_runs_that_differ_by_their_seed_are_one_row(tmp_path):
    for seed, points in enumerate((50, 60, 70), start=1):
        write(tmp_path, f"music-s{seed}", points, seed=seed, layers=(seed / 6, 1 - seed / 6))
    board = scoreboard(find(tmp_path))
    (model,) = board.models
    assert model.label == "music (3 seeds)"
    means = [mean_of(tmp_path, f"music-s{seed}") for seed in (1, 2, 3)]
    found = model.scores[TASK].metrics["accuracy"]
    assert found.values == pytest.approx(means)
    assert (found.mean, found.sd) == pytest.approx((np.mean(means), np.std(means)))
    assert model.scores[TASK].layer_weights == pytest.approx((2 / 6, 4 / 6))
    # Every run keeps its own lines.
    assert {line.split(",")[0] for line in to_csv(board).splitlines()[1:]} == {"music-s1", "music-s2", "music-s3"}


@pytest.mark.parametrize("other", [{"preset": "musichubert-small"}, {"shards": "speech"}])
def test_runs_that_differ_by_more_are_rows_of_their_own(tmp_path, other):
    write(tmp_path, "a-s1", 50, seed=1)
    write(tmp_path, "a-s2", 60, seed=2, **other)
    assert [model.label for model in scoreboard(find(tmp_path)).models] == ["a-s1", "a-s2"]


def test_a_run_without_a_twin_of_its_own_is_compared_with_one_of_the_same_first_weights(tmp_path):
    write(tmp_path, "music", 70, seed=1, twin=40)
    write(tmp_path, "speech", 50, seed=1, shards="speech")
    write(tmp_path, "other", 50, seed=2, shards="other")
    gains = {entry.model.label: entry.twin.label for entry in scoreboard(find(tmp_path)).gains()}
    assert gains == {"music": "random:music", "speech": "random:music"}


def test_scores_on_either_statistics_are_joined_apart(tmp_path):
    for seed in (1, 2):
        write(tmp_path, f"a-s{seed}", 50, seed=seed, twin=30 + seed)
        for path in (
            tmp_path / "runs" / f"a-s{seed}" / "scores" / f"{TASK}.json",
            tmp_path / "baselines" / f"random-a-s{seed}" / "scores" / f"{TASK}.json",
        ):
            write_json(path.with_name("wide.json"), {**json.loads(path.read_text()), "statistics": "mean+sd"})
    board = scoreboard(find(tmp_path))
    rows = [model.label for model in board.models]
    assert rows == ["a (2 seeds)", "a (2 seeds), mean+sd", "random:a (2 seeds)", "random:a (2 seeds), mean+sd"]
    names = {line["model"] for line in csv.DictReader(to_csv(board).splitlines())}
    assert names >= {"a-s1", "a-s1, mean+sd", "a-s2", "a-s2, mean+sd"}


def test_twins_of_equal_first_weights_under_several_names_are_joined_by_seed(tmp_path):
    for seed, twin in enumerate((30, 40, 50), start=1):
        for name in ("music", "speech"):
            write(tmp_path, f"{name}-s{seed}", 60, seed=seed, shards=name, twin=twin)
    board = scoreboard(find(tmp_path))
    (untrained,) = board.of_kind("untrained")
    assert untrained.label == "random:musichubert-demo (3 seeds)"
    assert [(entry.model.label, entry.twin) for entry in board.gains()] == [
        ("music (3 seeds)", untrained),
        ("speech (3 seeds)", untrained),
    ]


def test_a_joined_row_is_compared_with_the_joined_twins(tmp_path):
    for seed, (points, twin) in enumerate(((50, 30), (60, 40), (70, 50)), start=1):
        write(tmp_path, f"a-s{seed}", points, seed=seed, twin=twin)
    (entry,) = scoreboard(find(tmp_path)).gains()
    assert (entry.model.label, entry.twin.label) == ("a (3 seeds)", "random:a (3 seeds)")
    assert entry.gains[0].points == pytest.approx(20, abs=2)
    assert entry.gains[0].spread == pytest.approx(np.hypot(8.165, 8.165), abs=1)


def test_one_untrained_encoder_under_several_names_is_one_row_without_a_spread_of_its_own(tmp_path):
    for seed in (1, 2):
        write(tmp_path, f"a-s{seed}", 50, seed=seed, twin=30)
    untrained = scoreboard(find(tmp_path)).of_kind("untrained")
    assert [model.label for model in untrained] == ["random:a"]
    assert len(untrained[0].scores[TASK].metrics["accuracy"].values) == 3  # the probe's seeds


def test_a_checkpoint_of_a_run_is_not_another_seed_of_it(tmp_path):
    write(tmp_path, "a", 70, seed=1)
    early = {**score("a", TASK, 30, np.random.default_rng(0)), "encoder_hash": "early"}
    write_json(tmp_path / "baselines" / "a-step5" / "scores" / f"{TASK}.json", early)
    points = [100 * m.scores[TASK].metrics["accuracy"].mean for m in scoreboard(find(tmp_path)).models]
    assert sorted(points) == pytest.approx([30, 70], abs=2)


@pytest.mark.parametrize("same", ["seed", "recipe"])
def test_runs_of_one_seed_or_probed_in_other_ways_stay_apart(tmp_path, same):
    write(tmp_path, "a-s1", 50, seed=1)
    write(tmp_path, "a-s2", 60, seed=1 if same == "seed" else 2)
    if same == "recipe":
        path = tmp_path / "runs" / "a-s2" / "scores" / f"{TASK}.json"
        write_json(path, {**json.loads(path.read_text()), "config_hash": "other"})
    assert len(scoreboard(find(tmp_path)).models) == 2


def test_only_tasks_that_all_runs_were_probed_on_are_joined(tmp_path):
    for seed in (1, 2):
        write(tmp_path, f"a-s{seed}", 50, seed=seed)
    extra = {**score("a-s1", "nsynth_pitch", 40, np.random.default_rng(0)), "encoder_hash": "a-s1 musichubert-demo"}
    write_json(tmp_path / "runs" / "a-s1" / "scores" / "nsynth_pitch.json", extra)
    (model,) = scoreboard(find(tmp_path)).models
    assert list(model.scores) == [TASK]


def test_twins_of_runs_of_one_name_in_two_places_are_told_apart_by_where_they_came_from(tmp_path):
    for place, points, twin in (("one", 70, 20), ("two", 60, 40)):
        run_dir = tmp_path / place / "runs" / "a"
        write(
            tmp_path / place, "a", points, seed=1, preset={"one": "musichubert-demo", "two": "musichubert-small"}[place]
        )
        found = {**score("random:a", TASK, twin, np.random.default_rng(0)), "encoder_hash": f"untrained {twin}"}
        source = {"kind": "untrained", "path": str(run_dir.resolve()), "seed": 1}
        write_json(tmp_path / place / "baselines" / "random-a" / "scores" / f"{TASK}.json", {**found, "source": source})
    gains = [entry.gains[0].points for entry in scoreboard(find(tmp_path)).gains()]
    assert sorted(gains) == pytest.approx([20, 50], abs=2)


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (("m-s10", "m-s11"), "m (2 seeds)"),
        (("bass1", "bass2"), "bass (2 seeds)"),
        (("x", "y"), "musichubert-demo (2 seeds)"),
    ],
)
def test_a_joined_row_has_the_runs_name_without_its_seed_or_the_presets(tmp_path, names, label):
    for seed, name in enumerate(names):
        write(tmp_path, name, 50, seed=seed)
    assert [model.label for model in scoreboard(find(tmp_path)).models] == [label]


def test_captions_say_over_what_a_joined_row_is_a_mean(tmp_path, tree):
    for seed in (1, 2):
        write(tmp_path / "joined", f"a-s{seed}", 50, seed=seed)
    assert "pre-training seeds" in probe_table(scoreboard(find(tmp_path / "joined"))).caption
    assert "pre-training seeds" not in probe_table(scoreboard(find(tree))).caption
