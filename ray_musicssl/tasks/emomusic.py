"""EmoMusic: valence and arousal of a clip, as listeners rated it.

Conventions:
    Clips of 45 s, `clips_45seconds/<song_id>.mp3`, are cut into windows of 5 s; a clip's answer is the mean over them.
    Targets are [arousal, valence], each less the mean and divided by the standard deviation of the development clips.
    `static_annotations.csv` holds the ratings (1 to 9), `songs_info.csv` artists and the official evaluation set;
    columns are found by name, and values may carry blanks.

Source: Soleymani et al. 2013. Test is the official evaluation set; the rest is split by artist as Castellon, Donahue
and Liang 2021 do, which gives 504 / 115 / 125 clips.
"""

import hashlib
import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import Pooling, Predictions, Split, TaskData, TaskKind
from ray_musicssl.tasks.leakage import Apart
from ray_musicssl.tasks.locate import data_folder, find_all, find_one
from ray_musicssl.tasks.metrics import by_song, r2
from ray_musicssl.tasks.reading import Item, Listing, Windows, read_items
from ray_musicssl.tasks.table import read_rows

OFFICIAL_COUNTS: dict[Split, int] = {"train": 504, "valid": 115, "test": 125}
WINDOW_S = 5.0
LEAST_WINDOW_S = 2.5  # a shorter rest at a clip's end is dropped; clips decode to between 44.6 and 45.04 s
SONGS, RATINGS = "songs_info.csv", "static_annotations.csv"
CLIPS_DIRS = ("clips_45seconds", "clips_45sec")
_SIGNS = (SONGS, RATINGS, *CLIPS_DIRS)
NUMBERS = ("arousal", "valence")
SUFFIXES = (".mp3", ".wav")
# The official evaluation set was not chosen by artist: 52 of its 112 artists have development clips too.
APART = Apart(noun="artist", pairs=[("train", "valid")])
_SONG, _ARTIST, _SET = "song_id", "Artist", "Mediaeval 2013 set"
_DEVELOPMENT, _EVALUATION = "development", "evaluation"
# Source: of ten hash values of an artist's name, eight go to train.
_TRAIN_SHARE, _HASH_RANGE = 8, 10


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One rated clip."""

    id: str
    split: Split | None  # None: the table does not say
    artist: str
    ratings: tuple[float, float] | None  # arousal, valence from 1 to 9; None if they cannot be read


class EmoMusic:
    """Arousal and valence, regression, scored by the coefficient of determination over clips."""

    name = "emomusic"
    dataset = "EmoMusic"
    kind: TaskKind = "regression"
    metrics = ("r2", "r2_arousal", "r2_valence")
    pooling: Pooling = "outputs"

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read annotations and audio under `data_dir`.

        Raises:
            NotThereError: if nothing of the data set is there.
            DataError: if a table, one of its columns or the audio folder is missing, a split has no usable clip, or
                train and valid share an artist.
        """
        data_dir = data_folder(data_dir)
        clips = _clips(data_dir)
        targets = _standardised(clips)
        items = [
            Item(
                id=clip.id,
                split=clip.split,
                names=[clip.id + suffix for suffix in SUFFIXES],
                target=targets.get(clip.id),
                fault="bad_row" if clip.split is None or clip.ratings is None else None,
                group=artist_name(clip.artist),
            )
            for clip in clips
        ]
        listing = Listing(
            dataset="EmoMusic",
            items=items,
            folders=[data_dir / "clips_45seconds"] if annotations_only else _audio_dirs(data_dir),
            classes=NUMBERS,
            official=OFFICIAL_COUNTS,
            windows=Windows(length_s=WINDOW_S, least_s=LEAST_WINDOW_S),
            min_s=LEAST_WINDOW_S,
            apart=APART,
        )
        return read_items(listing, data_dir, annotations_only=annotations_only)

    def score(self, predictions: Predictions) -> dict[str, float]:
        """The coefficient of determination of both numbers and their mean, one answer a clip."""
        tracks = [example.track for example in predictions.examples]
        clips = by_song(tracks, np.stack(predictions.outputs), "mean_logits")
        answers = np.array([predictions.examples[first].target for first in clips.first_clip])
        found = dict(zip(NUMBERS, r2(answers, clips.outputs).tolist(), strict=True))
        return {"r2": sum(found.values()) / len(found), **{f"r2_{name}": value for name, value in found.items()}}


