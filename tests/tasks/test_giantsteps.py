"""The GiantSteps reader on hand-made folders, and on the real annotations."""

import csv
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ray_musicssl.errors import DataError
from ray_musicssl.tasks import giantsteps
from ray_musicssl.tasks.base import Example, Predictions
from ray_musicssl.tasks.giantsteps import KEYS, GiantStepsKey, artist_splits, key_class

# By the artist hash: "Cleo" and "Bert" are train, "Valid 14" valid (checked in a test below).
TRAIN_ARTISTS, VALID_ARTIST = ("Cleo", "Bert"), "Valid 14"
ANNOTATIONS = [
    ("11", "D# minor", "2", "Cleo"),
    ("12", "C major", "2", f"Bert, {VALID_ARTIST}"),
    ("13", "C major / A minor", "2", "Cleo"),
    ("14", "-", "2", "Cleo"),
    ("15", "F major", "1", "Cleo"),
    ("16", "H major", "2", "Cleo"),
    ("17", "G minor", "2", "Bert"),
]


@pytest.fixture
def giantsteps_dir(tmp_path, write_audio):
    root = tmp_path / "giantsteps"
    pool, test = root / "giantsteps-mtg-key-dataset-fd7b8c5", root / "giantsteps-key-dataset"
    (pool / "annotations").mkdir(parents=True)
    keys = [("ID", "MANUAL KEY", "C"), *(row[:3] for row in ANNOTATIONS)]
    artists = [("ID", "ARTIST", "SONG TITLE"), *((row[0], row[3], "x") for row in ANNOTATIONS)]
    (pool / "annotations/annotations.txt").write_text("".join("\t".join(row) + "\n" for row in keys))
    (pool / "annotations/beatport_metadata.txt").write_text("".join("\t".join(row) + "\n" for row in artists))
    (test / "annotations/key").mkdir(parents=True)
    for track, duration_s in (("91", 65.0), ("92", 5.0), ("93", 0.5)):
        (test / f"annotations/key/{track}.LOFI.key").write_text("Ab major")
        write_audio(test / f"audio/{track}.LOFI.mp3", duration_s, 4000)
    for track, duration_s in (("11", 30.0), ("12", 2.0), ("16", 2.0)):
        write_audio(pool / f"audio/{track}.LOFI.mp3", duration_s, 4000)
    return root


def test_tracks_become_clips_and_each_unusable_track_has_its_reason(giantsteps_dir):
    # Track 12 makes Bert valid, and so track 17.
    write_17 = next(giantsteps_dir.glob("giantsteps-mtg*")) / "audio"
    shutil.copy(write_17 / "12.LOFI.mp3", write_17 / "17.LOFI.mp3")
    data = GiantStepsKey().read(giantsteps_dir)
    assert [(e.id, e.split, KEYS[e.target], e.offset_s, e.duration_s) for e in data.examples] == [
        ("11-000", "train", "Eb minor", 0, 30),
        ("12-000", "valid", "C major", 0, 2),
        ("17-000", "valid", "G minor", 0, 2),
        ("91-000", "test", "Ab major", 0, 30),
        ("91-001", "test", "Ab major", 30, 30),
        ("92-000", "test", "Ab major", 0, 5),
    ]
    assert {item.id: item.reason for item in data.skipped} == {"16": "no_label", "93": "too_short"}
    assert data.expected == {"train": 2, "valid": 2, "test": 3}
    assert data.used() == {"train": 1, "valid": 2, "test": 2}


def test_artists_are_groups_as_far_as_they_are_known(giantsteps_dir):
    groups = {e.track: e.group for e in GiantStepsKey().read(giantsteps_dir).examples}
    assert groups == {"11": "Cleo", "12": f"Bert | {VALID_ARTIST}", "91": "", "92": ""}


def test_folder_and_parent_give_the_same_data(giantsteps_dir):
    assert GiantStepsKey().read(giantsteps_dir) == GiantStepsKey().read(giantsteps_dir.parent)


