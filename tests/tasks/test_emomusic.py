"""The EmoMusic reader on a hand-made folder, and on the real annotations."""

import csv

import numpy as np
import pytest
from sklearn.metrics import r2_score

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import Example, Predictions
from ray_musicssl.tasks.emomusic import EmoMusic, development_split

# By the hash of the artist's name: checked in a test below.
TRAIN_ARTIST, VALID_ARTIST = "Emil", "Dora"
ROWS = [  # id, artist, set, arousal, valence, seconds of audio
    ("2", TRAIN_ARTIST, "development", "3.0", "4.0", 12.0),
    ("3", TRAIN_ARTIST, "development", "5.0", "6.0", 13.0),
    ("4", VALID_ARTIST, "development", " 7.0", "2.0", 5.0),
    ("10", TRAIN_ARTIST, "evaluation", "4.0", "4.0 ", 6.0),
    ("11", VALID_ARTIST, "evaluation", "", "4.0", 6.0),
    ("12", VALID_ARTIST, "evaluation", "4.0", "4.0", 2.0),
    ("13", VALID_ARTIST, "evaluation", "4.0", "4.0", None),
]


@pytest.fixture
def emomusic_dir(tmp_path, write_audio):
    root = tmp_path / "emomusic"
    (root / "annotations").mkdir(parents=True)
    songs = ["song_id, file_name, Artist, Song title, Genre, Mediaeval 2013 set"]
    ratings = ["song_id,mean_arousal,std_arousal,mean_valence,std_valence"]
    for song, artist, part, arousal, valence, duration_s in ROWS:
        songs.append(f'{song},{song}.mp3," {artist} ",A title,Blues,{part} ')
        ratings.append(f"{song},{arousal},1.0,{valence},1.0")
        if duration_s:
            write_audio(root / f"clips_45seconds/{song}.mp3", duration_s, 4000)
    (root / "annotations/songs_info.csv").write_text("\n".join(songs) + "\n\n")
    (root / "annotations/static_annotations.csv").write_text("\n".join(ratings) + "\n")
    return root


def test_clips_become_windows_and_each_unusable_clip_has_its_reason(emomusic_dir):
    data = EmoMusic().read(emomusic_dir.parent)
    assert [(e.id, e.track, e.split, e.offset_s, e.duration_s) for e in data.examples] == [
        ("10-000", "10", "test", 0, 5),
        ("2-000", "2", "train", 0, 5),
        ("2-001", "2", "train", 5, 5),
        ("3-000", "3", "train", 0, 5),
        ("3-001", "3", "train", 5, 5),
        ("3-002", "3", "train", 10, 3),
        ("4-000", "4", "valid", 0, 5),
    ]
    assert {item.id: item.reason for item in data.skipped} == {"11": "bad_row", "12": "too_short", "13": "missing"}
    assert data.expected == {"train": 2, "valid": 1, "test": 4}
    assert data.notes


def test_targets_are_on_the_scale_of_the_development_clips(emomusic_dir):
    targets = {example.track: example.target for example in EmoMusic().read(emomusic_dir).examples}
    # Development arousal 3, 5, 7: mean 5, population deviation sqrt(8/3); valence 4, 6, 2: mean 4, the same deviation.
    np.testing.assert_allclose(targets["2"], [-2 / (8 / 3) ** 0.5, 0])
    np.testing.assert_allclose(targets["10"], [-1 / (8 / 3) ** 0.5, 0])


@pytest.mark.parametrize(("artist", "same"), [("Emil", " emil!"), ("Dora", "DORA 7"), ("A  B", "a b")])
def test_the_split_of_an_artist_is_blind_to_case_and_signs(artist, same):
    assert development_split(artist) == development_split(same)


def test_artists_of_this_file_are_where_it_says():
    assert (development_split(TRAIN_ARTIST), development_split(VALID_ARTIST)) == ("train", "valid")


