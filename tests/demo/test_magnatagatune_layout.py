"""The tables of MagnaTagATune, read as the release's are, against a slow reading of the scores."""

import csv
from collections import Counter

import pytest

from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.layouts import write_annotations

CORPUS = plan("demo", 0, ["magnatagatune"])
FOLDERS = {"train": "0123456789ab", "valid": "c", "test": "def"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    write_annotations(CORPUS, out)
    return out / "datasets" / "magnatagatune"


def read_quoted(path):
    with path.open(newline="") as file:
        lines = file.read().splitlines()
    assert all(
        line.startswith('"') and line.endswith('"') and line.count("\t") == lines[0].count("\t") for line in lines
    )
    return list(csv.DictReader(lines, delimiter="\t"))


@pytest.fixture(scope="module")
def rows(folder):
    return read_quoted(folder / "annotations_final.csv")


def heard(score):
    """Who sounds for a tenth of a second or more in all."""
    seconds = Counter()
    for note in score.notes:
        name = f"singer {note.sung.singer}" if note.sung else (note.instrument.family, note.instrument.program)
        seconds[name] += note.duration_s
    return {name for name, length_s in seconds.items() if length_s >= 0.1}


def test_columns_are_the_number_the_tags_and_the_path(rows):
    columns = list(rows[0])
    assert (columns[0], columns[-1]) == ("clip_id", "mp3_path")
    assert len(columns) - 2 > 50
    assert len({row["clip_id"] for row in rows}) == len(rows) == len(CORPUS.jobs)
    assert all(row[tag] in {"0", "1"} for row in rows for tag in columns[1:-1])


def test_paths_are_those_of_the_files_and_folders_say_the_split(rows):
    for row, job in zip(rows, CORPUS.jobs, strict=True):
        assert job.path == f"datasets/magnatagatune/mp3/{row['mp3_path']}"
        assert row["mp3_path"][0] in FOLDERS[job.split]
        assert row["mp3_path"][1] == "/"


def test_no_artist_is_in_two_splits():
    artists = {
        split: {job.path.split("/")[-1].split("-")[0] for job in CORPUS.jobs_of("magnatagatune", split)}
        for split in FOLDERS
    }
    assert all(not artists[a] & artists[b] for a, b in (("train", "valid"), ("train", "test"), ("valid", "test")))


def test_tags_are_true_of_the_scores(rows):
    for row, job in zip(rows, CORPUS.jobs, strict=True):
        score = job.score()
        names = heard(score)
        families = {name[0] for name in names if isinstance(name, tuple)}
        sings = any(note.sung for note in score.notes)
        says = {tag: value == "1" for tag, value in row.items()}
        for tag, family in (("guitar", "guitar"), ("strings", "string"), ("bass", "bass"), ("organ", "organ")):
            assert says[tag] == (family in families), (job.path, tag)
        assert says["drums"] == says["beats"] == bool(score.strokes)
        assert says["singing"] == sings
        assert says["no vocal"] == says["no voice"] == (not sings and "vocal" not in families)
        assert says["slow"] == (score.tempo_bpm < 95)
        assert says["fast"] == (score.tempo_bpm > 120)
        assert not (says["female"] and says["male"])
        assert says["solo"] == (not score.strokes and len(names) == 1)
        for tag, style in (("jazz", "jazz"), ("country", "country"), ("metal", "metal"), ("hip hop", "hiphop")):
            assert says[tag] == (score.style == style)


@pytest.mark.parametrize("preset", ["demo", "small", "full"])
def test_each_of_the_50_most_frequent_tags_has_positives_in_every_split(tmp_path, preset):
    corpus = plan(preset, 0, ["magnatagatune"])
    write_annotations(corpus, tmp_path)
    rows = read_quoted(tmp_path / "datasets/magnatagatune/annotations_final.csv")
    counts = Counter({tag: sum(row[tag] == "1" for row in rows) for tag in list(rows[0])[1:-1]})
    top = [tag for tag, _ in counts.most_common(50)]
    for digits in FOLDERS.values():
        part = [row for row in rows if row["mp3_path"][0] in digits]
        assert [tag for tag in top if not any(row[tag] == "1" for row in part)] == []
        assert [tag for tag in top if all(row[tag] == "1" for row in part)] == []


def test_clip_info_lists_every_clip_and_one_that_was_never_published(folder, rows):
    infos = read_quoted(folder / "clip_info_final.csv")
    assert list(infos[0]) == (
        [
            "clip_id",
            "track_number",
            "title",
            "artist",
            "album",
            "url",
            "segmentStart",
            "segmentEnd",
            "original_url",
            "mp3_path",
        ]
    )
    assert [info["mp3_path"] for info in infos] == [*(row["mp3_path"] for row in rows), ""]
    assert [info["clip_id"] for info in infos[:-1]] == [row["clip_id"] for row in rows]
