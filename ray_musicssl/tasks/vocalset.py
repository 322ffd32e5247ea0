"""VocalSet: singing technique and singer of 3 s of a recording.

Conventions:
    Recordings: `FULL/<singer>/<context>/<technique>/*.wav`, or the same below `data_by_singer/`; the other two views of
    the later release are not read. Singer and technique are those of the folders: file names leave them out or have
    them wrong.
    Singers are f1..f9 and m1..m11. A recording is named by its path from the singer on, with the short singer name.
    Recordings are cut into chunks of 3 s, a rest under 1 s is dropped, and every chunk is scored. Silence at the start
    is not trimmed: the paper does not say that it is, and a chunk's label holds with it.
    Technique, split by singer: test singers are the official f2 f8 m3 m5 m10 (or those of
    `test_singers_technique.txt`); of the others, `VALID_SINGERS` are valid, which leaves 9 / 6 / 5. Split by recording:
    the same test singers; of each technique's other recordings 60 % are train and 40 % valid.
    Singer: each singer's recordings are split 12 : 8 : 5.
    A recording's place among others is that of the hash of its name: no seed, no order of files.

Source: Wilkins et al. 2018 (data, test singers); Ma et al. 2023, 3.2 (3 s; 9 and 6 singers; 12:8:5). Which six singers
are valid is not published: the list is ours, three women and three men.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ray_musicssl.config.probe import TechniqueSplit
from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import SPLITS, Pooling, Predictions, Split, TaskData, TaskKind
from ray_musicssl.tasks.files import paths_like, with_lower_suffix
from ray_musicssl.tasks.leakage import EVERY_PAIR, Apart
from ray_musicssl.tasks.locate import MIN_AUDIO_S, data_folder, find_all, find_one
from ray_musicssl.tasks.reading import Item, Listing, Windows, read_items
from ray_musicssl.tasks.scores import class_scores
from ray_musicssl.tasks.table import read_lines

CHUNK_S = 3.0
LEAST_RECORDINGS = 3_000  # fewer are a part of the release
SINGERS = (*(f"f{number}" for number in range(1, 10)), *(f"m{number}" for number in range(1, 12)))
TEST_SINGERS = ("f2", "f8", "m3", "m5", "m10")
VALID_SINGERS = ("f3", "f6", "f9", "m2", "m7", "m11")
# The ten of the paper's task; recordings of the other seven are for the singer task alone.
TECHNIQUES = (
    *("belt", "breathy", "inhaled", "lip_trill", "spoken"),
    *("straight", "trill", "trillo", "vibrato", "vocal_fry"),
)
# In folders named vibrato: copies, and recordings that are no vibrato.
STRAY_FILES = (
    "f2_scales_vibrato_a(1).wav",
    "caro_vibrato.wav",
    "dona_vibrato.wav",
    "row_vibrato.wav",
    "slow_vibrato_arps.wav",
)
VIEWS = ("data_by_singer", "FULL")
TEST_LIST, TRAIN_LIST = "test_singers_technique.txt", "train_singers_technique.txt"
_SIGNS = (*VIEWS, "data_by_technique", "data_by_vowel", TEST_LIST, TRAIN_LIST)
_SINGER_FOLDER = re.compile(r"(f|m)(?:emale|ale)?(\d+)")
# Shares of recordings by split.
_BY_SINGER_SHARES: dict[Split, int] = {"train": 12, "valid": 8, "test": 5}
_BY_RECORDING_SHARES: dict[Split, int] = {"train": 3, "valid": 2}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One file of the release."""

    id: str  # `f1/arpeggios/belt/f1_arpeggios_belt_c_a`
    singer: str
    technique: str  # the folder's name
    path: Path


