"""MagnaTagATune: the 50 most frequent tags of 29 s clips, as listeners of a game gave them.

Conventions:
    `annotations_final.csv` is separated by tabs: `clip_id`, a column of 0 and 1 a tag, `mp3_path` such as
    `f/a_name-0-29.mp3`.
    The split is by the first hexadecimal digit of that path: 0 to b train, c valid, d to f test. Every annotated clip
    is used, also those with none of the 50 tags, which are counted over all annotated clips.
    Audio lies in the folders 0 to f, below `mp3/` or beside the table. Clips of one recording lie in one folder.

Source: Law et al. 2009; the split is the usual 12:1:3, which gives 18,709 / 1,825 / 5,329 clips. Three files of the
release (train) are empty.
"""

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import Pooling, Predictions, Split, TaskData, TaskKind
from ray_musicssl.tasks.files import access_to
from ray_musicssl.tasks.leakage import Apart
from ray_musicssl.tasks.locate import data_folder, find_one
from ray_musicssl.tasks.reading import Item, Listing, read_items
from ray_musicssl.tasks.scores import tag_scores
from ray_musicssl.tasks.table import read_rows
from ray_musicssl.tasks.tags import most_frequent, multi_hot, with_unscored_tags

TABLE = "annotations_final.csv"
NUM_TAGS = 50
OFFICIAL_COUNTS: dict[Split, int] = {"train": 18_709, "valid": 1_825, "test": 5_329}
DIGITS_OF_SPLIT: dict[Split, str] = {"train": "0123456789ab", "valid": "c", "test": "def"}
SPLIT_OF_DIGIT: dict[str, Split] = {digit: split for split, digits in DIGITS_OF_SPLIT.items() for digit in digits}
_SIGNS = ("mp3.zip.001", "mp3.zip", *(f"mp3/{digit}" for digit in SPLIT_OF_DIGIT))
_FIRST, _LAST = "clip_id", "mp3_path"
_STRETCH = re.compile(r"-\d+-\d+$")  # the seconds of a recording that a clip is


class _Clip(NamedTuple):
    number: str
    path: str  # relative; empty if the clip was never published
    tags: frozenset[str]


class MagnaTagATune:
    """The 50 most frequent tags of a clip, macro ROC-AUC and average precision."""

    name = "magnatagatune"
    dataset = "MagnaTagATune"
    kind: TaskKind = "multilabel"
    metrics = ("roc_auc", "average_precision")
    pooling: Pooling = "outputs"

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read the table of tags and the audio under `data_dir`.

        Raises:
            NotThereError: if nothing of the data set is there.
            DataError: if the table or the audio folders are missing, a split has no usable clip, or two splits share a
                recording.
        """
        data_dir = data_folder(data_dir)
        table_path = find_one(data_dir, TABLE, what="MagnaTagATune table of tags", signs=_SIGNS)
        clips = _clips(table_path)
        classes = most_frequent(Counter(tag for clip in clips for tag in clip.tags), NUM_TAGS)
        listing = Listing(
            dataset="MagnaTagATune",
            items=[_item(clip, classes) for clip in clips],
            folders=[table_path.parent / "mp3"] if annotations_only else _audio_dirs(table_path, data_dir),
            classes=classes,
            official=OFFICIAL_COUNTS,
            apart=Apart(noun="recording"),
        )
        return with_unscored_tags(read_items(listing, data_dir, annotations_only=annotations_only))

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Macro ROC-AUC and average precision over clips."""
        return tag_scores(predictions)


def _clips(table_path: Path) -> list[_Clip]:
    """The clips of the table, in its order."""
    rows = read_rows(table_path, delimiter="\t")
    _, header = next(rows, (0, []))
    if len(header) < 3 or header[0] != _FIRST or header[-1] != _LAST:
        raise DataError(
            f"{table_path} is no table of tags: its first line is to begin with {_FIRST}, end with {_LAST} and "
            f"name tags in between, separated by tabs; download it again"
        )
    clips = []
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{table_path} line {line} has {len(row)} of {len(header)} columns; download it again")
        tags = frozenset(tag for tag, value in zip(header[1:-1], row[1:-1], strict=True) if value == "1")
        clips.append(_Clip(number=row[0], path=row[-1], tags=tags))
    return clips


def _item(clip: _Clip, classes: list[str]) -> Item:
    path = PurePosixPath(clip.path if PurePosixPath(clip.path).name else f"clip {clip.number}")
    split: Split | None = SPLIT_OF_DIGIT.get(clip.path[:1].lower())
    recording = _STRETCH.sub("", path.stem)
    return Item(
        id=str(path.with_suffix("")),
        split=split,
        names=[str(path), str(path.with_suffix(".wav"))],
        target=multi_hot(clip.tags, classes),
        fault=None if split and path.suffix else "bad_row",
        group=recording if recording != path.stem else "",
    )


def _audio_dirs(table_path: Path, data_dir: Path) -> list[Path]:
    """The folders that hold the folders 0 to f."""
    beside = [table_path.parent, *([] if table_path.parent == data_dir else [table_path.parent.parent])]
    with access_to(table_path.parent):
        found = [
            folder
            for parent in beside
            for folder in (parent / "mp3", parent)
            if any((folder / digit).is_dir() for digit in SPLIT_OF_DIGIT)
        ]
    if not found:
        raise DataError(
            f"no MagnaTagATune audio beside {table_path}; expected mp3/0 to mp3/f or 0 to f there; join the archive's "
            f"parts (cat mp3.zip.001 mp3.zip.002 mp3.zip.003 > mp3.zip) and unpack it into mp3/"
        )
    return found
