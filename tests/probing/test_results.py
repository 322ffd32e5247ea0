"""Score files: written whole, read back equal, found under a root."""

from dataclasses import replace

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.probing.results import TaskScore, best_rate, read_score, spread, write_score
from ray_musicssl.probing.sources import Origin
from ray_musicssl.reporting.found import find
from ray_musicssl.run_dir import read_json, write_json


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
        official={"train": 443, "valid": 197, "test": 290},
        source=Origin(kind="untrained", path="/runs/a", seed=3),
        features_hash="f",
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
    hashes = {"encoder_hash": "e", "data_hash": "d", "config_hash": "c", "features_hash": "f"}
    assert score.is_for(**hashes)
    assert score.is_for(**hashes | {"features_hash": None})  # not there to look at
    assert replace(score, features_hash=None).is_for(**hashes)  # of an earlier version
    for name in hashes:
        assert not score.is_for(**hashes | {name: "other"})


def test_a_score_with_a_grid_and_layers_is_read_back_and_one_of_an_earlier_version_too(tmp_path, score):
    layers = [spread([{"accuracy": value}]) for value in (0.1, 0.3)]
    full = replace(score, lr=0.01, valid_by_lr={"0.01": layers[0]["accuracy"]}, by_layer=layers)
    path = write_score(tmp_path, full)
    assert read_score(path) == full
    raw = read_json(path)
    assert raw["source"] == {"kind": "untrained", "path": "/runs/a", "seed": 3}
    for name in ("lr", "valid_by_lr", "by_layer", "official", "source", "features_hash"):
        del raw[name]
    write_json(path, raw)
    assert read_score(path) == replace(score, official=None, source=None, features_hash=None)


def test_the_rate_with_the_best_mean_on_valid_is_taken_and_the_first_of_equals():
    valid = {0.1: [{"a": 0.9}, {"a": 0.1}], 0.01: [{"a": 0.6}, {"a": 0.6}], 0.001: [{"a": 0.7}, {"a": 0.5}]}
    assert best_rate(valid, "a") == 0.01
    assert best_rate({1.0: [{"a": np.nan}]} | valid, "a") == 0.01