class VocalSetTechnique:
    """Singing technique of a chunk, ten classes, of singers not heard before."""

    name = "vocalset_technique"
    dataset = "VocalSet"
    kind: TaskKind = "multiclass"
    metrics = ("accuracy",)
    pooling: Pooling = "outputs"

    def __init__(self, split_by: TechniqueSplit = "singer") -> None:
        self.split_by: TechniqueSplit = split_by

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read the recordings under `data_dir`.

        Raises:
            NotThereError: if nothing of the data set is there.
            DataError: if there are none, a list of singers cannot be read, or a split has no usable recording.
        """
        data_dir = data_folder(data_dir)
        all_recordings = find_recordings(data_dir)
        recordings = [recording for recording in all_recordings if recording.technique in TECHNIQUES]
        split_of_singer = _singer_splits(data_dir)
        splits: dict[str, Split] = {recording.id: split_of_singer[recording.singer] for recording in recordings}
        by_singer = self.split_by == "singer"
        if not by_singer:
            heard = [recording for recording in recordings if splits[recording.id] != "test"]
            splits |= split_within(heard, lambda recording: recording.technique, _BY_RECORDING_SHARES)
        items = [
            _item(recording, splits[recording.id], TECHNIQUES.index(recording.technique), group=recording.singer)
            for recording in recordings
        ]
        apart = Apart(noun="singer", pairs=EVERY_PAIR if by_singer else [("train", "test"), ("valid", "test")])
        listing = _listing(all_recordings, items, TECHNIQUES, apart)
        return read_items(listing, data_dir, annotations_only=annotations_only)

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy: the fraction of chunks whose technique is found."""
        return class_scores(predictions)


class VocalSetSinger:
    """Singer of a chunk, 20 classes, each heard in every split."""

    name = "vocalset_singer"
    dataset = "VocalSet"
    kind: TaskKind = "multiclass"
    metrics = ("accuracy",)
    pooling: Pooling = "outputs"

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read the recordings under `data_dir`, of all techniques.

        Raises:
            NotThereError: if nothing of the data set is there.
            DataError: if there are none, or a singer has no usable recording in one of the splits.
        """
        data_dir = data_folder(data_dir)
        recordings = find_recordings(data_dir)
        splits = split_within(recordings, lambda recording: recording.singer, _BY_SINGER_SHARES)
        items = [
            _item(recording, splits[recording.id], SINGERS.index(recording.singer), group="")
            for recording in recordings
        ]
        listing = _listing(recordings, items, SINGERS, None)
        data = read_items(listing, data_dir, annotations_only=annotations_only)
        _need_every_singer(data_dir, data)
        return data

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy: the fraction of chunks whose singer is found."""
        return class_scores(predictions)


def find_recordings(data_dir: Path) -> list[Recording]:
    """The recordings of one view of the release, by path; without strays and files that begin with a dot.

    Raises:
        DataError: if there are none.
    """
    for view in find_all(data_dir, *VIEWS):
        found = [
            Recording(
                id="/".join((singer, *path.relative_to(view).with_suffix("").parts[1:])),
                singer=singer,
                technique=path.parent.name,
                path=path,
            )
            for path in _wav_files(view)
            if (singer := singer_of(path.relative_to(view).parts[0])) and _is_wanted(path)
        ]
        if found:
            return found
    # One word for a folder that is not there and for one that is empty: the remedy is the same.
    find_one(
        data_dir,
        *(f"{view}/*/*/*/*.wav" for view in VIEWS),
        what="VocalSet recording",
        remedy="unpack the archive (singers' folders are named female1 to female9 and male1 to male11), or give "
        "--data its folder or its parent",
        signs=_SIGNS,
    )
    raise DataError(
        f"none of the recordings under {data_dir} lies in a folder of one of the singers {', '.join(SINGERS)}"
    )


def _wav_files(view: Path) -> list[Path]:
    """What matches `*/*/*/*.wav`, by path."""
    folders = [view]
    for _ in range(3):  # singer, context, technique
        folders = [path for folder in folders for path in paths_like(folder, "*")]
    return [path for folder in folders for path in paths_like(folder, "*.wav")]


def _is_wanted(path: Path) -> bool:
    return not (path.parent.name == "vibrato" and with_lower_suffix(path.name) in STRAY_FILES)


def singer_of(folder_name: str) -> str:
    """The short name of a singer, `f1` for `female1`; empty if it is none of the twenty."""
    found = _SINGER_FOLDER.fullmatch(folder_name.strip().lower())
    name = f"{found[1]}{int(found[2])}" if found else ""
    return name if name in SINGERS else ""


