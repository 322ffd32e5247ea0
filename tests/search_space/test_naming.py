"""Names of trials."""

import pytest

from ray_musicssl.search_space.naming import axis_word, trial_name
from ray_musicssl.search_space.setting import Setting


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("masking.mask_prob", 0.65, "prob0.65"),
        ("masking.mask_length", 10, "span10"),
        ("clustering.num_clusters", 500, "k500"),
        ("audio.crop_s", 5.0, "crop5"),
        ("audio.crop_s", 5, "crop5"),
        ("optim.peak_lr", 3.5e-5, "lr3.5e-05"),
        ("feature.name", "mfcc+semitone", "mfcc+semitone"),
        ("encoder.normalize_waveform", True, "normalize-waveformtrue"),
        ("init_from", "../runs/a b", "init-from.._runs_a_b"),
        ("optim.betas", [0.9, 0.98], "betas0.9_0.98"),
    ],
)
def test_a_value_is_a_short_word_that_may_stand_in_a_path(key, value, word):
    assert axis_word(Setting(key=key, value=value)) == word


def test_long_values_are_cut_and_still_told_apart():
    words = {axis_word(Setting(key="init_from", value="x" * 100 + end)) for end in "ab"}
    assert len(words) == 2
    assert {len(word) for word in words} == {len("init-from") + 32}


def test_a_name_is_variant_axes_and_seed_or_the_title_alone():
    point = [Setting(key="masking.mask_prob", value=0.5), Setting(key="clustering.num_clusters", value=25)]
    assert trial_name("title", "a", point, 3) == "a-prob0.5-k25-seed3"
    assert trial_name("title", "", point, None) == "prob0.5-k25"
    assert trial_name("title", "", [], None) == "title"
