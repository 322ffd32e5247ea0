"""MTG-Jamendo: instruments, moods and themes, genres, or the 50 most frequent of all tags of full tracks.

Conventions:
    Lists: `data/splits/split-0/autotagging_<subset>-{train,validation,test}.tsv` of the repository, separated by tabs;
    every tag of a track is a further column, so rows differ in length. Tags are `category---value`.
    The classes are the tags found in the three lists of a subset, sorted: fewer than the full tables have.
    Audio: `24/3524.mp3` in a list is `24/3524.low.mp3` (the smaller download, taken first, wherever it lies) or `24/3524.mp3`
    on disk. Both in use give a note.
    Tracks are cut into windows of 30 s; a rest under 1 s is dropped. A partial download is normal: the rest is
    `missing`.

Source: Bogdanov et al. 2019; split 0, in which no artist is in two parts.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import SPLITS, Pooling, Predictions, Split, TaskData, TaskKind
from ray_musicssl.tasks.files import access_to, paths_like
from ray_musicssl.tasks.leakage import Apart
from ray_musicssl.tasks.locate import MIN_AUDIO_S, data_folder, find_all, find_one
from ray_musicssl.tasks.reading import Item, Listing, Windows, read_items
from ray_musicssl.tasks.scores import tag_scores
from ray_musicssl.tasks.table import read_lines
from ray_musicssl.tasks.tags import multi_hot, with_unscored_tags

WINDOW_S = 30.0
HEADER = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
PART_OF_SPLIT: dict[Split, str] = {"train": "train", "valid": "validation", "test": "test"}
LISTS_DIRS = ("data/splits/split-0", "splits/split-0", "split-0")
AUDIO_DIRS = ("audio-low", "audio", "raw_30s", "raw_30s/audio-low", "raw_30s/audio")
OFFICIAL_COUNTS: dict[str, dict[Split, int]] = {
    "instrument": {"train": 14_395, "valid": 5_466, "test": 5_115},
    "moodtheme": {"train": 9_949, "valid": 3_802, "test": 4_231},
    "genre": {"train": 32_572, "valid": 11_043, "test": 11_479},
    "top50tags": {"train": 32_136, "valid": 10_888, "test": 11_356},
}
_NUMBERED = "[0-9][0-9]"  # the folders 00 to 99 that tracks lie in
_SIGNS = (*LISTS_DIRS, *(f"{folder}/{_NUMBERED}" for folder in AUDIO_DIRS))
_CATEGORY_SIGN = "---"
_LOW = ".low"  # before the suffix of files of the smaller download


class _Row(NamedTuple):
    split: Split
    track: str
    artist: str
    path: str  # as listed; empty if the row is damaged
    tags: tuple[str, ...]


class _JamendoTags:
    """One subset of the tags; the four tasks below say which."""

    name: str
    subset: str
    dataset = "MTG-Jamendo"
    kind: TaskKind = "multilabel"
    metrics = ("roc_auc", "average_precision")
    pooling: Pooling = "embeddings"

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read the three lists of split 0 and the audio under `data_dir`.

        Raises:
            NotThereError: if nothing of the data set is there.
            DataError: if a list or the audio folders are missing, a split has no usable track, or two splits share an
                artist.
        """
        data_dir = data_folder(data_dir)
        rows = [row for split in SPLITS for row in _rows(_list_path(data_dir, self.subset, split), split)]
        classes = sorted({tag for row in rows for tag in row.tags})
        folders = [data_dir / "audio"] if annotations_only else _audio_dirs(data_dir)
        listing = Listing(
            dataset=f"MTG-Jamendo {self.subset}",
            items=[_item(row, classes) for row in rows],
            folders=folders,
            classes=classes,
            official=OFFICIAL_COUNTS[self.subset],
            windows=Windows(length_s=WINDOW_S, least_s=MIN_AUDIO_S),
            apart=Apart(noun="artist"),
            notes=[] if annotations_only else _tar_notes(folders),
        )
        data = read_items(listing, data_dir, annotations_only=annotations_only)
        return with_unscored_tags(replace(data, notes=[*data.notes, *_quality_notes(data)]))

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Macro ROC-AUC and average precision over tracks."""
        return tag_scores(predictions)


class MtgInstrument(_JamendoTags):
    """Instruments of a track, 40 tags."""

    name = "mtg_instrument"
    subset = "instrument"


class MtgMoodTheme(_JamendoTags):
    """Moods and themes of a track, 56 tags."""

    name = "mtg_moodtheme"
    subset = "moodtheme"


class MtgGenre(_JamendoTags):
    """Genres of a track, 87 tags."""

    name = "mtg_genre"
    subset = "genre"


class MtgTop50(_JamendoTags):
    """The 50 most frequent tags of all categories."""

    name = "mtg_top50"
    subset = "top50tags"


def _list_path(data_dir: Path, subset: str, split: Split) -> Path:
    return find_one(
        data_dir,
        *(f"{folder}/autotagging_{subset}-{PART_OF_SPLIT[split]}.tsv" for folder in LISTS_DIRS),
        what=f"MTG-Jamendo list of {subset}, {PART_OF_SPLIT[split]}",
        remedy="clone the repository MTG/mtg-jamendo-dataset beside the audio, or give --data its folder or its parent",
        signs=_SIGNS,
    )


def _rows(path: Path, split: Split) -> list[_Row]:
    """The tracks of a list, in its order."""
    header, *lines = [line.split("\t") for line in read_lines(path)] or [[""]]
    if tuple(header) != HEADER:
        raise DataError(
            f"{path} is no list of MTG-Jamendo: its first line is {' '.join(header)!r}, not "
            f"{' '.join(HEADER)!r}; fetch it again"
        )
    return [_row(line, split) for line in lines]


def _row(values: Sequence[str], split: Split) -> _Row:
    """A track; without a path if columns are missing, the path names no file or a tag has no category."""
    tags = tuple(value for value in values[len(HEADER) - 1 :] if value)
    is_whole = bool(tags) and all(_CATEGORY_SIGN in tag for tag in tags)
    if not is_whole or not PurePosixPath(values[3]).name:
        return _Row(split, track=values[0], artist="", path="", tags=())
    return _Row(split, track=values[0], artist=values[1], path=values[3], tags=tags)


def _item(row: _Row, classes: Sequence[str]) -> Item:
    path = PurePosixPath(row.path or "none.mp3")
    return Item(
        id=row.track,
        split=row.split,
        names=[str(path.with_suffix(f"{_LOW}{path.suffix}")), str(path)],
        target=multi_hot(row.tags, classes),
        fault=None if row.path else "bad_row",
        group=row.artist,
    )


def _audio_dirs(data_dir: Path) -> list[Path]:
    """The folders that hold the folders 00 to 99."""
    named = [folder for folder in find_all(data_dir, *AUDIO_DIRS) if paths_like(folder, _NUMBERED)]
    with access_to(data_dir):
        bare = [folder.parent for folder in find_all(data_dir, _NUMBERED) if folder.is_dir()]
    found = list(dict.fromkeys([*named, *bare]))
    if found:
        return found
    tars = [path for folder in (data_dir, *find_all(data_dir, *AUDIO_DIRS)) for path in paths_like(folder, "*.tar")]
    if tars:
        raise DataError(
            f"the audio of MTG-Jamendo is still packed: {tars[0]} and {len(tars) - 1} more; unpack them in their "
            f"folder (for f in *.tar; do tar xf $f; done), which gives the folders 00 to 99"
        )
    raise DataError(
        f"no MTG-Jamendo audio under {data_dir}; expected audio/00/<id>.mp3 or audio/00/<id>.low.mp3 there or a "
        f"folder or two below; run the repository's scripts/download/download.py with --unpack"
    )


def _quality_notes(data: TaskData) -> list[str]:
    """A note if tracks are of both downloads: what a probe hears then differs between tracks."""
    is_low = {example.track: example.path.stem.endswith(_LOW) for example in data.examples}
    low = sum(is_low.values())
    if low in (0, len(is_low)):
        return []
    note = f"{low} tracks are of the smaller download (low quality) and {len(is_low) - low} of the full one"
    return [f"{note}; a probe may hear which is which; fetch the rest of the smaller download"]


def _tar_notes(folders: Sequence[Path]) -> list[str]:
    """A note if archives lie among the folders: what is in them may be missing."""
    tars = sum(len(paths_like(folder, "*.tar")) for folder in folders)
    return [f"{tars} .tar files lie beside the unpacked audio; unpack those whose tracks are missing"] if tars else []