def test_all_audio_may_lie_in_one_folder(giantsteps_dir):
    before = GiantStepsKey().read(giantsteps_dir)
    (giantsteps_dir / "audio").mkdir()
    for path in list(giantsteps_dir.glob("giantsteps-*/audio/*")):
        path.rename(giantsteps_dir / "audio" / path.name)
    after = GiantStepsKey().read(giantsteps_dir)
    assert [e.id for e in after.examples] == [e.id for e in before.examples]


def test_a_key_may_begin_with_a_byte_order_mark(giantsteps_dir):
    before = GiantStepsKey().read(giantsteps_dir)
    path = giantsteps_dir / "giantsteps-key-dataset/annotations/key/91.LOFI.key"
    path.write_text("Ab major", encoding="utf-8-sig")
    assert GiantStepsKey().read(giantsteps_dir) == before


def test_missing_audio_is_skipped_with_that_reason(giantsteps_dir):
    assert {i.id for i in GiantStepsKey().read(giantsteps_dir).skipped if i.reason == "missing"} == {"17"}


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("giantsteps-key-dataset", "no GiantSteps key annotations"),
        ("giantsteps-mtg-key-dataset-fd7b8c5", "no GiantSteps MTG key annotations"),
        ("giantsteps-mtg-key-dataset-fd7b8c5/annotations/beatport_metadata.txt", "split by artist needs it"),
    ],
)
def test_a_missing_part_is_named(giantsteps_dir, gone, message):
    path = giantsteps_dir / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=message):
        GiantStepsKey().read(giantsteps_dir)


def test_tracks_without_an_artist_are_counted_and_refused(giantsteps_dir):
    path = next(giantsteps_dir.glob("giantsteps-mtg*")) / "annotations/beatport_metadata.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]) + "14\t \n" + "15")
    with pytest.raises(
        DataError, match=r"beatport_metadata\.txt names no artist of 4 of the 7 tracks .*first is 14.*fetch the gi"
    ):
        GiantStepsKey().read(giantsteps_dir)


@pytest.mark.parametrize(
    ("table", "column"),
    [("annotations.txt", "MANUAL KEY"), ("beatport_metadata.txt", "ARTIST"), ("annotations.txt", "ID")],
)
def test_a_table_without_a_column_is_named(giantsteps_dir, table, column):
    path = next(giantsteps_dir.glob("giantsteps-mtg*")) / "annotations" / table
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(DataError, match=rf"{table} has no column '{column}' \(it has"):
        GiantStepsKey().read(giantsteps_dir)


def test_a_damaged_key_file_costs_its_track_only(giantsteps_dir):
    (giantsteps_dir / "giantsteps-key-dataset/annotations/key/92.LOFI.key").write_bytes(b"\xff\xfe major")
    data = GiantStepsKey().read(giantsteps_dir)
    assert ("92", "no_label") in {(item.id, item.reason) for item in data.skipped}


def test_twins_are_refused_until_the_lists_are_the_published_ones(giantsteps_dir, monkeypatch):
    folder = next(giantsteps_dir.glob("giantsteps-mtg*")) / "audio"
    shutil.copy(folder / "12.LOFI.mp3", folder / "11.LOFI.mp3")
    with pytest.raises(DataError, match=r"11\.LOFI\.mp3 \(train\) and .*12\.LOFI\.mp3 \(valid\) are the same audio"):
        GiantStepsKey().read(giantsteps_dir)
    monkeypatch.setattr(giantsteps, "OFFICIAL_COUNTS", {"train": 2, "valid": 2, "test": 3})
    (note,) = GiantStepsKey().read(giantsteps_dir).notes
    assert "(1 in all, such as 11.LOFI.mp3 in train and 12.LOFI.mp3 in valid)" in note


