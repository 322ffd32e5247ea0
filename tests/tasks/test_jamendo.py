"""The MTG-Jamendo readers on a hand-made folder, and on the real lists."""

import gzip
import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import Predictions
from ray_musicssl.tasks.jamendo import MtgGenre, MtgInstrument, MtgMoodTheme, MtgTop50

PIANO, GUITAR, VOICE = (f"instrument---{name}" for name in ("piano", "guitar", "voice"))
TRACKS = {  # part -> number, artist, tags
    "train": [(1001, "a", [PIANO]), (1002, "a", [GUITAR, PIANO]), (1003, "b", [VOICE])],
    "validation": [(2001, "c", [PIANO]), (2002, "c", [GUITAR, VOICE])],
    "test": [(3001, "d", [GUITAR]), (3002, "e", [PIANO])],
}


def write_list(folder, subset, part, tracks):
    rows = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"]
    for number, artist, tags in tracks:
        path = f"{number % 100:02d}/{number}.mp3"
        rows.append("\t".join([f"track_{number:07d}", f"artist_{artist}", "album_1", path, "40.0", *tags]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"autotagging_{subset}-{part}.tsv").write_text("".join(f"{row}\r\n" for row in rows), newline="")


@pytest.fixture
def jamendo_dir(tmp_path, write_audio):
    root = tmp_path / "mtg_jamendo"
    for part, tracks in TRACKS.items():
        write_list(root / "mtg-jamendo-dataset/data/splits/split-0", "instrument", part, tracks)
        for number, _, _ in tracks:
            suffix = ".low.mp3" if number % 2 else ".mp3"
            write_audio(root / f"audio/{number % 100:02d}/{number}{suffix}", 2.0, 4000)
    write_audio(root / "audio/01/1001.low.mp3", 61.5, 4000)
    write_audio(root / "audio/02/1002.mp3", 60.5, 4000)
    (root / "audio/03/1003.low.mp3").unlink()
    return root


def test_tracks_become_windows_with_the_tags_of_their_ragged_row(jamendo_dir):
    data = MtgInstrument().read(jamendo_dir)
    assert data.classes == [GUITAR, PIANO, VOICE]
    assert [(e.id, e.split, e.target, e.offset_s, e.duration_s, e.path.name) for e in data.examples] == [
        ("track_0001001-000", "train", [0, 1, 0], 0, 30, "1001.low.mp3"),
        ("track_0001001-001", "train", [0, 1, 0], 30, 30, "1001.low.mp3"),
        ("track_0001001-002", "train", [0, 1, 0], 60, 1.5, "1001.low.mp3"),
        ("track_0001002-000", "train", [1, 1, 0], 0, 30, "1002.mp3"),
        ("track_0001002-001", "train", [1, 1, 0], 30, 30, "1002.mp3"),
        ("track_0002001-000", "valid", [0, 1, 0], 0, 2, "2001.low.mp3"),
        ("track_0002002-000", "valid", [1, 0, 1], 0, 2, "2002.mp3"),
        ("track_0003001-000", "test", [1, 0, 0], 0, 2, "3001.low.mp3"),
        ("track_0003002-000", "test", [0, 1, 0], 0, 2, "3002.mp3"),
    ]
    assert {example.track for example in data.split("train")} == {"track_0001001", "track_0001002"}
    assert [(item.id, item.reason) for item in data.skipped] == [("track_0001003", "missing")]
    assert data.expected == {"train": 3, "valid": 2, "test": 2}
    assert data.used() == {"train": 2, "valid": 2, "test": 2}
    assert data.notes[-1].endswith(f"in test and are left out of its scores: {VOICE}")


def test_the_smaller_download_is_taken_where_both_are(jamendo_dir, write_audio):
    write_audio(jamendo_dir / "audio/02/1002.low.mp3", 2.0, 4000)
    assert {e.path.name for e in MtgInstrument().read(jamendo_dir).examples if e.track.endswith("1002")} == {
        "1002.low.mp3"
    }


def test_the_smaller_download_is_taken_wherever_it_lies_and_two_qualities_are_noted(jamendo_dir, write_audio):
    note = "4 tracks are of the smaller download (low quality) and 3 of the full one; a probe may hear"
    write_audio(jamendo_dir / "raw_30s/audio/03/1003.low.mp3", 2.0, 4000)
    assert any(found.startswith(note) for found in MtgInstrument().read(jamendo_dir).notes)
    for number in (1002, 2002, 3002):
        write_audio(jamendo_dir / f"raw_30s/audio/02/{number}.low.mp3", 2.0, 4000)
    data = MtgInstrument().read(jamendo_dir)
    assert all(example.path.name.endswith(".low.mp3") for example in data.examples)
    assert not any("download" in found for found in data.notes)


@pytest.mark.parametrize("where", ["raw_30s/audio-low", "raw_30s", "."])
def test_audio_may_lie_in_any_of_the_usual_folders(jamendo_dir, where):
    before = [example.id for example in MtgInstrument().read(jamendo_dir.parent).examples]
    folders = list((jamendo_dir / "audio").iterdir())
    (jamendo_dir / where).mkdir(parents=True, exist_ok=True)
    for folder in folders:
        folder.rename(jamendo_dir / where / folder.name)
    (jamendo_dir / "audio").rmdir()
    assert [example.id for example in MtgInstrument().read(jamendo_dir.parent).examples] == before


def test_packed_audio_says_how_to_unpack_it(jamendo_dir):
    shutil.rmtree(jamendo_dir / "audio")
    with pytest.raises(DataError, match=r"no MTG-Jamendo audio .*download\.py with --unpack"):
        MtgInstrument().read(jamendo_dir)
    (jamendo_dir / "audio").mkdir()
    for number in range(3):
        (jamendo_dir / f"audio/raw_30s_audio-low-{number:02d}.tar").touch()
    with pytest.raises(DataError, match=r"still packed: .*audio-low-00\.tar and 2 more; .*tar xf"):
        MtgInstrument().read(jamendo_dir)


def test_tars_beside_folders_are_noted(jamendo_dir):
    (jamendo_dir / "audio/raw_30s_audio-low-07.tar").touch()
    assert any(note.startswith("1 .tar files lie beside") for note in MtgInstrument().read(jamendo_dir).notes)


@pytest.mark.parametrize(
    "below", ["", "mtg-jamendo-dataset", "mtg-jamendo-dataset/data", "mtg-jamendo-dataset/data/splits"]
)
def test_lists_are_enough_for_annotations(jamendo_dir, below):
    shutil.rmtree(jamendo_dir / "audio")
    data = MtgInstrument().read(jamendo_dir / below, annotations_only=True)
    assert data.used() == data.expected == {"train": 3, "valid": 2, "test": 2}


def test_an_artist_in_two_parts_is_refused(jamendo_dir):
    splits_dir = jamendo_dir / "mtg-jamendo-dataset/data/splits/split-0"
    write_list(splits_dir, "instrument", "test", [*TRACKS["test"], (3003, "b", [PIANO])])
    with pytest.raises(DataError, match='artist "artist_b" is in train and in test'):
        MtgInstrument().read(jamendo_dir, annotations_only=True)


def test_damaged_rows_and_lists_are_named(jamendo_dir):
    path = jamendo_dir / "mtg-jamendo-dataset/data/splits/split-0/autotagging_instrument-train.tsv"
    text = path.read_text()
    path.write_text(
        text + "track_1\tartist_z\talbum_1\t01/1.mp3\t3.0\r\ntrack_2\tartist_z\talbum_1\t02/2.mp3\t3.0\tx\r\n"
    )
    data = MtgInstrument().read(jamendo_dir, annotations_only=True)
    assert data.reasons() == {"bad_row": 2}
    assert data.classes == [GUITAR, PIANO, VOICE]
    path.write_text("a,b\n")
    with pytest.raises(DataError, match="is no list of MTG-Jamendo: its first line is 'a,b'"):
        MtgInstrument().read(jamendo_dir, annotations_only=True)
    path.unlink()
    with pytest.raises(DataError, match=r"no MTG-Jamendo list of instrument, train under .*clone the repository"):
        MtgInstrument().read(jamendo_dir, annotations_only=True)


def test_a_row_whose_path_names_no_file_is_a_bad_row(jamendo_dir):
    path = jamendo_dir / "mtg-jamendo-dataset/data/splits/split-0/autotagging_instrument-train.tsv"
    with path.open("a") as file:
        file.write(f"track_1\tartist_z\talbum_1\t.\t3.0\t{PIANO}\n")
    assert MtgInstrument().read(jamendo_dir, annotations_only=True).reasons() == {"bad_row": 1}


def test_score_is_scikit_learns_over_tracks_of_averaged_windows(jamendo_dir):
    examples = MtgInstrument().read(jamendo_dir).examples
    outputs = np.random.default_rng(0).normal(size=(len(examples), 3)).astype(np.float32)
    scores = MtgInstrument().score(Predictions(examples=examples, outputs=list(outputs)))
    tracks = sorted({example.track for example in examples})
    rows = [[k for k, example in enumerate(examples) if example.track == track] for track in tracks]
    answers = np.array([examples[row[0]].target for row in rows])
    joined = np.array([outputs[row].mean(axis=0) for row in rows])
    assert scores == pytest.approx(
        {
            "roc_auc": roc_auc_score(answers, joined, average="macro"),
            "average_precision": average_precision_score(answers, joined, average="macro"),
        }
    )


def test_scores_of_tags_that_no_track_has_are_no_number(jamendo_dir):
    examples = [e for e in MtgInstrument().read(jamendo_dir).examples if e.track == "track_0003001"]
    scores = MtgInstrument().score(Predictions(examples=examples, outputs=[np.zeros(3, np.float32)]))
    assert np.isnan([*scores.values()]).all()


REAL = {
    MtgTop50: ((32_136, 10_888, 11_356), 50),
    MtgGenre: ((32_572, 11_043, 11_479), 87),
    MtgInstrument: ((14_395, 5_466, 5_115), 40),
    MtgMoodTheme: ((9_949, 3_802, 4_231), 56),
}


@pytest.mark.metadata
@pytest.mark.parametrize("task", REAL)
def test_real_lists_give_the_published_parts_and_tags(task, metadata_dir, tmp_path):
    source = metadata_dir / "mtg_jamendo"
    folder = tmp_path / "data/splits/split-0"
    folder.mkdir(parents=True)
    for path in (source / "split-0").glob(f"autotagging_{task.subset}-*"):
        content = path.read_bytes()
        (folder / path.name.removesuffix(".gz")).write_bytes(
            gzip.decompress(content) if path.suffix == ".gz" else content
        )
    data = task().read(tmp_path, annotations_only=True)
    counts, num_tags = REAL[task]
    assert tuple(data.used().values()) == tuple(data.expected.values()) == counts
    assert len(data.classes) == num_tags
    assert not data.notes  # as many as published, and every tag has a positive in every part
    assert not data.skipped
    if task is MtgTop50:
        assert data.classes == sorted((source / "tags/top50.txt").read_text().split())
    if task is MtgMoodTheme:
        assert data.classes == sorted((source / "tags/moodtheme_split.txt").read_text().split())
        example = next(e for e in data.examples if e.path.name == "3524.low.mp3")
        assert [data.classes[k] for k in np.flatnonzero(example.target)] == ["mood/theme---melodic"]
