"""The recipe of a probe: what each task takes of it, and what is asked for in vain."""

from pathlib import Path

import pytest

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.probing.recipe import idle_settings, recipe_hash, resolved, stopping_of
from ray_musicssl.probing.sources import describe
from ray_musicssl.run_dir import hash_of
from ray_musicssl.tasks.base import TASKS


@pytest.mark.parametrize(
    ("settings", "tasks", "told"),
    [
        (
            {"key_ensemble": "vote"},
            ["gtzan_genre"],
            ["key_ensemble=vote has no effect: giantsteps_key is not among the tasks"],
        ),
        (
            {"key_ensemble": "best", "pooling": "embeddings"},
            ["giantsteps_key"],
            ["key_ensemble=best has no effect: with pooling=embeddings a song is one clip"],
        ),
        (
            {"statistics": "mean+sd", "lr_grid": (0.1,), "lr": 0.2},
            ["giantsteps_key", "gtzan_rhythm"],
            [
                "lr=0.2 has no effect: the rates of lr_grid are fitted",
                "statistics=mean+sd has no effect on gtzan_rhythm: beats are found in frames",
            ],
        ),
        ({"statistics": "mean+sd", "key_ensemble": "best"}, ["giantsteps_key"], []),
        (
            {"beat_decoder": "peaks", "technique_split": "recording"},
            ["vocalset_singer"],
            [
                "beat_decoder=peaks has no effect: none of the tasks is about beats",
                "technique_split=recording has no effect: vocalset_technique is not among the tasks",
            ],
        ),
    ],
)
def test_what_is_asked_for_in_vain_is_told(settings, tasks, told):
    assert idle_settings(ProbeConfig(**settings), tasks) == told


@pytest.mark.parametrize(("tasks", "is_idle"), [(["emomusic"], True), (["emomusic", "gtzan_rhythm"], False)])
def test_lists_of_a_data_set_that_is_not_asked_for_are_told_to_be_idle(tasks, is_idle):
    told = ["--split-lists lists has no effect: it is for gtzan_genre, gtzan_rhythm"]
    assert idle_settings(ProbeConfig(), tasks, Path("lists")) == told * is_idle


@pytest.mark.parametrize(
    ("task", "settings", "kept"),
    [
        ("giantsteps_key", {"key_ensemble": "vote"}, "vote"),
        ("giantsteps_key", {"key_ensemble": "vote", "pooling": "embeddings"}, "mean_logits"),
        ("gtzan_genre", {"key_ensemble": "vote"}, "mean_logits"),
    ],
)
def test_an_ensemble_is_part_of_the_recipe_where_it_changes_a_score(task, settings, kept):
    config = ProbeConfig(**settings)
    assert resolved(config, TASKS.load(task)(), describe("mfcc")).key_ensemble == kept


# MARBLE's configurations: epochs, patience of the rate, patience.
MARBLE = {
    "magnatagatune": (100, 3, 10),
    "giantsteps_key": (100, 5, 20),
    "gtzan_genre": (100, 6, 20),
    "emomusic": (100, 5, 20),
    "nsynth_instrument": (50, 3, 10),
    "nsynth_pitch": (50, 3, 10),
    "vocalset_technique": (100, 5, 10),
    "vocalset_singer": (100, 5, 20),
    "gtzan_rhythm": (10, 6, 20),  # of few, small batches: our own
    "mtg_instrument": (100, 3, 10),
    "mtg_moodtheme": (100, 3, 10),
    "mtg_genre": (100, 3, 10),
    "mtg_top50": (100, 3, 10),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_fit_stops_as_marble_has_it_or_as_it_is_told(task):
    assert stopping_of(ProbeConfig(), TASKS.load(task)()) == MARBLE[task]
    told = ProbeConfig(max_epochs=7, lr_patience=8, patience=9, beat_max_epochs=7)
    assert stopping_of(told, TASKS.load(task)()) == (7, 8, 9)


def test_a_recipe_is_the_same_whether_its_settings_are_named_or_not_and_idle_ones_do_not_count():
    def recipe(task, **settings):
        return recipe_hash(resolved(ProbeConfig(**settings), TASKS.load(task)(), describe("mfcc")))

    usual = recipe("magnatagatune")
    assert recipe("magnatagatune", max_epochs=100, lr_patience=3, patience=10) == usual
    assert recipe("magnatagatune", beat_decoder="peaks", technique_split="recording", layers="transformer") == usual
    assert recipe("magnatagatune", patience=20) != usual
    assert recipe("gtzan_rhythm", beat_decoder="peaks") != recipe("gtzan_rhythm")
    assert recipe("vocalset_technique", technique_split="recording") != recipe("vocalset_technique")


def test_scores_from_before_a_setting_was_there_are_of_its_default():
    config = resolved(ProbeConfig(), TASKS.load("gtzan_genre")(), describe("mfcc"))
    before = config.model_dump(mode="json", exclude={"layers", "beat_decoder", "technique_split"})
    assert recipe_hash(config) == hash_of(before)
