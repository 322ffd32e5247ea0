import pytest

from ray_musicssl.reporting.paper import (
    COLUMNS,
    PRESET_ROWS,
    SOTA,
    SPEECH_ROWS,
    headline,
    paper_value,
    task_order,
)
from ray_musicssl.reporting.table1 import average_score

PRINTED = {**PRESET_ROWS, **SPEECH_ROWS}


def test_there_are_twelve_models_and_two_speech_models():
    assert len(PRESET_ROWS) == 12
    assert len(SPEECH_ROWS) == 2
    assert len(SOTA.values) == len(COLUMNS) == 19


@pytest.mark.parametrize("name", PRINTED)
def test_average_score_reproduces_the_printed_average(name):
    row = PRINTED[name]
    assert row.average is not None
    assert average_score(row.values) == pytest.approx(row.average, abs=0.06)


def test_plain_mean_of_the_columns_does_not_reproduce_the_printed_average():
    row = PRESET_ROWS["musichubert-k500-mfcc60"]
    nine = [row.values[column.task, column.metric] for column in COLUMNS[:11]]
    assert row.average is not None
    assert abs(sum(nine) / len(nine) - row.average) > 0.06


def test_average_score_needs_every_column():
    values = dict(PRESET_ROWS["music2vec-vanilla"].values)
    del values["gtzan_genre", "accuracy"]
    assert average_score(values) is None


def test_paper_value_is_found_by_preset_task_and_metric():
    assert paper_value("music2vec-crop5s", "gtzan_genre", "accuracy") == 76.6
    assert paper_value("musichubert-k2000-mfcc39", "mtg_top50", "average_precision") == 28.1
    assert paper_value("music2vec-crop5s", "mtg_top50", "roc_auc") is None
    assert paper_value("musichubert-demo", "gtzan_genre", "accuracy") is None


def test_headline_is_the_papers_metric_and_else_the_first_name():
    assert headline("gtzan_rhythm", ["f1_70ms", "f1_20ms"]) == "f1_20ms"
    assert headline("emomusic", ["r2_arousal", "r2", "r2_valence"]) == "r2"
    assert headline("emomusic", ["r2_arousal", "r2_valence"]) == "r2_valence"
    assert headline("magnatagatune", ["average_precision", "roc_auc"]) == "roc_auc"
    assert headline("own_task", ["zeta", "alpha"]) == "alpha"


def test_tasks_sort_as_in_table_1_and_unknown_ones_come_last():
    names = ["own_task", "gtzan_rhythm", "giantsteps_key", "nsynth_pitch"]
    assert sorted(names, key=task_order) == ["giantsteps_key", "nsynth_pitch", "gtzan_rhythm", "own_task"]
