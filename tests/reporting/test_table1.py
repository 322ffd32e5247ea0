import csv

import numpy as np
import pytest

from ray_musicssl.reporting.found import find
from ray_musicssl.reporting.paper import PRESET_ROWS, SPEECH_ROWS
from ray_musicssl.reporting.scoreboard import scoreboard
from ray_musicssl.reporting.table1 import CSV_COLUMNS, table1, table1_csv
from ray_musicssl.reporting.tables import Table

from .conftest import METRICS, score, write_json, write_run

RNG = np.random.default_rng(0)


@pytest.fixture
def board_of(tmp_path, monkeypatch):
    """A board of models: `{name: (preset or "", {(task, metric): points})}`."""

    def make(models):
        for name, (preset, points) in models.items():
            home = tmp_path / name
            if preset:
                write_run(home, preset, [{"step": 1}])
            for task in dict.fromkeys(task for task, _ in points):
                monkeypatch.setitem(METRICS, task, ())
                values = {m: value / 100 for (t, m), value in points.items() if t == task}
                metrics = {m: {"mean": value, "sd": 0.01, "values": [value, value]} for m, value in values.items()}
                write_json(home / "scores" / f"{task}.json", {**score(name, task, 0, RNG), "metrics": metrics})
        return scoreboard(find(tmp_path))

    return make


def texts(table: Table, start: str) -> list[str]:
    (row,) = [row for row in table.rows if row[0].text.startswith(start)]
    return [cell.text for cell in row[1:]]


def test_a_copy_of_a_printed_row_differs_from_it_by_nothing(board_of):
    printed = PRESET_ROWS["music2vec-crop5s"]
    nine, *_ = table1(board_of({"mine": ("music2vec-crop5s", printed.values)}))
    assert texts(nine, "Music2Vec, 5 s crops")[:-1] == [f"{value:.1f}" for value in printed.values.values()]
    assert texts(nine, "difference")[:-1] == ["+0.0"] * len(printed.values)
    assert float(texts(nine, "mine")[-1]) == pytest.approx(printed.average, abs=0.11)  # as printed values round


def test_the_two_tables_hold_the_nine_tasks_and_mtg_jamendo(board_of):
    hubert = SPEECH_ROWS["hubert-base"]
    nine, jamendo = table1(board_of({"facebook-hubert-base-ls960": ("", hubert.values)}))
    assert (len(nine.header), len(jamendo.header)) == (1 + 11 + 1, 1 + 8)
    assert texts(jamendo, "difference") == ["+0.0"] * 8
    # Its row stands below our model and is not listed a second time.
    names = [row[0].text for row in nine.rows]
    assert sum(name.startswith("HuBERT base") for name in names) == 1
    assert names[1].startswith("HuBERT base")
    assert [name.split(" (")[0] for name in names[3:-1]] == [
        "MusicHuBERT, k=2000, 39-d MFCC",
        "data2vec audio base, on speech",
        "Music2Vec, vanilla",
        "State of the art",
    ]


def test_only_our_best_is_bold_and_test_items_are_counted(board_of):
    key = ("gtzan_genre", "accuracy")
    (table,) = table1(board_of({"a": ("", {key: 50}), "b": ("", {key: 60})}))
    assert [row[1].is_best for row in table.rows] == [False, True, False, False, False, False, False, False]
    assert texts(table, "b") == ["60.0 ± 1.0", "–"]
    assert texts(table, "test items used") == ["89 of 90", "–"]


def test_scores_on_made_up_data_are_said_not_to_compare(tree):
    found = find(tree)
    assert found.is_synthetic
    assert "do not compare" in table1(scoreboard(found), is_synthetic=True)[0].caption
    assert "do not compare" not in table1(scoreboard(found))[0].caption


def test_the_csv_has_a_row_a_model_and_column(board_of):
    printed = PRESET_ROWS["music2vec-vanilla"]
    points = {key: value + 1 for key, value in printed.values.items()}
    lines = list(csv.DictReader(table1_csv(board_of({"mine": ("music2vec-vanilla", points)})).splitlines()))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert len(lines) == len(points) == 19
    assert {float(line["difference"]) for line in lines} == {1.0}
    assert {(line["test_used"], line["test_expected"], line["num_values"]) for line in lines} == {("89", "90", "2")}
