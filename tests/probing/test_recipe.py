"""The recipe of a probe: what each task takes of it, and what is asked for in vain."""

import pytest

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.probing.recipe import idle_settings, resolved
from ray_musicssl.probing.sources import describe
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
    ],
)
def test_what_is_asked_for_in_vain_is_told(settings, tasks, told):
    assert idle_settings(ProbeConfig(**settings), tasks) == told


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