def artist_name(artist: str) -> str:
    """The artist's name in lower case, with ASCII letters and single blanks alone."""
    kept = "".join(letter for letter in artist.lower() if letter in string.ascii_lowercase or letter.isspace())
    return " ".join(kept.split())


def development_split(artist: str) -> Split:
    """Train or valid, by a hash of `artist_name`."""
    digest = int(hashlib.sha1(artist_name(artist).encode(), usedforsecurity=False).hexdigest(), 16)
    return "train" if digest % _HASH_RANGE < _TRAIN_SHARE else "valid"


def _clips(data_dir: Path) -> list[Clip]:
    """Every clip of `songs_info.csv` with its ratings, in the table's order."""
    info_path = find_one(data_dir, SONGS, what="EmoMusic song table", signs=_SIGNS)
    ratings_path = find_one(data_dir, RATINGS, what="EmoMusic table of ratings", signs=_SIGNS)
    rated = {row[_SONG]: row for row in _rows(ratings_path, (_SONG, "mean_arousal", "mean_valence"))}
    return [
        Clip(
            id=row[_SONG],
            split=_split(row.get(_SET, ""), row.get(_ARTIST, "")),
            artist=row.get(_ARTIST, ""),
            ratings=_ratings(rated.get(row[_SONG], {})),
        )
        for row in _rows(info_path, (_SONG, _ARTIST, _SET))
    ]


def _split(official_set: str, artist: str) -> Split | None:
    if official_set == _EVALUATION:
        return "test"
    return development_split(artist) if official_set == _DEVELOPMENT else None


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table by column name, without the blanks around names and values.

    Raises:
        DataError: if the file is no table, or one of `columns` is missing.
    """
    header, *lines = [[value.strip() for value in row.values] for row in read_rows(path, delimiter=",")] or [[]]
    for column in columns:
        if column not in header:
            raise DataError(f"{path} has no column {column!r} (it has {', '.join(header) or 'none'}); unpack it again")
    return [_by_column(header, line) for line in lines]


def _by_column(header: Sequence[str], line: Sequence[str]) -> dict[str, str]:
    """The values of a row; of a short one, in which no value is sure to be in its column, the song alone."""
    row = dict(zip(header, line, strict=False))
    return row if len(line) >= len(header) else {_SONG: row.get(_SONG, "")}


def _ratings(row: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        arousal, valence = float(row["mean_arousal"]), float(row["mean_valence"])
    except (KeyError, ValueError):
        return None
    return (arousal, valence) if math.isfinite(arousal) and math.isfinite(valence) else None


def _standardised(clips: Sequence[Clip]) -> dict[str, list[float]]:
    """Each rated clip's [arousal, valence] on the scale of all development clips, train and valid alike."""
    rated = {clip.id: clip.ratings for clip in clips if clip.ratings is not None}
    development = np.array([rated[clip.id] for clip in clips if clip.id in rated and clip.split in ("train", "valid")])
    if len(development) == 0:
        return {}
    mean, spread = development.mean(axis=0), development.std(axis=0)
    spread[spread == 0] = 1
    return {clip_id: ((np.array(ratings) - mean) / spread).tolist() for clip_id, ratings in rated.items()}


def _audio_dirs(data_dir: Path) -> list[Path]:
    # `audio` is a name that many data sets have: it stands for the clips only where nothing else does.
    found = find_all(data_dir, *CLIPS_DIRS) or find_all(data_dir, "audio")
    if not found:
        raise DataError(
            f"no EmoMusic audio under {data_dir}; expected clips_45seconds/<song_id>.mp3 there or a folder or two "
            f"below; unpack clips_45sec.tar.gz beside the tables"
        )
    return found
