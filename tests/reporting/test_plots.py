import re

import matplotlib as mpl
import numpy as np
import pytest

from ray_musicssl.reporting import codebook_plots, plots
from ray_musicssl.reporting.found import find
from ray_musicssl.reporting.scoreboard import scoreboard
from ray_musicssl.reporting.svg import INK, shortened


def test_drawing_is_the_same_text_each_time_and_leaves_matplotlib_alone(tree):
    before = dict(mpl.rcParams)
    run = find(tree).runs[0]
    assert plots.hubert_loss("a", run) == plots.hubert_loss("a", run)
    assert dict(mpl.rcParams) == before


def test_drawing_takes_its_ink_from_the_page(tree):
    svg = plots.accuracy("a", find(tree).runs[0])
    assert INK not in svg
    assert "currentColor" in svg
    assert "font-family" not in svg


def test_inner_names_of_two_drawings_never_meet(tree):
    book = find(tree).codebooks[0]
    names = [{part.split('"')[0] for part in codebook_plots.usage(key, book).split(' id="')[1:]} for key in ("a", "b")]
    assert names[0]
    assert not names[0] & names[1]


def test_scores_name_every_model_once(tree):
    board = scoreboard(find(tree))
    svg = plots.scores("a", board)
    assert [svg.count(f">{model.label}</text>") for model in board.models] == [1] * 6


def test_dollar_signs_and_markup_in_names_are_text():
    svg = plots.confusion("a", ["$x_1$", "<b>"], [[1, 0], [0, 1]])
    assert "$x_1$" in svg
    assert "<b>" not in svg
    assert "&lt;b&gt;" in svg


def test_confusion_of_unequal_sizes_is_refused():
    with pytest.raises(ValueError, match="does not fit 1 classes"):
        plots.confusion("a", ["x"], [[1, 0], [0, 1]])


def test_of_many_classes_an_octave_apart_are_named():
    svg = plots.confusion("a", [f"p{pitch}" for pitch in range(48)], np.eye(48).tolist())
    assert sorted(set(re.findall(r">p(\d+)<", svg)), key=int) == ["0", "12", "24", "36"]


def test_long_names_keep_their_end():
    assert shortened("a" * 50 + "end", most=10) == "…" + "a" * 6 + "end"
    assert shortened("short") == "short"