def split_within(
    recordings: Sequence[Recording], stratum: Callable[[Recording], str], shares: Mapping[Split, int]
) -> dict[str, Split]:
    """The split of each recording: those of a stratum are dealt out by shares, in the order of their hashes.

    Of n recordings that of rank r lies at (r + 1/2) / n on a line that the shares divide; three or more give each of
    train, valid and test one.
    """
    strata: dict[str, list[str]] = defaultdict(list)
    for recording in recordings:
        strata[stratum(recording)].append(recording.id)
    names, line = list(shares), np.cumsum(list(shares.values())) / sum(shares.values())
    splits: dict[str, Split] = {}
    for ids in strata.values():
        ids.sort(key=lambda name: hashlib.sha1(name.encode(), usedforsecurity=False).digest())
        places = (np.arange(len(ids)) + 0.5) / len(ids)
        splits |= {name: names[k] for name, k in zip(ids, np.searchsorted(line, places, side="right"), strict=True)}
    return splits


def _singer_splits(data_dir: Path) -> dict[str, Split]:
    """The split of each of the twenty singers; the release's own lists are obeyed where they are."""
    test = _listed_singers(data_dir, TEST_LIST) or list(TEST_SINGERS)
    learnt = _listed_singers(data_dir, TRAIN_LIST) or [singer for singer in SINGERS if singer not in test]
    both = sorted(set(test) & set(learnt))
    neither = sorted(set(SINGERS) - set(test) - set(learnt))
    if both or neither:
        raise DataError(
            f"{TRAIN_LIST} and {TEST_LIST} under {data_dir} have {', '.join(both) or 'no singer'} in both and "
            f"{', '.join(neither) or 'no singer'} in neither; unpack them again, or remove both for the official "
            "singers"
        )
    return {singer: "test" if singer in test else "valid" if singer in VALID_SINGERS else "train" for singer in SINGERS}


def _listed_singers(data_dir: Path, name: str) -> list[str]:
    """The singers of a list, none if there is no such list."""
    for path in find_all(data_dir, name)[:1]:
        lines = [line.strip() for line in read_lines(path)]
        for line in lines:
            if not singer_of(line):
                raise DataError(f"{path} names {line!r}, which is none of female1..9 and male1..11; unpack it again")
        return [singer_of(line) for line in lines]
    return []


def _item(recording: Recording, split: Split, target: int, *, group: str) -> Item:
    return Item(id=recording.id, split=split, names=[str(recording.path)], target=target, group=group)


def _listing(
    recordings: Sequence[Recording], items: Sequence[Item], classes: Sequence[str], apart: Apart | None
) -> Listing:
    notes = _copy_notes(recordings)
    return Listing(
        dataset="VocalSet",
        items=items,
        folders=[recordings[0].path.parent],  # of no use, as items name their files in full
        classes=classes,
        windows=Windows(length_s=CHUNK_S, least_s=MIN_AUDIO_S),
        apart=apart,
        notes=notes,
        is_part=bool(notes),
    )


def _copy_notes(recordings: Sequence[Recording]) -> list[str]:
    """A note if this is not the whole release: how many recordings it has is known within a few only."""
    absent = sorted(set(SINGERS) - {recording.singer for recording in recordings}, key=SINGERS.index)
    lacks = f", of {', '.join(absent)} none" if absent else ""
    if len(recordings) >= LEAST_RECORDINGS and not lacks:
        return []
    here = f"this copy of VocalSet has {len(recordings)} recordings{lacks}"
    return [f"{here}; the official one about 3,560: scores do not compare with published ones"]


def _need_every_singer(data_dir: Path, data: TaskData) -> None:
    heard = {split: {example.target for example in data.split(split)} for split in SPLITS}
    all_heard = {example.target for example in data.examples}
    for split, targets in heard.items():
        absent = sorted(all_heard - targets)
        if absent:
            names = ", ".join(SINGERS[target] for target in absent)
            raise DataError(
                f"VocalSet under {data_dir} has no usable recording of {names} in {split}; each singer needs three or "
                f"more, or none at all; unpack the archive again"
            )
