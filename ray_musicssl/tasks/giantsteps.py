"""GiantSteps: the key of an electronic dance track.

Conventions:
    Train and valid are the MTG set, split by artist; test is the GiantSteps key set. Clips are scored as songs.
    Folders may carry the suffix of a zip download (`giantsteps-key-dataset-c8cb8aad...`).
    Keys are written with flats; class 0..11 is C..B major, 12..23 C..B minor.

Source: Knees et al. 2015 (test), Faraldo et al. 2017 (train); artist split: Castellon, Donahue, Liang 2021, whose lists
give 923 / 236 / 604 tracks.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from ray_musicssl.config.probe import EnsembleRule, KeyEnsemble
from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import Pooling, Predictions, Split, TaskData, TaskKind
from ray_musicssl.tasks.files import access_to, paths_like
from ray_musicssl.tasks.leakage import GROUP_SEPARATOR, Apart
from ray_musicssl.tasks.locate import data_folder, find_all, find_one
from ray_musicssl.tasks.metrics import accuracy, by_song, key_score
from ray_musicssl.tasks.reading import Item, Listing, Windows, read_items
from ray_musicssl.tasks.table import read_lines

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
FLAT_OF = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)
OFFICIAL_COUNTS: dict[Split, int] = {"train": 923, "valid": 236, "test": 604}
CLIP_S = 30.0
SURE = "2"  # the annotators' confidence that the train pool is filtered by
# Of 116 hash values 100 go to train and 16 to valid.
TRAIN_SHARE, HASH_RANGE = 100, 116
TEST_DIR, POOL_DIR = "giantsteps-key-dataset", "giantsteps-mtg-key-dataset"
_SIGNS = (f"{TEST_DIR}*", f"{POOL_DIR}*")
SUFFIXES = (".LOFI.mp3", ".LOFI.wav", ".mp3", ".wav")
# A last clip this little shorter than 30 s is still whole: decoders disagree about the padding of an mp3.
CLIP_SLACK_S = 0.001


@dataclass(frozen=True, kw_only=True)
class Track:
    """One annotated track."""

    id: str
    split: Split
    key: str  # as annotated; may be unreadable
    artists: Sequence[str] = ()


class GiantStepsKey:
    """Key of a track, 24 classes, scored by the MIREX weights."""

    name = "giantsteps_key"
    dataset = "GiantSteps"
    kind: TaskKind = "multiclass"
    metrics = ("weighted_score", "accuracy")
    pooling: Pooling = "outputs"

    def __init__(self, ensemble: KeyEnsemble = "mean_logits") -> None:
        self.ensemble: KeyEnsemble = ensemble

    @property
    def rule(self) -> EnsembleRule:
        """How the clips of a song agree on its key; by the mean logits until the best way is chosen."""
        return "mean_logits" if self.ensemble == "best" else self.ensemble

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read both annotation sets and the audio under `data_dir`.

        A track gives consecutive clips of 30 s, an incomplete last one dropped; a shorter track gives one clip.

        Raises:
            NotThereError: if neither set is there.
            DataError: if one of them, its annotations or its audio is missing, a track of the pool has no artist, a
                split has no usable track, or train and valid share an artist.
        """
        data_dir = data_folder(data_dir)
        items = [_item(track) for track in [*_pool_tracks(data_dir), *_test_tracks(data_dir)]]
        listing = Listing(
            dataset="GiantSteps",
            items=items,
            folders=[data_dir / "audio"] if annotations_only else _audio_dirs(data_dir),
            classes=KEYS,
            official=OFFICIAL_COUNTS,
            windows=Windows(length_s=CLIP_S, least_s=CLIP_S, slack_s=CLIP_SLACK_S),
            apart=Apart(noun="artist", pairs=[("train", "valid")]),  # of the tracks of test no artist is given
        )
        return read_items(listing, data_dir, annotations_only=annotations_only)

    def score(self, predictions: Predictions) -> dict[str, float]:
        """MIREX weighted score and accuracy, one guess a song."""
        tracks = [example.track for example in predictions.examples]
        songs = by_song(tracks, np.stack(predictions.outputs), self.rule)
        answers = np.array([predictions.examples[clip].target for clip in songs.first_clip])
        guesses = songs.outputs.argmax(axis=1)
        return {
            "weighted_score": key_score(answers, guesses),
            "accuracy": accuracy(answers, guesses),
        }

    def settled(self, valid: Predictions) -> "GiantStepsKey":
        """The task with the ensemble that scores best on the validation split, if that is asked for; of equals the first."""
        if self.ensemble != "best":
            return self
        return max(
            (GiantStepsKey(rule) for rule in get_args(EnsembleRule)),
            key=lambda task: task.score(valid)[task.metrics[0]],
        )


