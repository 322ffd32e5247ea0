"""Tasks by name."""

import errno
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.layouts import write_annotations
from ray_musicssl.errors import ConfigError, DataError, EnvironmentFaultError, NotThereError
from ray_musicssl.tasks.base import TASKS, Task
from ray_musicssl.tasks.listing import check_all, check_task, choose_tasks, faults, make_task
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


@pytest.mark.parametrize("names", ["", " ", ",", " , "])
def test_no_task_is_no_choice(names):
    with pytest.raises(ConfigError, match=rf"--tasks '{names}' names no task; .*`all`.* magnatagatune, .*mtg_top50"):
        choose_tasks(names)


def test_tasks_are_chosen_by_name_in_the_order_given():
    assert choose_tasks(" emomusic,, gtzan_genre ") == ["emomusic", "gtzan_genre"]
    assert choose_tasks("all") == list(NAMES)
    with pytest.raises(ConfigError, match='unknown task "gtzan"'):
        choose_tasks("emomusic,gtzan")


def test_a_check_counts_what_a_probe_would_get(data_dir):
    note = (
        "this copy of NSynth lists train 1, valid 1, test 2; the official one train 289205, valid 12678, test 4096: "
        "scores do not compare with published ones"
    )
    flute, folder = "flute_acoustic_001-060-100", data_dir / "nsynth/nsynth-test/audio"
    assert check_task("nsynth_pitch", data_dir) == {
        "task": "nsynth_pitch",
        "splits": {
            "train": {"expected": 1, "usable": 1},
            "valid": {"expected": 1, "usable": 1},
            "test": {"expected": 2, "usable": 1},
        },
        "reasons": {"missing": 1},
        "skipped": [{"id": flute, "split": "test", "path": str(folder / f"{flute}.wav"), "reason": "missing"}],
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


def test_a_task_is_made_as_the_recipe_has_it():
    recipe = ProbeConfig(key_ensemble="vote", beat_decoder="peaks", technique_split="recording")
    made = {name: vars(make_task(name, recipe)) for name in NAMES}
    assert {name: options for name, options in made.items() if options} == {
        "giantsteps_key": {"ensemble": "vote"},
        "gtzan_genre": {"split_lists": None},
        "gtzan_rhythm": {"split_lists": None, "decoder": "peaks"},
        "vocalset_technique": {"split_by": "recording"},
    }


def test_lists_are_for_the_tasks_that_need_them(tmp_path):
    assert make_task("gtzan_rhythm", split_lists=tmp_path).split_lists == tmp_path  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="says nothing about emomusic; it is for gtzan_genre, gtzan_rhythm"):
        check_task("emomusic", tmp_path, split_lists=tmp_path)