def test_artists_of_a_track_with_a_valid_artist_become_valid_wherever_they_are():
    lists = [["Cleo"], ["Cleo", "Bert"], ["Bert", VALID_ARTIST], ["Someone"]]
    assert artist_splits([["Cleo"], ["Bert"], [VALID_ARTIST]]) == ["train", "train", "valid"]
    # Bert turns valid in the first pass, Cleo (earlier in the file) in the second.
    assert artist_splits(lists)[:3] == ["valid", "valid", "valid"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("D# minor", "Eb minor"), ("d minor", "D minor"), ("Gb Major", "Gb major"), ("C", None), ("-", None), ("", None)],
)
def test_keys_are_read_with_flats_whatever_their_case(text, expected):
    found = key_class(text)
    assert (None if found is None else KEYS[found]) == expected


def test_songs_are_scored_once_whatever_their_number_of_clips():
    def clip(track, target):
        return Example(id=f"{track}-x", track=track, path=Path("x"), split="test", target=target)

    examples = [clip("a", 0), clip("a", 0), clip("a", 0), clip("b", 5)]
    outputs = np.zeros((4, 24), np.float32)
    outputs[[0, 1], 7], outputs[2, 0], outputs[3, 5] = 1.0, 3.0, 1.0  # two weak clips say G, one strong clip says C
    predictions = Predictions(examples=examples, outputs=list(outputs))
    assert GiantStepsKey().score(predictions) == {"weighted_score": 1.0, "accuracy": 1.0}
    assert GiantStepsKey(ensemble="vote").score(predictions) == {"weighted_score": 0.75, "accuracy": 0.5}
    # C and G are a fifth apart: had the answer been G, the vote would have been right, and the mean in part.
    said_g = [replace(example, target=7) if example.track == "a" else example for example in examples]
    for truth, best in ((examples, "mean_logits"), (said_g, "vote")):
        assert (
            GiantStepsKey(ensemble="best").settled(Predictions(examples=truth, outputs=list(outputs))).ensemble == best
        )
    assert GiantStepsKey(ensemble="max").settled(predictions).ensemble == "max"


@pytest.mark.metadata
def test_real_annotations_give_the_published_split_and_keys(metadata_dir, tmp_path):
    source = metadata_dir / "giantsteps"
    unpack_annotations(source, tmp_path)
    data = GiantStepsKey().read(tmp_path, annotations_only=True)
    assert data.used() == {"train": 923, "valid": 236, "test": 604}
    assert not data.notes
    with (source / "giantsteps_split_jukemir.tsv").open() as file:
        published = {row[0]: tuple(row[1:3]) for row in list(csv.reader(file, delimiter="\t"))[1:]}
    assert {e.track: (e.split, KEYS[e.target]) for e in data.examples} == published


@pytest.mark.metadata
def test_the_whole_release_is_usable_with_its_twins(metadata_dir, tmp_path):
    """Audio stands for itself by its published hash: equal hashes, equal files."""
    unpack_annotations(metadata_dir / "giantsteps", tmp_path)
    hashes = list(tmp_path.glob("giantsteps*/md5/*.LOFI.md5"))
    assert len(hashes) == 2090
    for path in hashes:
        noise = np.frombuffer(bytes.fromhex(path.read_text().split()[0]) * 63, np.int16)
        audio_path = path.parents[1] / "audio" / f"{path.stem}.mp3"
        audio_path.parent.mkdir(exist_ok=True)
        soundfile.write(audio_path, noise, 500, format="WAV")
    data = GiantStepsKey().read(tmp_path)
    assert data.used() == {"train": 923, "valid": 236, "test": 604}
    (note,) = data.notes
    assert "(1 in all, such as 1926377.LOFI.mp3 in valid and 2997186.LOFI.mp3 in train)" in note


def unpack_annotations(source, out):
    for name in ("giantsteps-key-dataset", "giantsteps-mtg-key-dataset"):
        with tarfile.open(source / f"{name}.annotations.tar.gz") as archive:
            archive.extractall(out, filter="data")
    for name in ("annotations.txt", "beatport_metadata.txt"):
        part = "giantsteps-mtg-key-dataset/annotations"
        shutil.copy(source / part / name, out / part / name)
