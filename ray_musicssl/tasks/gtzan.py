"""GTZAN: genre of a clip, and its beats, on the fault-filtered split.

Conventions:
    A track is named `blues.00029`. Its genre is the first part of its path in the split lists.
    Audio: `genres/<genre>/` or `genres_original/<genre>/` (also below `Data/`), .wav or .au.
    Lists: `train_filtered.txt`, `valid_filtered.txt`, `test_filtered.txt`, lines such as `blues/blues.00029.wav`.
    Beats: `beats/gtzan_blues_00029.beats` (time, then maybe the position in the bar) or `jams/blues.00029.wav.jams`.

Source: Tzanetakis and Cook 2002; split: Kereliuk, Sturm, Larsen 2015 (443 / 197 / 290); beats: Marchand, Fresnel,
Peeters 2015 and its copies.
"""

import json
import re
from pathlib import Path

import numpy as np

from ray_musicssl.config.probe import BeatDecoder
from ray_musicssl.errors import DataError, NotThereError
from ray_musicssl.tasks.base import SPLITS, Pooling, Predictions, Split, TaskData, TaskKind
from ray_musicssl.tasks.beats import decode_beats_by_peaks, decode_beats_of_many
from ray_musicssl.tasks.files import NamedFiles, access_to, paths_like
from ray_musicssl.tasks.locate import data_folder, find_all, find_one
from ray_musicssl.tasks.metrics import beat_f1
from ray_musicssl.tasks.reading import Answer, Item, Listing, read_items
from ray_musicssl.tasks.scores import class_scores
from ray_musicssl.tasks.table import read_lines, read_text

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
OFFICIAL_COUNTS: dict[Split, int] = {"train": 443, "valid": 197, "test": 290}
AUDIO_FOLDERS = ("genres", "genres_original", "Data/genres_original", "Data/genres")
SUFFIXES = (".wav", ".au")
_SIGNS = (
    *(f"{split}_filtered.txt" for split in SPLITS),
    *(f"{folder}/{genre}" for folder in AUDIO_FOLDERS for genre in GENRES),
    *(f"{genre}/{genre}.[0-9]*" for genre in GENRES),
)
_BEATS_SIGNS = ("beats/gtzan_*.beats", *(f"jams/{genre}.[0-9]*.jams" for genre in GENRES))
_JAMS_NAME = re.compile(rf"({'|'.join(GENRES)})\.\d+\.")
_TRACK_LINE = re.compile(rf"({'|'.join(GENRES)})/\1\.\d+\.\w+")
LISTS_REMEDY = (
    "train_, valid_ and test_filtered.txt name the 443, 197 and 290 tracks that are neither repeated, mislabelled nor "
    "distorted; Kereliuk, Sturm and Larsen published them on GitHub in coreyker/dnn-mgr, a copy is in "
    "jongpillee/music_dataset_split; put them beside the audio, or give their folder as --split-lists"
)
# Source: Ma et al. 2023, 3.2 says 20 ms; mir_eval's default is 70 ms. Both are reported.
TOLERANCES_S = {"20ms": 0.020, "70ms": 0.070}


class GtzanGenre:
    """Genre of a 30 s clip, ten classes."""

    name = "gtzan_genre"
    dataset = "GTZAN"
    kind: TaskKind = "multiclass"
    metrics = ("accuracy",)
    pooling: Pooling = "outputs"

    def __init__(self, *, split_lists: Path | None = None) -> None:
        self.split_lists = split_lists  # the folder of the three lists; None: they are looked for in the data folder

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read lists and audio under `data_dir`.

        Raises:
            NotThereError: if nothing of the data set is there.
            DataError: if a list or the audio folder is missing, or a split has no usable track.
        """
        data_dir = data_folder(data_dir)
        return _read(data_dir, GENRES, _genre_of, split_lists=self.split_lists, annotations_only=annotations_only)

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy: the fraction of clips whose genre is found."""
        return class_scores(predictions)