@pytest.fixture(scope="module")
def all_sets(tmp_path_factory):
    """The 13 tasks' data sets in miniature: true annotations, and noise for audio."""
    out = tmp_path_factory.mktemp("corpus")
    corpus = plan("tiny", 4)
    write_annotations(corpus, out)
    rng = np.random.default_rng(0)
    for job in corpus.jobs:
        if job.path.startswith("datasets/"):
            (out / job.path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(out / job.path, rng.uniform(-0.1, 0.1, 6000), 2000, format="WAV")
    return out / "datasets"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("annotations_only", [False, True])
def test_a_relative_folder_gives_what_the_absolute_one_does(name, annotations_only, all_sets, monkeypatch):
    expected = make_task(name).read(all_sets, annotations_only=annotations_only)
    monkeypatch.chdir(all_sets.parent)
    assert make_task(name).read(Path("datasets"), annotations_only=annotations_only) == expected
    monkeypatch.chdir(all_sets)
    assert make_task(name).read(Path(), annotations_only=annotations_only) == expected
    assert all(example.path.is_absolute() for example in expected.examples)


ONE_PART_OF = {  # what is there -> the tasks whose data set it is a part of
    "mp3/f/x.mp3": ["magnatagatune"],
    "giantsteps-key-dataset/annotations/key/1.LOFI.key": ["giantsteps_key"],
    "giantsteps-mtg-key-dataset-fd7b8c5/README.md": ["giantsteps_key"],
    "gtzan/Data/genres_original/jazz/jazz.00000.wav": ["gtzan_genre"],
    "jazz/jazz.00000.wav": ["gtzan_genre"],
    "train_filtered.txt": ["gtzan_genre"],
    "beats/gtzan_jazz_00000.beats": ["gtzan_genre", "gtzan_rhythm"],
    "songs_info.csv": ["emomusic"],
    "clips_45sec/1.mp3": ["emomusic"],
    "nsynth-valid/examples.json": ["nsynth_instrument", "nsynth_pitch"],
    "VocalSet/FULL/female1/scales/belt/a.mp3": ["vocalset_technique", "vocalset_singer"],
    "data/splits/split-0/autotagging_genre-train.tsv": ["mtg_instrument", "mtg_moodtheme", "mtg_genre", "mtg_top50"],
    "audio-low/00/1.low.mp3": ["mtg_instrument", "mtg_moodtheme", "mtg_genre", "mtg_top50"],
}


@pytest.mark.parametrize("part", ONE_PART_OF)
def test_a_data_set_of_which_a_part_is_there_is_a_fault_and_no_other(part, tmp_path):
    path = tmp_path / part
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert faults(check_all(tmp_path), strict=False) == [f"{name} cannot be read" for name in ONE_PART_OF[part]]


def test_genres_without_beats_are_a_data_set_of_their_own(all_sets, tmp_path):
    (tmp_path / "gtzan").mkdir()
    for path in all_sets.glob("gtzan/*"):
        if "beat" not in path.name:
            (tmp_path / "gtzan" / path.name).symlink_to(path)
    rows = {row["task"]: row for row in check_all(tmp_path)}
    assert rows["gtzan_genre"]["splits"]["test"]["usable"] > 0
    assert not rows["gtzan_rhythm"]["is_there"]


def test_lists_elsewhere_are_no_data_set_but_a_folder_without_them_is_a_fault(all_sets, tmp_path):
    (tmp_path / "sets/gtzan").mkdir(parents=True)
    with pytest.raises(NotThereError, match=r"no GTZAN audio under .*/sets"):
        make_task("gtzan_genre", split_lists=all_sets / "gtzan").read(tmp_path / "sets")
    (tmp_path / "sets/gtzan/genres").symlink_to(all_sets / "gtzan/genres")
    assert not check_task("gtzan_genre", tmp_path / "sets", split_lists=all_sets / "gtzan")["reasons"]
    (tmp_path / "lists").mkdir()
    with pytest.raises(DataError, match=r"no GTZAN fault-filtered train list under .*/lists") as raised:
        check_task("gtzan_genre", tmp_path / "sets", split_lists=tmp_path / "lists")
    assert not isinstance(raised.value, NotThereError)


TABLES = {
    "gtzan/train_filtered.txt": "gtzan_genre",
    "giantsteps/*/annotations/beatport_metadata.txt": "giantsteps_key",
    "giantsteps/*/annotations/annotations.txt": "giantsteps_key",
    "emomusic/**/songs_info.csv": "emomusic",
    "emomusic/**/static_annotations.csv": "emomusic",
    "**/annotations_final.csv": "magnatagatune",
    "**/split-0/autotagging_genre-test.tsv": "mtg_genre",
    "nsynth/nsynth-test/examples.json": "nsynth_pitch",
}


@pytest.mark.parametrize("pattern", TABLES)
def test_a_table_that_is_not_utf_8_is_named_and_the_other_tasks_are_checked(pattern, all_sets):
    path = next(all_sets.glob(pattern))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\xe9\n")
    try:
        wrong = {row["task"]: row["error"] for row in check_all(all_sets, annotations_only=True) if "error" in row}
    finally:
        path.write_bytes(content)
    assert TABLES[pattern] in wrong
    assert len(wrong) <= 2  # both tasks of one data set
    assert all(str(path) in message for message in wrong.values())


LOCKED = {
    "gtzan/train_filtered.txt": "gtzan_genre",
    "gtzan/genres": "gtzan_genre",
    "gtzan/genres/jazz": "gtzan_genre",
    "gtzan/genres/*/*.wav": "gtzan_genre",
    "gtzan/**/beats": "gtzan_rhythm",
    "gtzan/**/beats/*.beats": "gtzan_rhythm",
    "giantsteps/*/annotations/key": "giantsteps_key",
    "giantsteps/*/annotations/key/*.key": "giantsteps_key",
    "giantsteps/*/annotations/beatport_metadata.txt": "giantsteps_key",
    "emomusic/**/*.mp3": "emomusic",
    "**/mp3": "magnatagatune",
    "nsynth/nsynth-test": "nsynth_pitch",
    "nsynth/nsynth-test/examples.json": "nsynth_pitch",
    "nsynth/nsynth-test/audio": "nsynth_instrument",
    "**/female*": "vocalset_singer",
    "**/FULL": "vocalset_technique",
    "mtg_jamendo/audio*": "mtg_genre",
    "mtg_jamendo/audio*/[0-9][0-9]": "mtg_moodtheme",
}


@pytest.mark.parametrize("pattern", LOCKED)
@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO])
def test_what_the_system_does_not_give_is_named_and_never_taken_for_absent_or_damaged(pattern, error, all_sets, lock):
    path = lock(min(all_sets.glob(pattern)), error)
    with pytest.raises(
        EnvironmentFaultError, match=rf"{re.escape(str(path))}.* cannot be read now .*run the same command"
    ):
        make_task(LOCKED[pattern]).read(all_sets)


