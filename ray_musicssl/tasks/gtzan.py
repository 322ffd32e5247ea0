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
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import (
    SPLITS,
    Example,
    Pooling,
    Predictions,
    SkipList,
    Split,
    TaskData,
    TaskKind,
    count_notes,
)
from ray_musicssl.tasks.beats import decode_beats_by_peaks, decode_beats_of_many
from ray_musicssl.tasks.locate import check_audio, find_all, find_one, first_existing, need_every_split
from ray_musicssl.tasks.metrics import accuracy, beat_f1

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
OFFICIAL_COUNTS: dict[Split, int] = {"train": 443, "valid": 197, "test": 290}
AUDIO_FOLDERS = ("genres", "genres_original", "Data/genres_original", "Data/genres")
SUFFIXES = (".wav", ".au")
# Source: Ma et al. 2023, 3.2 says 20 ms; mir_eval's default is 70 ms. Both are reported.
TOLERANCES_S = {"20ms": 0.020, "70ms": 0.070}

Answer = Callable[[str, float], Any]
"""(track, duration in seconds or infinity) -> the target, or None if there is none."""


class GtzanGenre:
    """Genre of a 30 s clip, ten classes."""

    name = "gtzan_genre"
    dataset = "GTZAN"
    kind: TaskKind = "multiclass"
    metrics = ("accuracy",)
    pooling: Pooling = "outputs"

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read lists and audio under `data_dir`.

        Raises:
            DataError: if a list or the audio folder is missing, or a split has no usable track.
        """
        data_dir = Path(data_dir)
        return _read(data_dir, GENRES, _genre_of, annotations_only=annotations_only)

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy: the fraction of clips whose genre is found."""
        answers = np.array([example.target for example in predictions.examples])
        guesses = np.stack(predictions.outputs).argmax(axis=1)
        return {"accuracy": accuracy(answers, guesses)}


