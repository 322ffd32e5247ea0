import numpy as np
import pytest

from ray_musicssl.probing.sources import BASELINES as PROBED
from ray_musicssl.reporting.appendix import data_table
from ray_musicssl.reporting.found import find
from ray_musicssl.reporting.html import to_csv
from ray_musicssl.reporting.scoreboard import BASELINES, compare, scoreboard
from ray_musicssl.reporting.scores import MetricScore
from ray_musicssl.reporting.sentences import what_was_run

from .conftest import score, write_json


def of(mean: float, sd: float = 0.0) -> MetricScore:
    return MetricScore(mean=mean, sd=sd, values=(mean, mean))


@pytest.mark.parametrize(
    ("trained", "untrained", "verdict"),
    [
        (of(0.76), of(0.35), "helps"),
        (of(0.46), of(0.63), "hurts"),
        (of(0.17), of(0.13), "ties"),  # 4 points
        (of(0.55), of(0.50), "helps"),  # exactly 5 points is no tie
        (of(0.60, 0.08), of(0.50, 0.08), "ties"),  # 10 points inside a spread of 11.3
        (of(0.60, 0.06), of(0.50, 0.06), "helps"),  # 10 points outside a spread of 8.5
        (of(-0.15), of(0.02), "hurts"),
    ],
)
def test_gain_is_classified_by_points_and_spread(trained, untrained, verdict):
    assert compare("task", trained, untrained).verdict == verdict


def test_gain_is_a_difference_in_points():
    gain = compare("task", of(0.76, 0.03), of(0.35, 0.04))
    assert gain.points == pytest.approx(41)
    assert gain.spread == pytest.approx(5)


def test_models_stand_trained_first_then_twins_in_their_order_then_baselines(tree):
    board = scoreboard(find(tree))
    assert [model.label for model in board.models] == [
        "musichubert-demo",
        "music2vec-demo",
        "random:musichubert-demo",
        "random:music2vec-demo",
        "mfcc",
        "mfcc+semitone",
    ]
    assert board.tasks == ("giantsteps_key", "gtzan_genre", "nsynth_pitch", "gtzan_rhythm")


def test_each_model_is_compared_with_its_own_twin(tree):
    board = scoreboard(find(tree))
    assert [(g.model.label, g.twin.label) for g in board.gains()] == [
        ("musichubert-demo", "random:musichubert-demo"),
        ("music2vec-demo", "random:music2vec-demo"),
    ]
    verdicts = {gain.task: gain.verdict for gain in board.gains()[0].gains}
    assert verdicts["gtzan_genre"] == "helps"
    assert verdicts["nsynth_pitch"] == "hurts"


def test_twin_is_found_when_models_are_named_by_path(tmp_path):
    rng = np.random.default_rng(0)
    for k, model in enumerate(("out/runs/a", "random:out/runs/a", "random:out/runs/b")):
        write_json(tmp_path / str(k) / "scores" / "gtzan_genre.json", score(model, "gtzan_genre", 50, rng))
    gains = scoreboard(find(tmp_path)).gains()
    assert [entry.twin.label for entry in gains] == ["random:out/runs/a"]


def test_best_shares_the_mark_when_the_printed_scores_are_equal(tmp_path):
    rng = np.random.default_rng(0)
    for model, mean in (("mfcc", 0.50001), ("mfcc+semitone", 0.50003), ("random:x", 0.4)):
        value = score(model, "gtzan_genre", 0, rng)
        value["metrics"]["accuracy"] = {"mean": mean, "sd": 0, "values": [mean]}
        write_json(tmp_path / model / "scores" / "gtzan_genre.json", value)
    best = scoreboard(find(tmp_path)).best("gtzan_genre")
    assert [model.label for model in best] == ["mfcc", "mfcc+semitone"]


def test_two_encoders_of_one_name_are_told_apart(tmp_path):
    rng = np.random.default_rng(0)
    for place in ("a", "b"):
        value = {**score("run", "gtzan_genre", 50, rng), "encoder_hash": place}
        write_json(tmp_path / place / "scores" / "gtzan_genre.json", value)
    assert [model.label for model in scoreboard(find(tmp_path)).models] == ["run (a)", "run (b)"]


def test_two_encoders_of_one_name_and_place_are_told_apart_by_their_weights(tmp_path):
    rng = np.random.default_rng(0)
    for task, weights in (("gtzan_genre", "1111111122222222"), ("nsynth_pitch", "3333333344444444")):
        value = {**score("run", task, 50, rng), "encoder_hash": weights}
        write_json(tmp_path / "a" / "scores" / f"{task}.json", value)
    labels = [model.label for model in scoreboard(find(tmp_path)).models]
    assert labels == ["run (a, weights 11111111)", "run (a, weights 33333333)"]


