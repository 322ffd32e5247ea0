"""The MagnaTagATune reader on a hand-made folder, and on the real table."""

import csv
import gzip

import numpy as np
import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.tasks import reading
from ray_musicssl.tasks.locate import AudioCheck
from ray_musicssl.tasks.magnatagatune import MagnaTagATune

CLIPS = {  # path -> tags
    "0/one-album-01-song-0-29.mp3": {"guitar", "slow"},
    "0/one-album-01-song-29-58.mp3": {"guitar"},
    "b/two-album-01-song-0-29.mp3": {"new age"},
    "c/three-album-01-song-0-29.mp3": {"guitar", "rare"},
    "d/four-album-01-song-0-29.mp3": {"slow"},
    "f/five-album-01-song-0-29.mp3": set(),
    "e/six-album-01-song-0-29.mp3": {"rare"},
}
TAGS = ["rare", "guitar", "unused", "slow", "new age"]


def write_table(path, clips):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(["clip_id", *TAGS, "mp3_path"])
        for number, (name, tags) in enumerate(clips.items()):
            writer.writerow([number, *(int(tag in tags) for tag in TAGS), name])


@pytest.fixture
def mtt_dir(tmp_path, write_audio):
    root = tmp_path / "magnatagatune"
    write_table(root / "annotations_final.csv", CLIPS)
    for name in CLIPS:
        write_audio(root / "mp3" / name, 2.0)
    (root / "mp3/b/two-album-01-song-0-29.mp3").write_bytes(b"")
    (root / "mp3/f/five-album-01-song-0-29.mp3").write_bytes(b"no audio" * 50)
    return root


def test_the_folder_is_the_split_and_tags_are_ordered_by_number_then_name(mtt_dir):
    data = MagnaTagATune().read(mtt_dir)
    assert data.classes == ["guitar", "rare", "slow", "new age"]  # 3, 2, 2, 1; the unused tag counts nothing
    assert [(e.id, e.split, e.target, e.duration_s) for e in data.examples] == [
        ("0/one-album-01-song-0-29", "train", [1, 0, 1, 0], 2.0),
        ("0/one-album-01-song-29-58", "train", [1, 0, 0, 0], 2.0),
        ("c/three-album-01-song-0-29", "valid", [1, 1, 0, 0], 2.0),
        ("d/four-album-01-song-0-29", "test", [0, 0, 1, 0], 2.0),
        ("e/six-album-01-song-0-29", "test", [0, 1, 0, 0], 2.0),
    ]
    assert {item.path.split("/mp3/")[1][0]: item.reason for item in data.skipped} == {"b": "empty", "f": "undecodable"}
    assert data.expected == {"train": 3, "valid": 1, "test": 3}
    assert any(note.startswith("2 of 4 tags have no positive or no negative in test") for note in data.notes)


def test_a_clip_with_no_frequent_tag_stays(mtt_dir, write_audio):
    write_audio(mtt_dir / "mp3/f/five-album-01-song-0-29.mp3", 2.0)
    data = MagnaTagATune().read(mtt_dir)
    assert [0, 0, 0, 0] in [example.target for example in data.split("test")]


def test_folders_may_lie_beside_the_table_and_above_it(mtt_dir):
    before = [(e.id, e.target) for e in MagnaTagATune().read(mtt_dir.parent).examples]
    for folder in list((mtt_dir / "mp3").iterdir()):
        folder.rename(mtt_dir / folder.name)
    assert [(e.id, e.target) for e in MagnaTagATune().read(mtt_dir).examples] == before
    (mtt_dir / "annotations").mkdir()
    (mtt_dir / "annotations_final.csv").rename(mtt_dir / "annotations/annotations_final.csv")
    assert [(e.id, e.target) for e in MagnaTagATune().read(mtt_dir).examples] == before


def test_a_recording_in_two_splits_is_refused(mtt_dir, write_audio):
    clips = CLIPS | {"c/one-album-01-song-58-87.mp3": {"slow"}}
    write_table(mtt_dir / "annotations_final.csv", clips)
    with pytest.raises(DataError, match='recording "one-album-01-song" is in train and in valid'):
        MagnaTagATune().read(mtt_dir, annotations_only=True)