class GtzanRhythm:
    """Beat times of a 30 s clip."""

    name = "gtzan_rhythm"
    dataset = "GTZAN-Rhythm"
    kind: TaskKind = "beats"
    metrics = ("f1_20ms", "f1_70ms", "f1_20ms_per_track", "f1_70ms_per_track")
    pooling: Pooling = "outputs"

    def __init__(self, decoder: BeatDecoder = "dbn", *, split_lists: Path | None = None) -> None:
        self.decoder = decoder
        self.split_lists = split_lists  # as for genres

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read lists, beats and audio under `data_dir`; beats after the end of the audio are dropped.

        Raises:
            NotThereError: if the beats are not there, which are a release of their own.
            DataError: if a list or the audio folder is missing, or a split has no usable track.
        """
        data_dir = data_folder(data_dir)
        beats_of = BeatFiles(data_dir)
        return _read(
            data_dir, ("beat",), beats_of.within, split_lists=self.split_lists, annotations_only=annotations_only
        )

    def decode(self, predictions: Predictions) -> list[np.ndarray]:
        """Beat times in seconds of every example."""
        if self.decoder == "dbn":
            return decode_beats_of_many(predictions.outputs, predictions.frame_rate)
        return [decode_beats_by_peaks(curve, predictions.frame_rate) for curve in predictions.outputs]

    def score(self, predictions: Predictions) -> dict[str, float]:
        """F1 within 20 and 70 ms of the annotated times, pooled over tracks and as the mean over tracks."""
        estimates = self.decode(predictions)
        references = [np.asarray(example.target, np.float64) for example in predictions.examples]
        scores: dict[str, float] = {}
        for label, tolerance_s in TOLERANCES_S.items():
            found = beat_f1(references, estimates, tolerance_s)
            scores |= {f"f1_{label}": found.pooled, f"f1_{label}_per_track": found.per_track}
        return {name: scores[name] for name in self.metrics}


def _genre_of(item: Item, duration_s: float) -> int:  # noqa: ARG001  (an `Answer`)
    return GENRES.index(item.id.split(".", maxsplit=1)[0])


def _read(
    data_dir: Path, classes: tuple[str, ...], answer: Answer, *, split_lists: Path | None, annotations_only: bool
) -> TaskData:
    """Examples of the tracks in the lists; what `answer` gives is their target."""
    items = [_item(line, split) for split in SPLITS for line in _track_list(data_dir, split, split_lists)]
    listing = Listing(
        dataset="GTZAN",
        items=items,
        folders=[data_dir if annotations_only else _audio_dir(data_dir)],
        classes=classes,
        official=OFFICIAL_COUNTS,
        answer=answer,
    )
    return read_items(listing, data_dir, annotations_only=annotations_only)


def _item(line: str, split: Split) -> Item:
    """The track of a line of a list, such as `blues/blues.00029.wav`."""
    if not _TRACK_LINE.fullmatch(line):
        return Item(id=line, split=split, names=[line], fault="bad_row")
    path = Path(line)
    return Item(id=path.stem, split=split, names=[str(path.with_suffix(suffix)) for suffix in SUFFIXES])


def _track_list(data_dir: Path, split: Split, split_lists: Path | None) -> list[str]:
    name, what = f"{split}_filtered.txt", f"GTZAN fault-filtered {split} list"
    if split_lists is None:
        path = find_one(data_dir, name, what=what, remedy=LISTS_REMEDY, signs=(*_SIGNS, *_BEATS_SIGNS))
    else:
        try:
            path = find_one(split_lists, name, what=what, remedy=LISTS_REMEDY)
        except NotThereError as error:  # in the folder that was named for it
            raise DataError(str(error)) from error
    return list(dict.fromkeys(line.strip() for line in read_lines(path)))


def _audio_dir(data_dir: Path) -> Path:
    """The folder that holds one folder a genre."""
    named = find_all(data_dir, *AUDIO_FOLDERS)
    with access_to(data_dir):
        found = [path for path in named if any((path / genre).is_dir() for genre in GENRES)]
        found += [path.parent for path in find_all(data_dir, *GENRES) if path.is_dir()]
    if not found:
        # Lists that lie elsewhere do not make a data set.
        raise (DataError if find_all(data_dir, *_SIGNS, *_BEATS_SIGNS) else NotThereError)(
            f"no GTZAN audio under {data_dir}; expected genres/<genre>/<genre>.00000.wav or "
            f"genres_original/<genre>/<genre>.00000.wav there or a folder or two below; "
            f"give --data the data set's folder or its parent"
        )
    return found[0]


class BeatFiles:
    """The beat annotations of GTZAN, in either release.

    Raises:
        NotThereError: if neither release is under `data_dir`.
        EnvironmentFaultError: if the system does not give what is.
    """

    def __init__(self, data_dir: Path) -> None:
        found = find_all(data_dir, "beats", "jams")
        beats_dirs = [path for path in found if path.name == "beats" and paths_like(path, "gtzan_*.beats")]
        jams_dirs = [path for path in found if path.name == "jams" and _holds_genres(path)]
        if not beats_dirs and not jams_dirs:
            raise NotThereError(
                f"no GTZAN beat annotations under {data_dir}; expected beats/gtzan_<genre>_00000.beats or "
                f"jams/<genre>.00000.wav.jams there or a folder or two below; give --data the data set's folder "
                f"or its parent"
            )
        self._beats, self._jams = NamedFiles(beats_dirs), NamedFiles(jams_dirs)

    def within(self, item: Item, duration_s: float) -> list[float] | None:
        """The beats of a track up to `duration_s`, ascending; None if it has none."""
        genre, number = item.id.split(".")
        path = self._beats.first([f"gtzan_{genre}_{number}.beats"])
        jams_path = self._jams.first([f"{item.id}{suffix}.jams" for suffix in (*SUFFIXES, "")])
        try:
            times = read_beats(path) if path else read_jams_beats(jams_path) if jams_path else []
        except (ValueError, KeyError, TypeError, AttributeError):  # not in either format: as good as no annotation
            return None
        return sorted(time for time in times if time <= duration_s) or None


def _holds_genres(folder: Path) -> bool:
    """Whether a folder of JAMS files is GTZAN's: GiantSteps has one of that name too."""
    return any(_JAMS_NAME.match(path.name) for path in paths_like(folder, "*.jams"))


def read_beats(path: Path) -> list[float]:
    """Beat times in seconds of a `.beats` file: the first column of every line.

    Raises:
        ValueError: if a line does not begin with a number.
        EnvironmentFaultError: if the system does not give it.
    """
    return [float(line.split()[0]) for line in read_lines(path)]


def read_jams_beats(path: Path) -> list[float]:
    """Beat times in seconds of a JAMS file: its first `beat` annotation that is not of downbeats.

    `data` may be a list of objects or an object of lists. No times if there is no such annotation.

    Raises:
        ValueError: if the file is not JSON.
        EnvironmentFaultError: if the system does not give it.
    """
    for annotation in json.loads(read_text(path))["annotations"]:
        what = (annotation.get("sandbox") or {}).get("annotation_type", "beat")
        if annotation.get("namespace", "").startswith("beat") and what == "beat":
            data = annotation["data"]
            times = data["time"] if isinstance(data, dict) else [entry["time"] for entry in data]
            return [float(time) for time in times]
    return []