def test_score_is_sklearns_over_clips_of_averaged_windows():
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(6, 2)).tolist()
    outputs = rng.normal(size=(12, 2)).astype(np.float32)
    examples = [
        Example(id=str(i), track=str(i // 2), path=None, split="test", target=answers[i // 2])  # type: ignore[arg-type]
        for i in range(12)
    ]
    scores = EmoMusic().score(Predictions(examples=examples, outputs=list(outputs)))
    expected = r2_score(answers, outputs.reshape(6, 2, 2).mean(axis=1), multioutput="raw_values")
    assert scores == pytest.approx(
        {"r2": expected.mean(), "r2_arousal": expected[0], "r2_valence": expected[1]}, rel=1e-5
    )


def test_a_table_without_a_column_is_named_with_what_it_has(emomusic_dir):
    path = emomusic_dir / "annotations/static_annotations.csv"
    path.write_text("song_id,arousal\n2,3\n")
    with pytest.raises(
        DataError, match=r"static_annotations\.csv has no column 'mean_arousal' \(it has song_id, arousal"
    ):
        EmoMusic().read(emomusic_dir)


def test_short_rows_and_unknown_sets_are_counted(emomusic_dir):
    before = EmoMusic().read(emomusic_dir)
    songs = emomusic_dir / "annotations/songs_info.csv"
    songs.write_text(songs.read_text().rstrip() + "\n20,20.mp3,Emil\n21,21.mp3,Emil,A title,Blues,trial\n , \n")
    ratings = emomusic_dir / "annotations/static_annotations.csv"
    ratings.write_text(ratings.read_text().replace("3,5.0,1.0,6.0,1.0", "3,5.0,1.0,6.0") + "20,4,1,4,1\n21,4,1,4,1\n")
    data = EmoMusic().read(emomusic_dir)
    found = {item.id: (item.split, item.reason) for item in data.skipped if item.reason == "bad_row"}
    assert found == {"3": ("train", "bad_row"), "11": ("test", "bad_row"), "20": ("", "bad_row"), "21": ("", "bad_row")}
    assert data.expected == before.expected
    # The scale is that of the two development clips that are left: 3 and 7 of arousal, 4 and 2 of valence.
    assert {example.track: example.target for example in data.examples}["2"] == [-1.0, 1.0]


def test_a_folder_of_a_common_name_is_taken_only_if_there_is_none_of_its_own(emomusic_dir, write_audio):
    write_audio(emomusic_dir.parent / "audio/13.mp3", 6.0, 4000)
    assert "13" in {item.id for item in EmoMusic().read(emomusic_dir.parent).skipped}
    (emomusic_dir / "clips_45seconds").rename(emomusic_dir / "audio")
    assert "13" not in {item.id for item in EmoMusic().read(emomusic_dir.parent).skipped}


def test_missing_audio_says_what_was_expected_where(emomusic_dir):
    (emomusic_dir / "clips_45seconds").rename(emomusic_dir / "other")
    with pytest.raises(DataError, match=r"expected clips_45seconds/<song_id>\.mp3"):
        EmoMusic().read(emomusic_dir)


def test_the_evaluation_set_may_share_artists_but_train_and_valid_do_not(emomusic_dir):
    groups = {
        split: {e.group for e in EmoMusic().read(emomusic_dir).split(split)} for split in ("train", "valid", "test")
    }
    assert groups == {"train": {"emil"}, "valid": {"dora"}, "test": {"emil"}}


@pytest.mark.metadata
def test_real_annotations_give_the_published_split(metadata_dir, tmp_path):
    source = metadata_dir / "emomusic"
    for name in ("songs_info", "static_annotations"):
        (tmp_path / f"{name}.csv").write_bytes((source / f"{name}.reconstructed.csv").read_bytes())
    data = EmoMusic().read(tmp_path, annotations_only=True)
    assert data.used() == data.expected == {"train": 504, "valid": 115, "test": 125}
    assert not data.notes
    with (source / "emomusic_split_jukemir.tsv").open() as file:
        published = {row["song_id"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert {example.id: example.split for example in data.examples} == {k: row["split"] for k, row in published.items()}
    example = next(example for example in data.examples if example.id == "2")
    # Source of the scale: mean and population deviation over the 619 development clips.
    np.testing.assert_allclose(example.target, [(3.1 - 4.756063) / 1.386010, (3.0 - 4.973865) / 1.254618], rtol=1e-5)
