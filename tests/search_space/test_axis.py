"""Distributions and what is drawn of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.search_space.axis import Axis, draw_points
from ray_musicssl.search_space.document import Document
from ray_musicssl.search_space.setting import Setting, known_keys


def values(axis, number=2000):
    return [axis.draw(0, point, 0).value for point in range(number)]


@pytest.mark.parametrize("kind", ["uniform", "loguniform"])
def test_draws_spread_evenly_over_their_range_or_its_logarithm(kind):
    drawn = values(Axis(key="optim.peak_lr", kind=kind, low=1e-4, high=1e-2))
    scale = math.log if kind == "loguniform" else float
    low, high = scale(1e-4), scale(1e-2)
    shares = sorted((scale(value) - low) / (high - low) for value in drawn)
    # The largest distance to the uniform distribution; 1.63 / sqrt(n) is passed by one in a hundred. Source: Kolmogorov.
    assert max(abs(share - (i + 0.5) / len(shares)) for i, share in enumerate(shares)) < 1.63 / len(shares) ** 0.5
    assert min(drawn) >= 1e-4
    assert max(drawn) <= 1e-2


def test_whole_numbers_leave_out_the_upper_bound():
    assert set(values(Axis(key="k", kind="randint", low=3, high=6))) == {3, 4, 5}


def test_choices_are_all_drawn_about_equally_often():
    drawn = values(Axis(key="k", kind="choice", values=("a", "b", "c", "d")))
    assert all(400 < drawn.count(value) < 600 for value in "abcd")


def test_a_further_choice_changes_only_the_draws_that_it_takes():
    few, more = (values(Axis(key="k", kind="choice", values=tuple(names))) for names in ("abc", "dabc"))
    assert [value for value in more if value != "d"] == [old for old, new in zip(few, more, strict=True) if new != "d"]
    assert 400 < more.count("d") < 600


@given(low=st.floats(1e-9, 1e3), width=st.floats(1e-9, 1e3), value=st.floats(0, 1))
def test_a_rounded_number_stays_inside_its_range(low, width, value):
    axis = Axis(key="k", kind="uniform", low=low, high=low + width)
    rounded = axis.rounded(low + value * width)
    assert low <= rounded <= low + width
    assert rounded == pytest.approx(low + value * width, rel=1e-3)


def test_axes_are_drawn_independently():
    first, second = (values(Axis(key=key, kind="uniform", low=0, high=1)) for key in ("optim.peak_lr", "optim.eps"))
    # Of independent draws the correlation has a spread of 1 / sqrt(n) about 0.
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / len(first) ** 0.5


def test_points_differ_until_there_are_no_more(tmp_path):
    axis = Axis(key="masking.mask_length", kind="randint", low=1, high=9)
    document = Document(path=tmp_path, values={}, lines={})
    points = draw_points(document, [axis], samples=8, seed=0)
    assert sorted(point[0].value for point in points) == list(range(1, 9))


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0.5, "a=0.5"),
        (1e-5, "a=1e-05"),
        (True, "a=true"),
        (None, "a=null"),
        ("mfcc+semitone", "a=mfcc+semitone"),
        ("true", 'a="true"'),
        ("x: y", 'a="x: y"'),
        ("[", 'a="["'),
        ("", 'a=""'),
        ([{"name": "residual"}], 'a=[{"name": "residual"}]'),
    ],
)
def test_a_word_gives_its_value_back(value, word):
    from ray_musicssl.config.loading import parse_overrides

    assert Setting(key="a", value=value).word == word
    assert parse_overrides([word]) == {"a": value}


def test_every_path_of_every_kind_of_section_is_known():
    known = known_keys()
    some = ("masking.mask_prob", "objective.top_k", "objective.temperature", "feature.layer", "feature.codebook")
    assert set(known) >= {*some, "objective.music2vec.top_k", "joint_features", "init_from", "audio.crop_schedule"}
    assert {"preset", "scale", "masking", "objective"}.isdisjoint(known)
    assert len(known) == len(set(known))
