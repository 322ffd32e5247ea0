import json

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.reporting.found import find

from .conftest import score, write_checkpoint, write_codebook, write_json, write_run, write_shards


def test_everything_in_the_tree_is_found(tree):
    found = find(tree)
    assert [run.name for run in found.runs] == ["musichubert-demo", "music2vec-demo"]
    assert len(found.scores) == 6 * 4
    assert sorted(book.feature for book in found.codebooks) == ["mfcc", "semitone"]
    assert found.ledgers[0].counts["rejected", "empty file"] == 2
    assert found.is_synthetic


def test_a_demo_preset_on_real_music_is_not_called_synthetic(tree):
    (tree / "data" / "done-demo-data.json").unlink()
    assert not find(tree).is_synthetic


def test_the_ledger_of_embeddings_is_not_one_of_shards(tmp_path):
    write_shards(tmp_path / "embeddings")
    (tmp_path / "embeddings" / "done-prepare.json").unlink()
    write_shards(tmp_path / "shards")
    assert [ledger.path.name for ledger in find(tmp_path).ledgers] == ["shards"]
    # Shards whose run was killed just before its marker are shown.
    (tmp_path / "shards" / "done-prepare.json").unlink()
    (tmp_path / "shards" / "manifest.parquet").touch()
    assert [ledger.path.name for ledger in find(tmp_path).ledgers] == ["shards"]


def test_a_score_from_before_a_run_was_trained_on_is_left_out_aloud(tmp_path, caplog):
    rng = np.random.default_rng(0)
    write_run(tmp_path / "a", "", [{"step": 1}])
    early, late = "1" * 64, "2" * 64
    for step, sha256 in ((500, early), (1000, late)):
        write_checkpoint(tmp_path / "a", step, sha256)
    for task, sha256 in (("gtzan_genre", early), ("nsynth_pitch", late)):
        value = {**score("a", task, 50, rng), "encoder_hash": sha256[:16]}
        write_json(tmp_path / "a" / "scores" / f"{task}.json", value)
    elsewhere = {**score("a", "gtzan_genre", 40, rng), "encoder_hash": early[:16]}
    write_json(tmp_path / "baselines" / "step-500" / "scores" / "gtzan_genre.json", elsewhere)
    found = find(tmp_path)
    assert {(s.task, s.path.parent.parent.name) for s in found.scores} == {
        ("nsynth_pitch", "a"),
        ("gtzan_genre", "step-500"),
    }
    assert "gtzan_genre.json is of an earlier checkpoint and is left out; probe" in caplog.text


def test_later_objects_win_when_a_step_repeats(tmp_path):
    log = [{"step": 1, "a": 1.0, "b": 5.0}, {"step": 2, "a": 2.0}, {"step": 1, "a": 9.0}]
    write_run(tmp_path / "run", "", log)
    run = find(tmp_path).runs[0]
    assert (run.series("a").steps, run.series("a").values) == ([1, 2], [9.0, 2.0])
    assert run.series("b").values == [5.0]


def test_values_that_are_not_finite_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": NaN}\n{"step": 2, "a": 3}\n{"step": 3, "a": "x"}\n')
    assert find(tmp_path).runs[0].series("a").steps == [2]


def test_late_mean_is_of_the_last_tenth(tmp_path):
    write_run(tmp_path, "", [{"step": k, "a": float(k)} for k in range(1, 21)])
    assert find(tmp_path).runs[0].series("a").late_mean() == 19.5


def test_line_being_written_is_not_damage(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": 1}\n{"step": 2, "a"')
    assert find(tmp_path).runs[0].series("a").steps == [1]


def test_damaged_line_names_file_and_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:2"):
        find(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"task": "a"}', '{"task": "a", "model": "b", "metrics": {}}'])
def test_damaged_score_names_the_file(tmp_path, text):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        find(tmp_path)


def test_empty_root_raises_with_a_remedy(tmp_path):
    with pytest.raises(DataError, match="musicssl pretrain"):
        find(tmp_path)
    with pytest.raises(DataError, match="not a directory"):
        find(tmp_path / "absent")


def test_other_yaml_named_config_is_not_a_run(tmp_path):
    (tmp_path / "config.yaml").write_text("clustering: {num_clusters: 5}\n")
    with pytest.raises(DataError, match="nothing to report"):
        find(tmp_path)


def test_codebook_without_counts_gets_them_from_its_usage(tmp_path):
    write_codebook(tmp_path, "mfcc", np.random.default_rng(0))
    raw = json.loads((tmp_path / "codebook.json").read_text())
    write_json(tmp_path / "codebook.json", {"feature": raw["feature"], "num_clusters": 4, "usage": [2, 2, 4, 0]})
    book = find(tmp_path).codebooks[0]
    assert book.num_dead == 1
    assert book.num_frames == 8
    assert book.entropy_nats == pytest.approx(1.5 * np.log(2))


def test_copies_of_a_score_count_once(tmp_path):
    value = score("mfcc", "gtzan_genre", 50, np.random.default_rng(0))
    for place in ("a", "b"):
        write_json(tmp_path / place / "scores" / "gtzan_genre.json", value)
    assert len(find(tmp_path).scores) == 1


def test_runs_of_one_name_are_told_apart(tmp_path):
    for place in ("a", "b"):
        write_run(tmp_path / place / "run", "", [{"step": 1}])
    assert [run.name for run in find(tmp_path).runs] == ["a/run", "b/run"]


def test_timings_without_seconds_name_the_file(tree):
    write_json(tree / "timings.json", {"stages": [{"stage": "probe"}]})
    with pytest.raises(DataError, match=r"timings\.json"):
        find(tree)


def test_runs_stand_in_the_papers_order(tmp_path):
    for name in ("music2vec-crop5s", "own", "music2vec-vanilla"):
        write_run(tmp_path / name, name, [{"step": 1}], objective={"name": "music2vec", "top_k": 3})
    write_run(tmp_path / "z", "musichubert-k2000-mfcc39", [{"step": 1}])
    assert [run.name for run in find(tmp_path).runs] == ["z", "music2vec-vanilla", "music2vec-crop5s", "own"]
