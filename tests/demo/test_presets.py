"""Sizes, held against what is said of them."""

import re

import pytest

from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.presets import PRESETS


def minutes(jobs):
    return sum(job.duration_s for job in jobs) / 60


@pytest.mark.parametrize("preset", PRESETS)
def test_the_minutes_told_are_those_that_are_made(preset):
    told = [float(number) for number in re.findall(r"([\d.]+) minutes of", PRESETS[preset].about)]
    corpus = plan(preset, 0)
    pool = corpus.jobs_of("pool")
    made = [minutes(pool), minutes(corpus.jobs) - minutes(pool)]
    assert told == pytest.approx(made, rel=0.015)


@pytest.mark.parametrize(("preset", "at_most"), [("demo", 25), ("small", 120), ("full", 310)])
def test_the_data_sets_of_a_preset_keep_to_their_budget(preset, at_most):
    corpus = plan(preset, 0)
    assert minutes(corpus.jobs) - minutes(corpus.jobs_of("pool")) <= at_most


@pytest.mark.parametrize("preset", ["demo", "small", "full"])
def test_test_sets_are_a_fifth_or_more_of_their_data_set(preset):
    corpus = plan(preset, 0)
    for name in ("gtzan", "giantsteps", "nsynth", "emomusic", "magnatagatune", "mtg_jamendo"):
        assert len(corpus.jobs_of(name, "test")) >= len(corpus.jobs_of(name)) / 5


def test_long_tracks_have_several_windows_from_small_on():
    for preset in ("small", "full"):
        for split in ("train", "valid", "test"):
            assert any(job.duration_s > 31 for job in plan(preset, 0, ["mtg_jamendo"]).jobs_of("mtg_jamendo", split))
    assert max(job.duration_s for job in plan("demo", 0).jobs if job.set_name != "pool") <= 4


def test_clips_last_as_long_as_the_readers_need():
    for preset in PRESETS:
        corpus = plan(preset, 0)
        # The reader of EmoMusic drops windows under 2.5 s.
        assert min(job.duration_s for job in corpus.jobs_of("emomusic")) > 2.5
        assert min(job.duration_s for job in corpus.jobs) >= 1
        assert min(job.duration_s for job in corpus.jobs_of("gtzan")) >= 4
