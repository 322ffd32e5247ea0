import numpy as np
import pytest

from ray_musicssl.reporting.appendix import config_table, data_table, ledger_table
from ray_musicssl.reporting.found import Ledger, find
from ray_musicssl.reporting.scoreboard import scoreboard
from ray_musicssl.reporting.scores import MetricScore
from ray_musicssl.reporting.tables import (
    Cell,
    Table,
    all_metrics_table,
    gains_table,
    markdown_text,
    probe_table,
    score_text,
    signed,
    to_markdown,
)

from .conftest import score, write_json


def column(table: Table, title: str) -> list[Cell]:
    return [row[[head.split("\n")[0] for head in table.header].index(title)] for row in table.rows]


def test_scores_are_points_with_their_spread():
    assert score_text(MetricScore(mean=0.7125, sd=0.0081, values=(0.7, 0.72))) == "71.2 ± 0.8"
    assert score_text(MetricScore(mean=-0.05, sd=0.0, values=(-0.05,))) == "−5.0"
    assert (signed(3.14), signed(-0.44)) == ("+3.1", "−0.4")


def test_probe_table_marks_the_best_of_each_column(tree):
    table = probe_table(scoreboard(find(tree)))
    assert [cell.is_best for cell in column(table, "Genre")] == [True, False, False, False, False, False]
    assert [cell.is_best for cell in column(table, "Pitch")] == [False] * 5 + [True]


def test_a_cell_without_a_score_is_not_the_best(tmp_path):
    """Two states of one encoder in one place, each with one task."""
    rng = np.random.default_rng(0)
    for task, weights in (("gtzan_genre", "1" * 16), ("nsynth_pitch", "2" * 16)):
        write_json(tmp_path / "a" / "scores" / f"{task}.json", {**score("run", task, 50, rng), "encoder_hash": weights})
    table = probe_table(scoreboard(find(tmp_path)))
    assert [(cell.text == "–", cell.is_best) for cell in column(table, "Genre")] == [(False, True), (True, False)]
    assert [(cell.text == "–", cell.is_best) for cell in column(table, "Pitch")] == [(True, False), (False, True)]


def test_row_mean_is_of_the_headline_scores(tree):
    board = scoreboard(find(tree))
    means = [board.models[0].scores[task].metrics for task in board.tasks]
    keys = ("weighted_score", "accuracy", "accuracy", "f1_20ms")
    expected = 100 * np.mean([metrics[key].mean for metrics, key in zip(means, keys, strict=True)])
    assert float(column(probe_table(board), "mean")[0].text) == pytest.approx(expected, abs=0.051)


def test_gains_table_marks_what_helps_and_hurts(tree):
    board = scoreboard(find(tree))
    table = gains_table(board.gains(), board.tasks)
    assert [cell.mark for cell in table.rows[0]] == ["trained", "ties", "helps", "hurts", "helps"]
    assert table.rows[0][3].text.startswith("▼ −1")


def test_every_metric_has_a_column(tree):
    header = all_metrics_table(scoreboard(find(tree))).header
    assert len(header) == 1 + 2 + 1 + 1 + 2


def test_markdown_keeps_hostile_text_inside_its_cell():
    table = Table(header=("a|b", "n"), rows=((Cell(text="<b>*x*\n|"), Cell(text="1", is_best=True)),))
    lines = to_markdown(table).splitlines()
    assert lines == ["| a\\|b | n |", "| --- | ---: |", "| &lt;b&gt;\\*x\\* \\| | **1** |"]
    assert markdown_text("[a](b)") == "\\[a\\](b)"


def test_ledger_table_lists_used_files_first_and_gathers_the_rest(tmp_path):
    counts = {("rejected", f"reason {k:02d}"): 1 for k in range(30)} | {("used", ""): 5}
    table = ledger_table(Ledger(path=tmp_path, facts={}, counts=counts))
    assert [cell.text for cell in table.rows[0]] == ["used", "–", "5"]
    assert [cell.text for cell in table.rows[-1]] == ["…", "11 further reasons", "11"]


def test_data_table_shows_what_is_missing(tree):
    table = data_table(scoreboard(find(tree)))
    assert [cell.text for cell in table.rows[0]] == ["Key", "GiantSteps", "1 undecodable", "110", "40", "89 of 90"]


def test_settings_are_listed_as_overrides(tree):
    settings = {row[0].text: row[1].text for row in config_table(find(tree).runs[0]).rows}
    assert settings["encoder.num_layers"] == "4"
    assert settings["training.max_steps"] == "2000"
