"""The VocalSet readers on hand-made folders."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.tasks import vocalset
from ray_musicssl.tasks.base import SPLITS, Example, Predictions
from ray_musicssl.tasks.vocalset import (
    SINGERS,
    TECHNIQUES,
    TEST_SINGERS,
    VALID_SINGERS,
    Recording,
    VocalSetSinger,
    VocalSetTechnique,
    singer_of,
    split_within,
)

LONG_NAMES = {name: f"{'female' if name[0] == 'f' else 'male'}{name[1:]}" for name in SINGERS}


@pytest.fixture
def vocalset_dir(tmp_path, write_audio):
    """Each singer sings three recordings: of 1.2 s, 2 s, and 6.5 s; the third, `pp`, is for the singer task alone."""
    root = tmp_path / "vocalset" / "VocalSet"
    for index, (singer, folder) in enumerate(LONG_NAMES.items()):
        technique = TECHNIQUES[index % 10]
        base = root / "FULL" / folder
        write_audio(base / "scales" / technique / f"{singer}_scales_{technique}_a.wav", 1.2, 4000)
        write_audio(base / "arpeggios" / technique / f"arps_{technique}.wav", 2.0, 4000)
        write_audio(base / "long_tones" / "pp" / f"{singer}_long_pp_a.wav", 6.5, 4000)
    return root.parent


def test_technique_is_split_by_singer_and_both_come_from_the_folders(vocalset_dir):
    data = VocalSetTechnique().read(vocalset_dir)
    assert tuple(data.classes) == TECHNIQUES
    singers = {split: {example.group for example in data.split(split)} for split in SPLITS}
    assert singers["test"] == {"f2", "f8", "m3", "m5", "m10"}
    assert singers["valid"] == set(VALID_SINGERS)
    assert [len(singers[split]) for split in SPLITS] == [9, 6, 5]
    assert len(data.examples) == 40  # `pp` is none of the ten techniques
    found = next(e for e in data.examples if e.track == "f4/arpeggios/lip_trill/arps_lip_trill")
    assert (found.id, found.target, found.split, found.duration_s) == (f"{found.track}-000", 3, "train", 2.0)


def test_every_singer_is_in_every_split_of_the_singer_task(vocalset_dir):
    data = VocalSetSinger().read(vocalset_dir.parent)
    assert data.expected == {"train": 20, "valid": 20, "test": 20}
    for split in SPLITS:
        assert {example.target for example in data.split(split)} == set(range(20))
    assert data.classes[8:10] == ("f9", "m1")
    tracks = [{example.track for example in data.split(split)} for split in SPLITS]
    assert not (tracks[0] & tracks[1]) | (tracks[0] & tracks[2]) | (tracks[1] & tracks[2])


def test_recordings_become_chunks_of_three_seconds_and_a_rest_under_one_is_dropped(vocalset_dir, write_audio):
    place = vocalset_dir / "VocalSet/FULL/male1/long_tones/pp"
    write_audio(place / "seven.wav", 7.2, 4000)
    write_audio(place / "short.wav", 0.9, 4000)
    data = VocalSetSinger().read(vocalset_dir)
    chunks = {e.id: (e.offset_s, e.duration_s) for e in data.examples if e.track.startswith("m1/long_tones/pp/")}
    assert chunks == {
        "m1/long_tones/pp/m1_long_pp_a-000": (0, 3),
        "m1/long_tones/pp/m1_long_pp_a-001": (3, 3),
        "m1/long_tones/pp/seven-000": (0, 3),
        "m1/long_tones/pp/seven-001": (3, 3),
        "m1/long_tones/pp/seven-002": (6, pytest.approx(1.2)),
    }
    assert {item.id: item.reason for item in data.skipped} == {"m1/long_tones/pp/short": "too_short"}


def test_both_releases_give_the_same_and_one_view_is_read(vocalset_dir):
    before = VocalSetTechnique().read(vocalset_dir)
    folder = vocalset_dir / "VocalSet"
    (folder / "FULL").rename(folder / "data_by_singer")
    shutil.copytree(folder / "data_by_singer", folder / "data_by_technique")
    after = VocalSetTechnique().read(vocalset_dir)
    assert [(e.id, e.split, e.target) for e in after.examples] == [(e.id, e.split, e.target) for e in before.examples]


def test_stray_files_of_vibrato_and_dot_files_are_left_out_without_a_word(vocalset_dir, write_audio):
    before = VocalSetSinger().read(vocalset_dir)
    place = vocalset_dir / "VocalSet/FULL/female2/excerpts/vibrato"
    for name in (
        "row_vibrato.wav",
        "slow_vibrato_arps.WAV",
        "f2_scales_vibrato_a(1).wav",
        "._f2_row_vibrato.wav",
        "caro_vibrato.wav",
    ):
        write_audio(place / name)
    (vocalset_dir / "VocalSet/FULL/.DS_Store").touch()
    assert VocalSetSinger().read(vocalset_dir) == before
    write_audio(place / "f2_row_vibrato.wav")
    assert sum(VocalSetSinger().read(vocalset_dir).expected.values()) == 61


def test_the_lists_of_the_release_are_obeyed(vocalset_dir):
    lists = {"test": ["female1", "male3"], "train": [n for s, n in LONG_NAMES.items() if s not in ("f1", "m3")]}
    for name, singers in lists.items():
        path = vocalset_dir / "VocalSet" / f"{name}_singers_technique.txt"
        path.write_text("".join(f"{singer}\n" for singer in singers))
    data = VocalSetTechnique().read(vocalset_dir)
    assert {example.group for example in data.split("test")} == {"f1", "m3"}
    assert {example.group for example in data.split("valid")} == set(VALID_SINGERS)
    path.write_text("female1\nmale12\n")
    with pytest.raises(DataError, match=r"names 'male12'"):
        VocalSetTechnique().read(vocalset_dir)
    path.write_text("female1\n")
    with pytest.raises(DataError, match=r"have f1 in both and .*f2, f3.* in neither"):
        VocalSetTechnique().read(vocalset_dir)


def test_by_recording_singers_are_shared_by_train_and_valid_alone(vocalset_dir):
    data = VocalSetTechnique(split_by="recording").read(vocalset_dir)
    singers = {split: {example.group for example in data.split(split)} for split in SPLITS}
    assert singers["test"] == set(TEST_SINGERS)
    assert not singers["test"] & (singers["train"] | singers["valid"])
    assert singers["train"] & singers["valid"]
    for technique in range(len(TECHNIQUES)):
        counts = Counter(e.split for e in data.examples if e.target == technique and e.split != "test")
        assert abs(counts["train"] - 0.6 * counts.total()) < 1


@pytest.mark.parametrize("count", [3, 4, 25, 178])
def test_recordings_are_dealt_out_by_shares_and_hash_alone(count):
    recordings = [Recording(id=f"f1/x/y/{k}", singer="f1", technique="y", path=Path("x")) for k in range(count)]
    shares = {"train": 12, "valid": 8, "test": 5}
    splits = split_within(recordings, lambda recording: recording.singer, shares)
    assert splits == split_within(recordings[::-1], lambda recording: recording.singer, shares)
    counts = Counter(splits.values())
    assert set(counts) == set(SPLITS)
    for split, share in shares.items():
        assert abs(counts[split] - count * share / 25) < 1


def test_a_singer_who_is_not_in_every_split_is_named(vocalset_dir):
    for path in (vocalset_dir / "VocalSet/FULL/female7").rglob("*pp*.wav"):
        path.unlink()
    with pytest.raises(DataError, match=r"no usable recording of f7 in test; each singer needs three"):
        VocalSetSinger().read(vocalset_dir)


def test_a_copy_that_is_a_part_of_the_release_says_so(vocalset_dir):
    shutil.rmtree(vocalset_dir / "VocalSet/FULL/female7")
    for task in (VocalSetSinger, VocalSetTechnique):
        data = task().read(vocalset_dir)
        assert data.is_part
        assert data.notes == [
            (
                "this copy of VocalSet has 57 recordings, of f7 none; the official one about 3,560: scores do not "
                "compare with published ones"
            )
        ]


def test_a_whole_copy_says_nothing(vocalset_dir, monkeypatch):
    monkeypatch.setattr(vocalset, "LEAST_RECORDINGS", 60)
    for task in (VocalSetSinger, VocalSetTechnique):
        data = task().read(vocalset_dir)
        assert not data.notes
        assert not data.is_part


def test_annotations_are_the_folders_alone(vocalset_dir):
    for path in vocalset_dir.rglob("*.wav"):
        path.write_bytes(b"")
    data = VocalSetTechnique().read(vocalset_dir, annotations_only=True)
    assert data.used() == data.expected == {"train": 18, "valid": 12, "test": 10}


def test_a_wrong_folder_says_what_was_expected_where(tmp_path):
    with pytest.raises(DataError, match=r"no VocalSet recording .* expected data_by_singer.*female1 to female9"):
        VocalSetSinger().read(tmp_path)
    (tmp_path / "FULL/tenor1/scales/belt").mkdir(parents=True)
    (tmp_path / "FULL/tenor1/scales/belt/a.wav").touch()
    with pytest.raises(DataError, match="lies in a folder of one of the singers f1, f2"):
        VocalSetSinger().read(tmp_path)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("female1", "f1"), ("male11", "m11"), ("m3", "m3"), ("F2", "f2"), ("male12", ""), ("x1", "")],
)
def test_singers_have_one_name_whatever_their_folder_is_called(folder, expected):
    assert singer_of(folder) == expected


@pytest.mark.parametrize("task", [VocalSetTechnique, VocalSetSinger])
def test_every_chunk_is_scored(task):
    examples = [Example(id=f"a-{k}", track="a", path=Path("x"), split="test", target=1) for k in range(3)]
    outputs = [np.eye(20, dtype=np.float32)[k] for k in (1, 1, 0)]
    assert task().score(Predictions(examples=examples, outputs=outputs)) == {"accuracy": pytest.approx(2 / 3)}