def test_what_cannot_be_read_now_stops_no_other_task(all_sets, lock):
    lock(all_sets / "gtzan/genres/jazz")
    rows = {row["task"]: row for row in check_all(all_sets)}
    assert [name for name, row in rows.items() if "error" in row] == ["gtzan_genre", "gtzan_rhythm"]
    assert re.search(r"genres/jazz.* cannot be read now", rows["gtzan_genre"]["error"])
    assert faults([rows["gtzan_genre"]], strict=False) == ["gtzan_genre cannot be read"]


@pytest.fixture
def own_sets(all_sets, tmp_path):
    """A copy of them, to be changed."""
    return Path(shutil.copytree(all_sets, tmp_path / "datasets"))


@pytest.mark.parametrize("name", NAMES)
def test_hidden_files_beside_all_others_change_nothing(name, own_sets):
    for path in own_sets.glob("nsynth/*/examples.json"):
        path.unlink()  # its notes are then those that are found
    before = make_task(name).read(own_sets)
    for path in [path for path in own_sets.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(bytes(4096))
    (own_sets / "mtg_jamendo/audio/._00.tar").touch()
    assert make_task(name).read(own_sets) == before


@pytest.mark.parametrize("name", NAMES)
def test_suffixes_may_be_in_upper_case(name, own_sets):
    (own_sets / "nsynth/nsynth-test/examples.json").unlink()  # the notes of test are then those that are found
    before = make_task(name).read(own_sets)
    for path in [path for path in own_sets.rglob("*") if path.suffix in (".wav", ".mp3", ".key", ".beats")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    after = make_task(name).read(own_sets)
    assert replace(after, examples=[]) == replace(before, examples=[])
    assert [replace(e, path=e.path.with_suffix("")) for e in after.examples] == [
        replace(e, path=e.path.with_suffix("")) for e in before.examples
    ]
    assert all(e.path.is_file() and e.path.suffix.isupper() for e in after.examples)
