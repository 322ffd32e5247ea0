import numpy as np
import pytest

from ray_musicssl.reporting import sentences
from ray_musicssl.reporting.found import Run, find
from ray_musicssl.reporting.scoreboard import scoreboard

from .conftest import hubert_log, score, write_json, write_run, write_scores


def run_with(tmp_path, masked: float, entropy: float) -> Run:
    write_run(tmp_path, "", [{"step": 1, "pretrain/masked_loss": masked, "pretrain/label_entropy": entropy}])
    return find(tmp_path).runs[0]


@pytest.mark.parametrize(
    ("masked", "opening"),
    [
        (7.36, "Learned 1.46 nats"),
        (8.76, "Nothing was learned: the loss equals"),  # the plateau: 0.7 % below the entropy
        (8.84, "Nothing was learned: the loss equals"),
        (9.50, "Nothing was learned: the loss is above"),
    ],
)
def test_loss_is_told_against_the_label_entropy(tmp_path, masked, opening):
    assert sentences.learned_in_words(run_with(tmp_path, masked, 8.82)).startswith(opening)


def test_run_without_entropy_claims_nothing(tmp_path):
    write_run(tmp_path, "", [{"step": 1, "pretrain/masked_loss": 3.0}])
    assert sentences.learned_in_words(find(tmp_path).runs[0]) == ""


@pytest.mark.parametrize(("late", "verdict"), [(0.5, "no collapse"), (0.05, "a collapse")])
def test_collapse_is_judged_where_the_guard_holds(tmp_path, late, verdict):
    log = [{"step": 1, "pretrain/target_std": 0.01}, {"step": 900, "pretrain/target_std": late}]
    config = {"objective": {"name": "music2vec", "top_k": 3}, "training": {"max_steps": 1000}}
    write_run(tmp_path, "", log, **config)
    assert sentences.spread_in_words(find(tmp_path).runs[0]).endswith(f": {verdict}.")


def test_opening_counts_wins_and_losses(tree):
    found = find(tree)
    words = sentences.what_was_run(found, scoreboard(found))
    assert "helps in 4 of 8 comparisons, makes no clear difference in 1 and hurts in 3" in words
    assert "The best score belongs to a pre-trained encoder for genre and a hand-made baseline for key" in words
    assert "2,000 steps, 5.6 h of audio" in words


def test_opening_names_every_kind_that_shares_the_best_score(tmp_path):
    write_run(tmp_path / "runs" / "a", "", [{"step": 1}])
    for model, points in {"a": (40, 50), "random:a": (40, 30), "mfcc": (40, 20)}.items():
        for task, value in zip(("gtzan_genre", "nsynth_pitch"), points, strict=True):
            entry = score(model, task, 0, np.random.default_rng(0))
            entry["metrics"]["accuracy"] = {"mean": value / 100, "sd": 0, "values": [value / 100]}
            write_json(tmp_path / model / "scores" / f"{task}.json", entry)
    found = find(tmp_path)
    assert sentences.what_was_run(found, scoreboard(found)).endswith(
        "The best score belongs to a pre-trained encoder for pitch and a pre-trained encoder tied with an untrained one "
        "tied with a hand-made baseline for genre."
    )


def test_opening_says_when_a_run_has_not_ended(tmp_path):
    write_run(tmp_path / "run", "", hubert_log(np.random.default_rng(0))[:30])
    found = find(tmp_path)
    assert "300 of 2,000 steps so far" in sentences.what_was_run(found, scoreboard(found))


def test_gains_are_told_by_group_and_size(tree):
    words = sentences.gains_in_words(scoreboard(find(tree)).gains()[0])
    assert words.index("helps on genre") < words.index("beats") < words.index("no clear difference on key")
    assert "it hurts on pitch (−1" in words


@pytest.mark.parametrize(("seconds", "words"), [(8, "8 s"), (214, "3.6 min"), (7200, "2.0 h")])
def test_durations_are_said_in_a_fitting_unit(seconds, words):
    assert sentences.duration(seconds) == words


def test_lists_end_with_and():
    assert [sentences.listed(list(words)) for words in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def test_opening_says_that_gains_are_unknown_without_twins(tmp_path):
    write_run(tmp_path / "runs" / "a", "", [{"step": 1}])
    write_scores(tmp_path, {"a": (10, 20, 30, 40)}, np.random.default_rng(0))
    found = find(tmp_path)
    assert "no untrained twin was probed" in sentences.what_was_run(found, scoreboard(found)).lower()
