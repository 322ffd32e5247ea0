"""Tasks by name."""

import json

import pytest

from ray_musicssl.errors import ConfigError, NotThereError
from ray_musicssl.tasks.base import TASKS, Task
from ray_musicssl.tasks.listing import check_all, check_task, faults, make_task
from ray_musicssl.tasks.nsynth import FAMILIES

NAMES = (
    *("magnatagatune", "giantsteps_key", "gtzan_genre", "emomusic", "nsynth_instrument", "nsynth_pitch"),
    *("vocalset_technique", "vocalset_singer", "gtzan_rhythm"),
    *("mtg_instrument", "mtg_moodtheme", "mtg_genre", "mtg_top50"),
)


@pytest.fixture
def data_dir(tmp_path, write_audio):
    """A folder with NSynth alone, of which one note is missing."""
    for split, family in (("train", 0), ("valid", 1), ("test", 2)):
        note = f"{FAMILIES[family]}_acoustic_000-060-100"
        folder = tmp_path / "nsynth" / f"nsynth-{split}"
        write_audio(folder / "audio" / f"{note}.wav")
        (folder / "examples.json").write_text(json.dumps({note: {"note_str": note, "pitch": 60}}))
    index = {name: {"note_str": name, "pitch": 60} for name in (note, "flute_acoustic_001-060-100")}
    (folder / "examples.json").write_text(json.dumps(index))
    return tmp_path


def test_tasks_are_in_the_order_of_the_papers_table():
    assert tuple(TASKS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_task_says_what_it_is(name):
    task = make_task(name)
    assert isinstance(task, Task)
    assert task.name == name
    assert task.pooling == ("embeddings" if name.startswith("mtg_") else "outputs")
    assert (task.kind == "multilabel") == (task.metrics == ("roc_auc", "average_precision"))


def test_a_check_counts_what_a_probe_would_get(data_dir):
    note = (
        "this copy of NSynth lists train 1, valid 1, test 2; the official one train 289205, valid 12678, test 4096: "
        "scores do not compare with published ones"
    )
    assert check_task("nsynth_pitch", data_dir) == {
        "task": "nsynth_pitch",
        "splits": {
            "train": {"expected": 1, "usable": 1},
            "valid": {"expected": 1, "usable": 1},
            "test": {"expected": 2, "usable": 1},
        },
        "reasons": {"missing": 1},
        "notes": [note],
        "official": {"train": 289_205, "valid": 12_678, "test": 4_096},
    }


def test_all_goes_on_past_data_sets_that_are_not_there(data_dir):
    rows = check_all(data_dir)
    assert [row["task"] for row in rows] == list(NAMES)
    assert [row["task"] for row in rows if "splits" in row] == ["nsynth_instrument", "nsynth_pitch"]
    assert all(not row["is_there"] and str(data_dir) in row["error"] for row in rows if "error" in row)
    assert faults(rows, strict=False) == []
    wrong = faults(rows, strict=True)
    assert len(wrong) == 13
    assert "nsynth_pitch leaves out 1" in wrong


def test_a_data_set_that_is_there_but_cannot_be_read_is_a_fault(data_dir):
    (data_dir / "nsynth/nsynth-valid/examples.json").write_text("{")
    assert faults(check_all(data_dir), strict=False) == [
        "nsynth_instrument cannot be read",
        "nsynth_pitch cannot be read",
    ]


def test_a_folder_with_none_of_them_is_refused(tmp_path):
    with pytest.raises(NotThereError, match="none of the data sets is under"):
        check_all(tmp_path)


def test_lists_are_for_the_tasks_that_need_them(tmp_path):
    assert make_task("gtzan_rhythm", split_lists=tmp_path).split_lists == tmp_path  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="says nothing about emomusic; it is for gtzan_genre, gtzan_rhythm"):
        check_task("emomusic", tmp_path, split_lists=tmp_path)
