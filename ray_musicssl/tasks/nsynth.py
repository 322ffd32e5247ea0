"""NSynth: the pitch of a single note.

Conventions:
    A note is named `<family>_<source>_<nnn>-<pitch>-<velocity>`; the class is its MIDI pitch, 0..127.
    Folders: `nsynth-train/`, `nsynth-valid/`, `nsynth-test/`, each with `examples.json` and `audio/<note>.wav`. Without
    `examples.json` the labels are read off the file names.

Source: Engel et al. 2017; the official split has 289,205 / 12,678 / 4,096 notes.
"""

import json
from pathlib import Path
from typing import Any

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
from ray_musicssl.tasks.locate import check_audio, find_one, need_every_split
from ray_musicssl.tasks.metrics import accuracy

NUM_PITCHES = 128
OFFICIAL_COUNTS: dict[Split, int] = {"train": 289_205, "valid": 12_678, "test": 4_096}


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
            DataError: if a folder is missing, its index is damaged, or a split has no usable note.
        """
        data_dir = Path(data_dir)
        examples: list[Example] = []
        skipped = SkipList()
        expected: dict[Split, int] = {}
        for split in SPLITS:
            folder = find_one(data_dir, f"nsynth-{split}", what=f"NSynth {split} folder")
            pitches = _pitches(folder)
            expected[split] = len(pitches)
            for note, pitch in pitches.items():
                path = folder / "audio" / f"{note}.wav"
                labelled = isinstance(pitch, int) and 0 <= pitch < NUM_PITCHES
                check = check_audio(None if annotations_only else path)
                fault = "bad_row" if not labelled else None if annotations_only else check.fault
                if fault:
                    skipped.add(id=note, split=split, path=path, reason=fault)
                    continue
                duration_s = None if annotations_only else check.duration_s
                example = Example(id=note, track=note, path=path, split=split, target=pitch, duration_s=duration_s)
                examples.append(example)
        data = TaskData(
            examples=sorted(examples, key=lambda example: example.id),
            skipped=skipped.items,
            expected=expected,
            classes=[str(pitch) for pitch in range(NUM_PITCHES)],
            notes=count_notes("NSynth", expected, OFFICIAL_COUNTS),
        )
        need_every_split("NSynth", data_dir, data)
        return data

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Accuracy: the fraction of notes whose pitch is found exactly."""
        answers = np.array([example.target for example in predictions.examples])
        guesses = np.stack(predictions.outputs).argmax(axis=1)
        return {"accuracy": accuracy(answers, guesses)}


def _pitches(folder: Path) -> dict[str, Any]:
    """Note name -> pitch, None where the label cannot be read."""
    index_path = folder / "examples.json"
    if not index_path.is_file():
        return {path.stem: _pitch_in(path.stem) for path in sorted((folder / "audio").glob("*.wav"))}
    try:
        # The index of train has 289,205 objects in 200 MB: each is reduced to its pitch as soon as it is read.
        with index_path.open(encoding="utf-8") as file:
            return json.load(file, object_hook=lambda entry: entry["pitch"] if "note_str" in entry else entry)
    except (ValueError, KeyError) as error:
        raise DataError(f"{index_path} is not NSynth's index ({error!r}); unpack the archive again") from error


def _pitch_in(note: str) -> int | None:
    parts = note.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else None
