"""`musicssl tasks check` as a person uses it."""

import json

import numpy as np
import pytest
import soundfile


@pytest.fixture
def data_dir(tmp_path):
    """GTZAN of four tracks, one of them missing; its lists lie elsewhere."""
    root = tmp_path / "sets" / "gtzan"
    lists_dir = tmp_path / "lists"
    lists_dir.mkdir()
    lists = {"train": ["blues/blues.00001", "rock/rock.00002"], "valid": ["pop/pop.00003"], "test": ["jazz/jazz.00004"]}
    for split, names in lists.items():
        (lists_dir / f"{split}_filtered.txt").write_text("".join(f"{name}.wav\n" for name in names))
        for name in names:
            path = root / "genres" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(list(name.encode())).uniform(-0.1, 0.1, 12_000)
            soundfile.write(path, noise, 8000)
    (root / "genres/rock/rock.00002.wav").unlink()
    return tmp_path


def check(run, data_dir, name, *words):
    return run("tasks", "check", name, "--data", data_dir / "sets", "--split-lists", data_dir / "lists", *words)


def test_json_of_one_task_is_an_object_and_of_all_a_list(run, data_dir):
    said = check(run, data_dir, "gtzan_genre", "--json")
    found = json.loads(said.out)
    assert (said.code, said.err) == (0, "")
    assert found["splits"]["train"] == {"expected": 2, "usable": 1}
    assert found["reasons"] == {"missing": 1}
    path = data_dir / "sets/gtzan/genres/rock/rock.00002.wav"
    assert found["skipped"] == [{"id": "rock.00002", "split": "train", "path": str(path), "reason": "missing"}]
    said = check(run, data_dir, "all", "--json")
    rows = json.loads(said.out)
    assert said.code == 0  # what is not there was not asked for
    assert len(rows) == 13
    assert rows[2] == found
    assert rows[0]["task"] == "magnatagatune"
    assert not rows[0]["is_there"]


def test_people_get_a_table_with_reasons_and_notes(run, data_dir):
    said = check(run, data_dir, "gtzan_genre")
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[:2] == [["task", "split", "expected", "usable", "official"], ["gtzan_genre", "train", "2", "1", "443"]]
    assert "gtzan_genre: left out 1 missing" in said.out
    assert "this copy of GTZAN lists train 2" in said.out


def test_people_are_told_which_files_are_left_out_and_how_to_see_the_rest(run, data_dir):
    path = data_dir / "sets/gtzan/genres/rock/rock.00002.wav"
    said = check(run, data_dir, "gtzan_genre")
    assert f"gtzan_genre: left out 1 missing\n  missing: rock.00002 (train), {path}\n" in said.out
    assert "more" not in said.out
    with (data_dir / "lists/train_filtered.txt").open("a") as file:
        file.write("".join(f"polka/polka.{number:05d}.wav\n" for number in range(1_010)))
    lines = check(run, data_dir, "gtzan_genre").out.splitlines()
    first = lines.index("gtzan_genre: left out 1,010 bad_row, 1 missing")
    assert lines[first + 1] == f"  missing: rock.00002 (train), {path}"
    assert lines[first + 5].startswith("  bad_row: polka/polka.00003.wav (train), ")
    assert lines[first + 6] == "  and 1,006 more; --json lists all"


def test_strict_says_all_and_exits_with_3(run, data_dir):
    said = check(run, data_dir, "gtzan_genre", "--strict", "--json")
    assert said.code == 3
    assert json.loads(said.out)["reasons"] == {"missing": 1}
    assert "gtzan_genre leaves out 1" in said.err
    assert check(run, data_dir, "gtzan_genre", "--strict", "--annotations-only").code == 0


def test_a_wrong_folder_exits_with_3(run, tmp_path):
    assert run("tasks", "check", "all", "--data", tmp_path).code == 3
    assert run("tasks", "check", "mtg_genre", "--data", tmp_path).code == 3


def test_a_data_set_of_which_a_part_is_missing_is_no_absent_one(run, data_dir):
    said = run("tasks", "check", "all", "--data", data_dir / "sets")  # without its lists
    assert said.code == 3
    assert "no GTZAN fault-filtered train list" in said.out
    assert "gtzan_genre cannot be read; what is listed above says why" in said.err


def test_the_data_folder_may_be_relative(run, data_dir):
    def found(data, lists):
        return json.loads(run("tasks", "check", "all", "--data", data, "--split-lists", lists, "--json").out)[2]

    assert found("sets", "lists") == found(data_dir / "sets", data_dir / "lists")
