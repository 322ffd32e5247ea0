import csv
import json

import numpy as np
import pytest

from ray_musicssl.config.loading import load_config, save_config
from ray_musicssl.config.pretrain import PretrainConfig
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


def change(root, name, task, **fields):
    path = root / name / "scores" / f"{task}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


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


@pytest.mark.parametrize(
    ("name", "is_printed"),
    [
        ("hubert-base-ls960", True),
        ("facebook_data2vec-audio-base-960h", True),
        ("musichubert-base", False),
        ("chinese-hubert-base", False),
        ("hubert-base-run", False),
    ],
)
def test_only_the_speech_models_themselves_stand_beside_their_rows(board_of, name, is_printed):
    (table,) = table1(board_of({name: ("", {("gtzan_genre", "accuracy"): 50})}))
    assert any(row[0].text == "difference" for row in table.rows) == is_printed


def test_a_run_with_other_settings_than_its_preset_says_so(board_of):
    (table,) = table1(board_of({"mine": ("music2vec-vanilla", {("gtzan_genre", "accuracy"): 50})}))
    assert table.rows[0][0].text == "mine (changed settings)"  # the fixture's run has 4 layers


def test_a_run_as_the_paper_has_it_is_not_said_to_be_changed(tmp_path):
    config = load_config(
        PretrainConfig, preset="music2vec-span5", overrides=["training.seed=3", "scaling.num_workers=2"]
    )
    home = tmp_path / "run"
    home.mkdir()
    save_config(config, home / "config.yaml")
    write_json(home / "scores" / "gtzan_genre.json", score("run", "gtzan_genre", 50, RNG))
    (table,) = table1(scoreboard(find(tmp_path)))
    assert table.rows[0][0].text == "run"


@pytest.mark.parametrize("told", [{"is_part": True}, {"is_part": None, "expected": {"test": 10}}, {}])
def test_no_difference_is_taken_on_a_test_set_that_is_not_the_published_one(board_of, tmp_path, told):
    models = {"mine": ("music2vec-vanilla", {("gtzan_genre", "accuracy"): 50, ("nsynth_pitch", "accuracy"): 80})}
    board_of(models)
    change(tmp_path, "mine", "gtzan_genre", official={"test": 290}, used={"test": 10}, **told)
    change(tmp_path, "mine", "nsynth_pitch", official={"test": 90}, expected={"test": 90}, used={"test": 89})
    board = scoreboard(find(tmp_path))
    (table,) = table1(board)
    assert texts(table, "difference") == ["–", "−8.9", "–"]
    assert texts(table, "test items used") == ["10 of 290", "89 of 90", "–"]
    assert "over one item in fifty was not used: Genre." in table.caption
    gaps = {line["task"]: line["difference"] for line in csv.DictReader(table1_csv(board).splitlines())}
    assert gaps == {"gtzan_genre": "", "nsynth_pitch": "-8.9000"}


def test_a_printed_row_stays_in_the_table_that_our_model_has_no_score_in(board_of):
    models = {
        "mine": ("musichubert-k2000-mfcc39", {("gtzan_genre", "accuracy"): 50}),
        "mfcc": ("", {("mtg_top50", "roc_auc"): 70}),
    }
    _, jamendo = table1(board_of(models))
    assert texts(jamendo, "MusicHuBERT, k=2000") == ["82.4", "28.1"]


def test_a_score_that_is_no_number_is_not_the_best(board_of):
    key = ("gtzan_genre", "accuracy")
    (table,) = table1(board_of({"a": ("", {key: float("nan")}), "b": ("", {key: 60})}))
    assert [row[1].is_best for row in table.rows[:2]] == [False, True]