def test_a_path_in_no_folder_of_the_split_is_a_bad_row(mtt_dir):
    write_table(mtt_dir / "annotations_final.csv", CLIPS | {"x/y-0-29.mp3": {"slow"}, "": {"slow"}})
    data = MagnaTagATune().read(mtt_dir, annotations_only=True)
    assert data.reasons() == {"bad_row": 2}
    assert data.expected == {"train": 3, "valid": 1, "test": 3}


@pytest.mark.parametrize("path", ["/", ".", ""])
def test_a_path_that_names_no_file_is_a_bad_row(mtt_dir, path):
    before = MagnaTagATune().read(mtt_dir, annotations_only=True)
    write_table(mtt_dir / "annotations_final.csv", {**CLIPS, path: []})
    after = MagnaTagATune().read(mtt_dir, annotations_only=True)
    assert after.examples == before.examples
    assert after.reasons() == {"bad_row": 1}


def test_missing_parts_and_a_damaged_table_are_named(mtt_dir):
    table = mtt_dir / "annotations_final.csv"
    text = table.read_text()
    (mtt_dir / "mp3").rename(mtt_dir / "music")
    with pytest.raises(DataError, match=r"no MagnaTagATune audio beside .*cat mp3\.zip\.001"):
        MagnaTagATune().read(mtt_dir)
    table.write_text(text + '"99"\t"1"\n')
    with pytest.raises(DataError, match="line 9 has 2 of 7 columns"):
        MagnaTagATune().read(mtt_dir)
    table.write_text(text.replace("clip_id", "id"))
    with pytest.raises(DataError, match="is no table of tags"):
        MagnaTagATune().read(mtt_dir)
    table.unlink()
    with pytest.raises(DataError, match=r"expected annotations_final\.csv there"):
        MagnaTagATune().read(mtt_dir)


@pytest.mark.metadata
def test_the_real_table_gives_the_published_split_and_tags(metadata_dir, tmp_path):
    source = metadata_dir / "magnatagatune"
    table = tmp_path / "annotations_final.csv"
    table.write_bytes(gzip.decompress((source / "annotations_final.reconstructed.csv.gz").read_bytes()))
    data = MagnaTagATune().read(tmp_path, annotations_only=True)
    assert data.used() == data.expected == {"train": 18_709, "valid": 1_825, "test": 5_329}
    assert not data.notes
    with (source / "top50_tags.tsv").open() as file:
        counts = {row[0]: int(row[1]) for row in csv.reader(file, delimiter="\t") if row[1].isdigit()}
    assert data.classes == sorted(counts, key=lambda tag: (-counts[tag], tag))
    assert data.classes[:3] + data.classes[-2:] == ["guitar", "classical", "slow", "metal", "choral"]
    assert np.sum([e.target for e in data.examples], axis=0).tolist() == [counts[tag] for tag in data.classes]
    # Clips with none of the 50 tags stay, in all splits.
    assert [sum(not any(e.target) for e in data.split(s)) for s in ("train", "valid", "test")] == [3_459, 296, 997]
    with gzip.open(source / "mtt_split_top50.tsv.gz", "rt") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    published = {row["mp3_path"].removesuffix(".mp3"): row["split"] for row in rows}
    assert {e.id: e.split for e in data.examples} == published


@pytest.mark.metadata
def test_the_three_empty_files_of_the_release_fall_out(metadata_dir, tmp_path, monkeypatch):
    source = metadata_dir / "magnatagatune" / "annotations_final.reconstructed.csv.gz"
    (tmp_path / "annotations_final.csv").write_bytes(gzip.decompress(source.read_bytes()))
    empty = {
        "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
        "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
        "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin-88-117.mp3",
    }
    (tmp_path / "mp3" / "0").mkdir(parents=True)
    is_empty = {str(tmp_path / "mp3" / name) for name in empty}.__contains__
    monkeypatch.setattr(reading.NamedFiles, "first", lambda files, names: files.folders[0] / names[0])
    monkeypatch.setattr(
        reading,
        "check_audio",
        lambda path, min_s: AudioCheck(fault="empty") if is_empty(str(path)) else AudioCheck(duration_s=29.12),
    )
    monkeypatch.setattr("ray_musicssl.tasks.leakage.same_audio", lambda files: [])
    data = MagnaTagATune().read(tmp_path)
    assert data.used() == {"train": 18_706, "valid": 1_825, "test": 5_329}
    assert data.reasons() == {"empty": 3}