class GtzanRhythm:
    """Beat times of a 30 s clip."""

    name = "gtzan_rhythm"
    dataset = "GTZAN-Rhythm"
    kind: TaskKind = "beats"
    metrics = ("f1_20ms", "f1_70ms", "f1_20ms_per_track", "f1_70ms_per_track")
    pooling: Pooling = "outputs"

    def __init__(self, decoder: Literal["dbn", "peaks"] = "dbn") -> None:
        self.decoder = decoder

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read lists, beats and audio under `data_dir`; beats after the end of the audio are dropped.

        Raises:
            DataError: if a list, the beats or the audio folder is missing, or a split has no usable track.
        """
        data_dir = Path(data_dir)
        beats_of = BeatFiles(data_dir)
        return _read(data_dir, ("beat",), beats_of.within, annotations_only=annotations_only)

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


def _genre_of(track: str, duration_s: float) -> int:  # noqa: ARG001  (an `Answer`)
    return GENRES.index(track.split(".", maxsplit=1)[0])


def _read(data_dir: Path, classes: tuple[str, ...], answer: Answer, *, annotations_only: bool) -> TaskData:
    """Examples of the tracks in the lists; what `answer` gives is their target."""
    lists = {split: _track_list(data_dir, split) for split in SPLITS}
    folders = [] if annotations_only else [_audio_dir(data_dir)]
    examples: list[Example] = []
    skipped = SkipList()
    for split in SPLITS:
        for line in lists[split]:
            track = Path(line).stem
            if line.split("/")[0] not in GENRES or track.split(".")[0] != line.split("/")[0]:
                skipped.add(id=track, split=split, path=data_dir / line, reason="bad_row")
                continue
            path = first_existing(folders, [str(Path(line).with_suffix(suffix)) for suffix in SUFFIXES])
            check = check_audio(path)
            path = path or (folders[0] if folders else data_dir) / line
            if not annotations_only and check.fault:
                skipped.add(id=track, split=split, path=path, reason=check.fault)
                continue
            duration_s = None if annotations_only else check.duration_s
            target = answer(track, float("inf") if duration_s is None else duration_s)
            if target is None:
                skipped.add(id=track, split=split, path=path, reason="no_label")
                continue
            example = Example(id=track, track=track, path=path, split=split, target=target, duration_s=duration_s)
            examples.append(example)
    expected: dict[Split, int] = {split: len(lists[split]) for split in SPLITS}
    data = TaskData(
        examples=sorted(examples, key=lambda example: example.id),
        skipped=skipped.items,
        expected=expected,
        classes=classes,
        notes=count_notes("GTZAN", expected, OFFICIAL_COUNTS),
    )
    need_every_split("GTZAN", data_dir, data)
    return data


def _track_list(data_dir: Path, split: Split) -> list[str]:
    path = find_one(data_dir, f"{split}_filtered.txt", what=f"GTZAN fault-filtered {split} list")
    return list(dict.fromkeys(line.strip() for line in path.read_text().splitlines() if line.strip()))


def _audio_dir(data_dir: Path) -> Path:
    """The folder that holds one folder a genre."""
    named = find_all(data_dir, *AUDIO_FOLDERS)
    found = [path for path in named if any((path / genre).is_dir() for genre in GENRES)]
    found += [path.parent for path in find_all(data_dir, *GENRES) if path.is_dir()]
    if not found:
        raise DataError(
            f"no GTZAN audio under {data_dir}; expected genres/<genre>/<genre>.00000.wav or "
            f"genres_original/<genre>/<genre>.00000.wav there or a folder or two below; "
            f"give --data the data set's folder or its parent"
        )
    return found[0]


class BeatFiles:
    """The beat annotations of GTZAN, in either release.

    Raises:
        DataError: if neither release is under `data_dir`.
    """

    def __init__(self, data_dir: Path) -> None:
        found = find_all(data_dir, "beats", "jams")
        self._beats_dirs = [path for path in found if path.name == "beats" and any(path.glob("gtzan_*.beats"))]
        self._jams_dirs = [path for path in found if path.name == "jams" and any(path.glob("*.jams"))]
        if not self._beats_dirs and not self._jams_dirs:
            raise DataError(
                f"no GTZAN beat annotations under {data_dir}; expected beats/gtzan_<genre>_00000.beats or "
                f"jams/<genre>.00000.wav.jams there or a folder or two below; give --data the data set's folder "
                f"or its parent"
            )

    def within(self, track: str, duration_s: float) -> list[float] | None:
        """The beats of `track` up to `duration_s`, ascending; None if it has none."""
        genre, number = track.split(".")
        path = first_existing(self._beats_dirs, [f"gtzan_{genre}_{number}.beats"])
        jams_path = first_existing(self._jams_dirs, [f"{track}{suffix}.jams" for suffix in (*SUFFIXES, "")])
        try:
            times = read_beats(path) if path else read_jams_beats(jams_path) if jams_path else []
        except (ValueError, KeyError, TypeError, AttributeError):  # not in either format: as good as no annotation
            return None
        return sorted(time for time in times if time <= duration_s) or None


def read_beats(path: Path) -> list[float]:
    """Beat times in seconds of a `.beats` file: the first column of every line.

    Raises:
        ValueError: if a line does not begin with a number.
    """
    return [float(line.split()[0]) for line in path.read_text().splitlines() if line.strip()]


def read_jams_beats(path: Path) -> list[float]:
    """Beat times in seconds of a JAMS file: its first `beat` annotation that is not of downbeats.

    `data` may be a list of objects or an object of lists. No times if there is no such annotation.

    Raises:
        ValueError: if the file is not JSON.
    """
    for annotation in json.loads(path.read_text())["annotations"]:
        what = (annotation.get("sandbox") or {}).get("annotation_type", "beat")
        if annotation.get("namespace", "").startswith("beat") and what == "beat":
            data = annotation["data"]
            times = data["time"] if isinstance(data, dict) else [entry["time"] for entry in data]
            return [float(time) for time in times]
    return []
