"""The GTZAN readers on hand-made folders, and on the real annotations."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ray_musicssl.errors import DataError, NotThereError
from ray_musicssl.tasks.base import SPLITS, Example, Predictions
from ray_musicssl.tasks.gtzan import GENRES, GtzanGenre, GtzanRhythm, read_beats, read_jams_beats

LISTS = {
    "train": ["blues/blues.00000.wav", "jazz/jazz.00001.wav", "jazz/jazz.00054.wav", "pop/pop.00009.wav"],
    "valid": ["rock/rock.00002.wav"],
    "test": ["metal/metal.00003.wav", "blues/blues.00007.wav"],
}
BEATS = "0.217\t3\n0.717\t4\n1.217\n9.0\t1\n"


@pytest.fixture
def gtzan_dir(tmp_path, write_audio):
    """Seven tracks, of which one is missing, one is empty and one is no audio; a .au file among them."""
    root = tmp_path / "gtzan"
    audio_dir = root / "Data" / "genres_original"
    for split, lines in LISTS.items():
        for line in lines:
            write_audio(audio_dir / line)
        (root / f"{split}_filtered.txt").write_text("".join(f"{line}\n" for line in lines))
    (audio_dir / "jazz/jazz.00054.wav").write_bytes(b"no audio at all" * 20)
    (audio_dir / "jazz/jazz.00001.wav").write_bytes(b"")
    (audio_dir / "blues/blues.00007.wav").unlink()
    (audio_dir / "rock/rock.00002.wav").unlink()
    write_audio(audio_dir / "rock/rock.00002.au")
    beats_dir = root / "gtzan_tempo_beat-main" / "beats"
    beats_dir.mkdir(parents=True)
    for name in ("blues_00000", "rock_00002", "metal_00003"):
        (beats_dir / f"gtzan_{name}.beats").write_text(BEATS)
    return root


def test_genres_are_read_and_each_unusable_file_has_its_reason(gtzan_dir):
    data = GtzanGenre().read(gtzan_dir)
    assert [(e.id, e.split, e.target) for e in data.examples] == [
        ("blues.00000", "train", 0),
        ("metal.00003", "test", 6),
        ("pop.00009", "train", 7),
        ("rock.00002", "valid", 9),
    ]
    assert {item.id: item.reason for item in data.skipped} == {
        "jazz.00001": "empty",
        "jazz.00054": "undecodable",
        "blues.00007": "missing",
    }
    assert data.expected == {"train": 4, "valid": 1, "test": 2}
    assert data.used() == {"train": 2, "valid": 1, "test": 1}
    assert tuple(data.classes) == GENRES
    assert "443" in data.notes[0]


def test_folder_and_parent_give_the_same_data(gtzan_dir):
    assert GtzanGenre().read(gtzan_dir) == GtzanGenre().read(gtzan_dir.parent)


def test_a_file_under_a_second_is_too_short(gtzan_dir, write_audio):
    write_audio(gtzan_dir / "Data/genres_original/pop/pop.00009.wav", duration_s=0.5)
    assert GtzanGenre().read(gtzan_dir).reasons()["too_short"] == 1


def test_a_line_that_names_no_genre_is_a_bad_row(gtzan_dir):
    with (gtzan_dir / "train_filtered.txt").open("a") as file:
        file.write("polka/polka.00001.wav\nblues/jazz.00001.wav\n")
    assert GtzanGenre().read(gtzan_dir).reasons()["bad_row"] == 2


@pytest.mark.parametrize("task", [GtzanGenre, GtzanRhythm])
@pytest.mark.parametrize("line", ["blues/blues.wav", "/", ".", "blues", "blues/blues.x.wav", "a/blues/blues.00000.wav"])
def test_a_line_that_names_no_track_costs_itself_alone(task, line, gtzan_dir):
    before = task().read(gtzan_dir)
    with (gtzan_dir / "train_filtered.txt").open("a") as file:
        file.write(f"{line}\n")
    after = task().read(gtzan_dir)
    assert after.examples == before.examples
    assert after.reasons() == before.reasons() | {"bad_row": 1}


@pytest.mark.parametrize("task", [GtzanGenre, GtzanRhythm])
def test_a_wrong_folder_says_what_was_expected_where(task, tmp_path):
    with pytest.raises(DataError, match=r"expected .* there"):
        task().read(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        task().read(tmp_path / "nowhere")


@pytest.mark.parametrize("task", [GtzanGenre, GtzanRhythm])
def test_lists_may_lie_elsewhere_and_without_them_the_error_says_where_they_were_published(task, gtzan_dir, tmp_path):
    before = task().read(gtzan_dir)
    lists_dir = tmp_path / "lists"
    lists_dir.mkdir()
    for path in list(gtzan_dir.glob("*_filtered.txt")):
        path.rename(lists_dir / path.name)
    with pytest.raises(DataError, match=r"443, 197 and 290 .*coreyker/dnn-mgr.*--split-lists"):
        task().read(gtzan_dir)
    assert task(split_lists=lists_dir).read(gtzan_dir) == before


def test_a_track_in_two_lists_and_a_copied_file_are_refused(gtzan_dir):
    audio_dir = gtzan_dir / "Data/genres_original"
    shutil.copy(audio_dir / "pop/pop.00009.wav", audio_dir / "metal/metal.00003.wav")
    with pytest.raises(
        DataError, match=r"metal\.00003\.wav \(test\) and .*pop\.00009\.wav \(train\) are the same audio"
    ):
        GtzanGenre().read(gtzan_dir)
    with (gtzan_dir / "test_filtered.txt").open("a") as file:
        file.write("pop/pop.00009.wav\n")
    with pytest.raises(DataError, match=r'track "pop\.00009" is in train and in test'):
        GtzanGenre().read(gtzan_dir)


def test_missing_audio_folder_is_named_but_not_needed_for_annotations(gtzan_dir):
    shutil.rmtree(gtzan_dir / "Data")
    with pytest.raises(DataError, match="no GTZAN audio"):
        GtzanGenre().read(gtzan_dir)
    assert GtzanGenre().read(gtzan_dir, annotations_only=True).used() == {"train": 4, "valid": 1, "test": 2}


def test_a_split_without_usable_tracks_is_refused(gtzan_dir):
    (gtzan_dir / "Data/genres_original/rock/rock.00002.au").unlink()
    with pytest.raises(DataError, match=r"no usable item in valid .*missing"):
        GtzanGenre().read(gtzan_dir)


def test_beats_past_the_audio_are_dropped_and_tracks_without_beats_are_skipped(gtzan_dir):
    data = GtzanRhythm().read(gtzan_dir)
    assert [e.id for e in data.examples] == ["blues.00000", "metal.00003", "rock.00002"]
    assert all(example.target == [0.217, 0.717, 1.217] for example in data.examples)
    assert {item.id for item in data.skipped if item.reason == "no_label"} == {"pop.00009"}


def test_both_releases_give_the_same_beats(gtzan_dir):
    before = GtzanRhythm().read(gtzan_dir)
    shutil.rmtree(gtzan_dir / "gtzan_tempo_beat-main")
    jams_dir = gtzan_dir / "GTZAN-Rhythm_v2_ismir2015_lbd" / "jams"
    jams_dir.mkdir(parents=True)
    times = [0.217, 0.717, 1.217, 9.0]
    as_list = [{"time": time, "duration": 0.0, "value": 1, "confidence": None} for time in times]
    as_lists = {"time": times, "duration": [0.0] * 4, "value": [1] * 4, "confidence": [None] * 4}
    for name, data in (("blues.00000", as_list), ("rock.00002", as_lists), ("metal.00003", as_list)):
        downbeats = {"namespace": "beat", "sandbox": {"annotation_type": "downbeat"}, "data": as_list[:1]}
        beats = {"namespace": "beat", "sandbox": {"annotation_type": "beat"}, "data": data}
        (jams_dir / f"{name}.wav.jams").write_text(json.dumps({"annotations": [downbeats, beats]}))
    assert GtzanRhythm().read(gtzan_dir).examples == before.examples


def test_jams_of_another_data_set_are_none_of_its_beats(gtzan_dir):
    shutil.rmtree(gtzan_dir / "gtzan_tempo_beat-main")
    jams_dir = gtzan_dir / "giantsteps-key-dataset" / "jams"
    jams_dir.mkdir(parents=True)
    (jams_dir / "1004923.LOFI.jams").write_text("{}")
    with pytest.raises(NotThereError, match="no GTZAN beat annotations"):
        GtzanRhythm().read(gtzan_dir)


def test_a_damaged_beat_file_costs_its_track_only(gtzan_dir):
    beats_dir = gtzan_dir / "gtzan_tempo_beat-main" / "beats"
    (beats_dir / "gtzan_pop_00009.beats").write_text("no number\n")
    with pytest.raises(ValueError, match="could not convert"):
        read_beats(beats_dir / "gtzan_pop_00009.beats")
    assert "pop.00009" in {item.id for item in GtzanRhythm().read(gtzan_dir).skipped if item.reason == "no_label"}


def test_beats_and_jams_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "x.beats").write_text(BEATS, encoding="utf-8-sig")
    beats = {"annotations": [{"namespace": "beat", "data": [{"time": 0.217}]}]}
    (tmp_path / "x.jams").write_text(json.dumps(beats), encoding="utf-8-sig")
    assert read_beats(tmp_path / "x.beats") == [0.217, 0.717, 1.217, 9.0]
    assert read_jams_beats(tmp_path / "x.jams") == [0.217]


def test_jams_may_have_a_suffix_in_upper_case(gtzan_dir):
    before = GtzanRhythm().read(gtzan_dir)
    beats_dir = next(gtzan_dir.rglob("beats"))
    (gtzan_dir / "jams").mkdir()
    for path in list(beats_dir.iterdir()):
        genre, number = path.stem.split("_")[1:]
        data = [{"time": time} for time in read_beats(path)]
        beats = {"annotations": [{"namespace": "beat", "data": data}]}
        (gtzan_dir / "jams" / f"{genre}.{number}.wav.JAMS").write_text(json.dumps(beats))
    shutil.rmtree(beats_dir)
    assert GtzanRhythm().read(gtzan_dir) == before


def test_jams_without_beats_give_none(tmp_path):
    path = tmp_path / "x.jams"
    path.write_text(json.dumps({"annotations": [{"namespace": "tempo", "data": []}]}))
    assert read_jams_beats(path) == []


@pytest.mark.parametrize("decoder", ["dbn", "peaks"])
def test_perfect_activations_score_one_and_late_ones_only_at_the_wide_tolerance(decoder):
    beats_s = [0.4 + 0.5 * index for index in range(20)]
    example = Example(id="a", track="a", path=Path("x"), split="test", target=beats_s)
    task = GtzanRhythm(decoder=decoder)
    for shift, expected in ((0, 1.0), (2, 0.0)):
        curve = np.full(600, 0.01, np.float32)
        curve[[round(beat * 50) + shift for beat in beats_s]] = 0.99
        scores = task.score(Predictions(examples=[example], outputs=[curve], frame_rate=50.0))
        assert tuple(scores) == task.metrics
        assert scores["f1_20ms"] == pytest.approx(expected, abs=0.15)  # the decoder goes on to the end of the curve
        assert scores["f1_70ms"] == pytest.approx(1.0, abs=0.15)


def test_genre_score_is_the_fraction_found():
    examples = [Example(id=str(i), track=str(i), path=Path("x"), split="test", target=i) for i in range(4)]
    outputs = [np.eye(10, dtype=np.float32)[index] for index in (0, 1, 2, 9)]
    assert GtzanGenre().score(Predictions(examples=examples, outputs=outputs)) == {"accuracy": 0.75}


@pytest.mark.metadata
def test_real_lists_and_beats_have_the_published_counts(metadata_dir, tmp_path):
    for split in SPLITS:
        shutil.copy(metadata_dir / "gtzan" / f"{split}_filtered.txt", tmp_path)
    with tarfile.open(metadata_dir / "gtzan" / "gtzan_tempo_beat.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    genre = GtzanGenre().read(tmp_path, annotations_only=True)
    assert genre.used() == {"train": 443, "valid": 197, "test": 290}
    assert not genre.notes
    assert [sum(e.target == label for e in genre.split("train")) for label in range(10)] == [
        *(46, 48, 45, 42, 47, 43, 44, 41, 43, 44)
    ]
    rhythm = GtzanRhythm().read(tmp_path, annotations_only=True)
    assert not rhythm.skipped
    beats = {split: sum(len(example.target) for example in rhythm.split(split)) for split in SPLITS}
    assert beats == {"train": 26_540, "valid": 12_019, "test": 17_059}