def key_class(text: str) -> int | None:
    """The class of a key such as `D# minor`; None for several keys (`/`), none (`-`) or anything else."""
    words = text.split()
    if len(words) < 2:
        return None
    tonic = words[0][:1].upper() + words[0][1:]
    name = f"{FLAT_OF.get(tonic, tonic)} {words[1].lower()}"
    return KEYS.index(name) if name in KEYS and len(words) == 2 else None


def _item(track: Track) -> Item:
    target = key_class(track.key)
    return Item(
        id=track.id,
        split=track.split,
        names=[track.id + suffix for suffix in SUFFIXES],
        target=target,
        fault="no_label" if target is None else None,
        group=GROUP_SEPARATOR.join(artist for artist in track.artists if artist),
    )


def artist_splits(artists_of: Sequence[Sequence[str]]) -> list[Split]:
    """The split of each track, from its artists, so that no artist is in both.

    An artist's split is a hash of the name; then, twice in file order, the artists of a track that has a valid one
    become valid.

    Args:
        artists_of: the artists of every track of the pool, before any filter, in file order.
    """
    split_of: dict[str, Split] = {}
    for artist in (artist for artists in artists_of for artist in artists):
        digest = int(hashlib.sha1(artist.lower().encode(), usedforsecurity=False).hexdigest(), 16)
        split_of[artist] = "train" if digest % HASH_RANGE < TRAIN_SHARE else "valid"
    for _ in range(2):
        for artists in artists_of:
            if any(split_of[artist] == "valid" for artist in artists):
                split_of |= dict.fromkeys(artists, "valid")
    return ["valid" if any(split_of[artist] == "valid" for artist in artists) else "train" for artists in artists_of]


def _pool_tracks(data_dir: Path) -> list[Track]:
    """The tracks of train and valid that one sure key is known of, in file order."""
    keys_path = find_one(
        data_dir, f"{POOL_DIR}*/annotations/annotations.txt", what="GiantSteps MTG key annotations", signs=_SIGNS
    )
    artists_path = keys_path.with_name("beatport_metadata.txt")
    with access_to(artists_path):
        if not artists_path.is_file():
            raise DataError(
                f"{artists_path} is missing; the split by artist needs it; fetch the {POOL_DIR} repository whole"
            )
    keys = _columns(keys_path, "ID", "MANUAL KEY", "C")
    artists = {row["ID"]: row.get("ARTIST", "") for row in _columns(artists_path, "ID", "ARTIST")}
    artists_of = [[name.strip() for name in artists.get(row["ID"], "").split(",")] for row in keys]
    nameless = [row["ID"] for row, names in zip(keys, artists_of, strict=True) if not any(names)]
    if nameless:
        # An artist decides on the split of others too: a track without one spoils more than itself.
        raise DataError(
            f"{artists_path} names no artist of {len(nameless)} of the {len(keys)} tracks in {keys_path.name} (the "
            f"first is {nameless[0]}); the split by artist needs each; fetch the {POOL_DIR} repository again"
        )
    tracks: list[Track] = []
    for row, names, split in zip(keys, artists_of, artist_splits(artists_of), strict=True):
        key = row.get("MANUAL KEY", "-").strip()
        has_one_key = "/" not in key and key != "-"
        if row.get("C", "").strip() == SURE and has_one_key:
            tracks.append(Track(id=row["ID"], split=split, key=key, artists=names))
    return tracks


def _columns(path: Path, *needed: str) -> list[Mapping[str, str]]:
    """The rows of a tab-separated file by column name; short rows lack their last columns."""
    header, *lines = [line.split("\t") for line in read_lines(path)] or [[]]
    for column in needed:
        if column not in header:
            raise DataError(f"{path} has no column {column!r} (it has {', '.join(header) or 'none'}); fetch it again")
    return [dict(zip(header, line, strict=False)) for line in lines]


def _test_tracks(data_dir: Path) -> list[Track]:
    folder = find_one(data_dir, f"{TEST_DIR}*/annotations/key", what="GiantSteps key annotations", signs=_SIGNS)
    return [Track(id=path.name.split(".")[0], split="test", key=_key_in(path)) for path in paths_like(folder, "*.key")]


def _key_in(path: Path) -> str:
    """What a file of one key says; a damaged one costs its track only, as its key is then none of the classes."""
    with access_to(path):
        return path.read_text(encoding="utf-8-sig", errors="replace").strip()


def _audio_dirs(data_dir: Path) -> list[Path]:
    """Folders the tracks may be in: one a data set, or one for both."""
    found = find_all(data_dir, f"{POOL_DIR}*/audio", f"{TEST_DIR}*/audio", "audio")
    if not found:
        raise DataError(
            f"no GiantSteps audio under {data_dir}; expected {TEST_DIR}/audio/<id>.LOFI.mp3 and {POOL_DIR}/audio/, "
            f"or both in one audio/; run the repositories' audio_dl.sh"
        )
    return found
