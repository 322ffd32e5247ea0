"""Score files: written whole, read back equal, found under a root."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.probing.results import TaskScore, details_of, read_score, spread, write_score
from ray_musicssl.reporting.found import find
from ray_musicssl.tasks.base import Example, Predictions
from ray_musicssl.tasks.giantsteps import KEYS, GiantStepsKey
from ray_musicssl.tasks.gtzan import GtzanRhythm
from ray_musicssl.tasks.nsynth import NsynthPitch


@pytest.fixture
def score():
    runs = [{"accuracy": 0.5}, {"accuracy": 0.7}]
    return TaskScore(
        task="gtzan_genre",
        dataset="GTZAN",
        model="a",
        encoder_hash="e",
        data_hash="d",
        config_hash="c",
        metrics=spread(runs),
        valid=spread(runs[:1]),
        used={"train": 3, "valid": 1, "test": 1},
        expected={"train": 4, "valid": 1, "test": 1},
        skipped={"missing": 1},
        layer_weights=[0.25, 0.75],
        layers=2,
        notes=["small"],
        details={"confusion": {"classes": ["x", "y"], "matrix": [[1, 0], [0, 1]]}},
    )


def test_a_score_is_read_back_as_it_was_written(tmp_path, score):
    path = write_score(tmp_path, score)
    assert path == tmp_path / "scores" / "gtzan_genre.json"
    assert read_score(path) == score


def test_the_report_reads_score_files(tmp_path, score):
    write_score(tmp_path, score)
    found = find(tmp_path).scores[0]
    assert (found.task, found.model, found.metrics["accuracy"].mean) == ("gtzan_genre", "a", pytest.approx(0.6))


def test_spread_is_the_mean_and_the_population_deviation(score):
    assert score.metrics["accuracy"].mean == pytest.approx(0.6)
    assert score.metrics["accuracy"].sd == pytest.approx(np.std([0.5, 0.7]))
    assert score.valid["accuracy"].sd == 0


def test_every_score_under_a_root_is_listed(tmp_path, score):
    write_score(tmp_path / "b" / "deep", score)
    write_score(tmp_path / "a", replace(score, model="other"))
    assert [read_score(path).model for path in sorted(tmp_path.rglob("scores/*.json"))] == ["other", "a"]


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"metrics": {}, "valid": {}}'])
def test_a_damaged_score_is_named(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.json is not a probe score"):
        read_score(path)


def test_only_equal_hashes_make_a_score_reusable(score):
    assert score.is_for(encoder_hash="e", data_hash="d", config_hash="c")
    assert not score.is_for(encoder_hash="e", data_hash="d", config_hash="other")


def predictions(targets, outputs, tracks=None):
    examples = [
        Example(id=str(i), track=(tracks or "abcdef")[i], path=Path("x"), split="test", target=target)
        for i, target in enumerate(targets)
    ]
    return Predictions(examples=examples, outputs=outputs, frame_rate=50.0)


def test_confusion_counts_songs_not_clips():
    outputs = [np.eye(24, dtype=np.float32)[index] for index in (3, 3, 7)]
    found = details_of(GiantStepsKey(), KEYS, predictions([3, 3, 4], outputs, "aab"))["confusion"]
    assert found["matrix"][3][3] == 1
    assert found["matrix"][4][7] == 1
    assert np.sum(found["matrix"]) == 2


def test_many_classes_have_no_confusion_matrix():
    outputs = [np.zeros(128, np.float32)]
    assert details_of(NsynthPitch(), [str(p) for p in range(128)], predictions([3], outputs)) == {}


def test_beats_are_shown_with_what_was_annotated_and_decoded():
    curve = np.full(200, 0.01, np.float32)
    curve[10::25] = 0.9
    found = details_of(GtzanRhythm(), ["beat"], predictions([[0.2, 0.7]], [curve]))["beats"]
    assert found["reference"] == [0.2, 0.7]
    assert len(found["activation"]) == 200
    assert found["decoded"][:2] == pytest.approx([0.2, 0.7])