def test_an_encoder_has_a_row_for_each_of_its_statistics_with_its_frames_in_either_and_its_own_twin(tmp_path):
    rng = np.random.default_rng(0)
    for model, statistics in (
        ("a", "mean"),
        ("a", "mean+sd"),
        ("b", "mean"),
        ("random:a", "mean+sd"),
        ("random:a", "mean"),
        ("mfcc", "mean+sd"),
    ):
        value = {**score(model, "gtzan_genre", 50, rng), "statistics": statistics, "config_hash": statistics}
        write_json(tmp_path / model / "scores" / f"gtzan_genre.{statistics}.json", value)
    for model in ("a", "random:a"):
        value = {**score(model, "gtzan_rhythm", 50, rng), "statistics": None}
        write_json(tmp_path / model / "scores" / "gtzan_rhythm.json", value)
    board = scoreboard(find(tmp_path))
    both = ["gtzan_genre", "gtzan_rhythm"]
    assert [(model.label, sorted(model.scores)) for model in board.models] == [
        ("a", both),
        ("a, mean+sd", both),
        ("b", ["gtzan_genre"]),
        ("random:a", both),
        ("random:a, mean+sd", both),
        ("mfcc", ["gtzan_genre"]),
    ]
    pairs = [(entry.model.label, entry.twin.label, len(entry.gains)) for entry in board.gains()]
    assert pairs == [("a", "random:a", 2), ("a, mean+sd", "random:a, mean+sd", 1)]  # frames have one gain
    assert [model.label for model in board.encoders().models] == ["a", "b", "random:a", "mfcc"]
    assert "Two pre-trained encoders, one untrained twin and one hand-made baseline were" in what_was_run(
        find(tmp_path), board
    )
    lines = [line.split(",")[0] for line in to_csv(board).splitlines() if "gtzan_rhythm" in line]
    assert set(lines) == {"a", "random:a"}


def test_what_a_score_says_it_is_of_goes_before_its_name(tmp_path):
    rng = np.random.default_rng(0)
    for model, kind in (("mfcc", "trained"), ("random:mfcc", "untrained"), ("chroma", "baseline")):
        value = {**score(model, "gtzan_genre", 50, rng), "source": {"kind": kind, "path": "/runs/mfcc"}}
        write_json(tmp_path / model / "scores" / "gtzan_genre.json", value)
    board = scoreboard(find(tmp_path))
    assert [model.kind for model in board.models] == ["trained", "untrained", "baseline"]
    assert len(board.gains()) == 1


def test_a_twin_that_was_probed_by_another_recipe_is_no_measure_of_a_gain(tmp_path):
    rng = np.random.default_rng(0)
    for model, recipe in (("a", "wide"), ("random:a", "narrow")):
        value = {**score(model, "gtzan_genre", 50, rng), "config_hash": recipe}
        write_json(tmp_path / model / "scores" / "gtzan_genre.json", value)
        write_json(tmp_path / model / "scores" / "gtzan_rhythm.json", score(model, "gtzan_rhythm", 50, rng))
    (found,) = scoreboard(find(tmp_path)).gains()
    assert [gain.task for gain in found.gains] == ["gtzan_rhythm"]


def test_notes_of_a_data_set_stand_once_under_the_table_of_data(tmp_path):
    rng = np.random.default_rng(0)
    for model in ("a", "b"):
        value = {**score(model, "gtzan_genre", 50, rng), "notes": ["the copy is of 2013"]}
        write_json(tmp_path / model / "scores" / "gtzan_genre.json", value)
    caption = data_table(scoreboard(find(tmp_path))).caption
    assert caption == "Examples used of those that the annotations promise. Genre: the copy is of 2013."


def test_score_that_is_not_a_number_is_neither_best_nor_a_gain(tmp_path):
    rng = np.random.default_rng(0)
    for model in ("a", "random:a", "mfcc"):
        value = score(model, "gtzan_genre", 50, rng)
        if model == "a":
            value["metrics"]["accuracy"] = {"mean": float("nan"), "sd": 0, "values": [float("nan")]}
        write_json(tmp_path / model / "scores" / "gtzan_genre.json", value)
    board = scoreboard(find(tmp_path))
    assert "a" not in [model.label for model in board.best("gtzan_genre")]
    assert board.gains()[0].gains == ()


def test_every_hand_made_baseline_is_known_as_one():
    assert tuple(PROBED) == BASELINES
