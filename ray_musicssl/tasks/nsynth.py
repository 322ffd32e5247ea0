"""NSynth: the pitch and the instrument of a single note.

Conventions:
    A note is named `<family>_<source>_<nnn>-<pitch>-<velocity>`; its pitch class is the MIDI pitch, 0..127, its
    instrument class the family, in the official order.
    Folders: `nsynth-train/`, `nsynth-valid/`, `nsynth-test/`, each with `examples.json` and `audio/<note>.wav`. Without
    `examples.json` the labels are read off the file names.
    Instruments of train are in neither other split; valid and test share theirs.

Source: Engel et al. 2017; the official split has 289,205 / 12,678 / 4,096 notes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import SPLITS, Pooling, Predictions, Split, TaskData, TaskKind
from ray_musicssl.tasks.files import access_to, paths_like
from ray_musicssl.tasks.leakage import Apart
from ray_musicssl.tasks.locate import data_folder, find_one
from ray_musicssl.tasks.reading import Item, Listing, read_items
from ray_musicssl.tasks.scores import class_scores

NUM_PITCHES = 128
FAMILIES = (
    *("bass", "brass", "flute", "guitar", "keyboard", "mallet"),
    *("organ", "reed", "string", "synth_lead", "vocal"),
)
OFFICIAL_COUNTS: dict[Split, int] = {"train": 289_205, "valid": 12_678, "test": 4_096}
_SIGNS = tuple(f"nsynth-{split}" for split in SPLITS)


class _Labels(NamedTuple):
    """What the index, or the name, says of a note; unchecked."""

    pitch: Any
    family: Any  # index into `FAMILIES`


class NsynthPitch:
    """MIDI pitch of a note, 128 classes."""

    name = "nsynth_pitch"
    dataset = "NSynth"
    kind: TaskKind = "multiclass"
    metrics = ("accuracy",)
    pooling: Pooling = "outputs"

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read the three folders under `data_dir`.

        Raises:
            NotThereError: if none of the folders is there.
            DataError: if a folder is missing, its index is damaged, a split has no usable note, or an instrument of
                train is in another split.
        """
        classes = [str(pitch) for pitch in range(NUM_PITCHES)]
        return _read(data_folder(data_dir), classes, lambda labels: labels.pitch, annotations_only=annotations_only)

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy: the fraction of notes whose pitch is found exactly."""
        return class_scores(predictions)


class NsynthInstrument:
    """Instrument family of a note, 11 classes."""

    name = "nsynth_instrument"
    dataset = "NSynth"
    kind: TaskKind = "multiclass"
    metrics = ("accuracy",)
    pooling: Pooling = "outputs"

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Read the three folders under `data_dir`.

        Raises:
            NotThereError: if none of the folders is there.
            DataError: if a folder is missing, its index is damaged, a split has no usable note, or an instrument of
                train is in another split.
        """
        return _read(data_folder(data_dir), FAMILIES, lambda labels: labels.family, annotations_only=annotations_only)

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy: the fraction of notes whose family is found."""
        return class_scores(predictions)


def _read(
    data_dir: Path, classes: tuple[str, ...] | list[str], label: Callable[[_Labels], Any], *, annotations_only: bool
) -> TaskData:
    """Notes with one of their labels as the target."""
    items: list[Item] = []
    for split in SPLITS:
        folder = find_one(data_dir, f"nsynth-{split}", what=f"NSynth {split} folder", signs=_SIGNS)
        for note, labels in _notes(folder).items():
            target = label(labels)
            is_class = isinstance(target, int) and 0 <= target < len(classes)
            items.append(
                Item(
                    id=note,
                    split=split,
                    names=[str(folder / "audio" / f"{note}.wav")],
                    target=target,
                    fault=None if is_class else "bad_row",
                    group=_instrument_in(note),
                )
            )
    listing = Listing(
        dataset="NSynth",
        items=items,
        folders=[data_dir],
        classes=classes,
        official=OFFICIAL_COUNTS,
        apart=Apart(noun="instrument", pairs=[("train", "valid"), ("train", "test")]),
    )
    return read_items(listing, data_dir, annotations_only=annotations_only)


def _notes(folder: Path) -> dict[str, _Labels]:
    """Note name -> labels, None where one cannot be read.

    Raises:
        DataError: if the index is no object of notes.
        EnvironmentFaultError: if the system does not give it.
    """
    index_path = folder / "examples.json"
    with access_to(index_path):
        has_index = index_path.is_file()
    if not has_index:
        return {path.stem: _labels_in(path.stem) for path in paths_like(folder / "audio", "*.wav")}
    try:
        # The index of train has 289,205 objects in 200 MB: each is reduced to its labels as soon as it is read.
        with access_to(index_path), index_path.open(encoding="utf-8-sig") as file:
            notes = json.load(file, object_hook=lambda entry: _labels_of(entry) if "note_str" in entry else entry)
    except (ValueError, KeyError) as error:
        raise DataError(f"{index_path} is not NSynth's index ({error!r}); unpack the archive again") from error
    if not isinstance(notes, dict):
        raise DataError(f"{index_path} is not NSynth's index (no object of notes); unpack the archive again")
    for note, labels in notes.items():
        if not isinstance(labels, _Labels):
            raise DataError(
                f"{index_path} is not NSynth's index ({note!r} is no object with a note_str); unpack the archive again"
            )
    return notes


def _labels_of(entry: dict[str, Any]) -> _Labels:
    return _Labels(
        pitch=entry["pitch"], family=entry.get("instrument_family", _labels_in(str(entry["note_str"])).family)
    )


def _labels_in(note: str) -> _Labels:
    parts = note.rsplit("-", 2)
    pitch = int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else None
    family = _instrument_in(note).rsplit("_", 2)[0]
    return _Labels(pitch=pitch, family=FAMILIES.index(family) if family in FAMILIES else None)


def _instrument_in(note: str) -> str:
    """The instrument that plays a note, such as `bass_synthetic_033`; empty if the name has another form."""
    parts = note.rsplit("-", 2)
    return parts[0] if len(parts) == 3 else ""
