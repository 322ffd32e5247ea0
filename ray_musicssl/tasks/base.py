"""What every downstream task gives: examples with answers and splits, and a score.

Conventions:
    An example is one stretch of one file; examples with the same `track` are one song, scored together.
    Splits are `train`, `valid`, `test`. Scores lie in [0, 1] (R2 and key scores included) and are shown times 100.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from ray_musicssl.config.probe import EnsembleRule
from ray_musicssl.registry import Registry

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
TaskKind = Literal["multiclass", "multilabel", "regression", "beats"]
Reason = Literal["missing", "empty", "undecodable", "too_short", "no_label", "bad_row"]
"""Why an item cannot be used."""
Pooling = Literal["embeddings", "outputs"]
"""What is averaged over the windows of a track: their features, before the probe; or the probe's outputs, by `score`."""

# In the order of the paper's Table 1.
TASKS = Registry(
    "task",
    {
        "magnatagatune": "ray_musicssl.tasks.magnatagatune:MagnaTagATune",
        "giantsteps_key": "ray_musicssl.tasks.giantsteps:GiantStepsKey",
        "gtzan_genre": "ray_musicssl.tasks.gtzan:GtzanGenre",
        "emomusic": "ray_musicssl.tasks.emomusic:EmoMusic",
        "nsynth_instrument": "ray_musicssl.tasks.nsynth:NsynthInstrument",
        "nsynth_pitch": "ray_musicssl.tasks.nsynth:NsynthPitch",
        "vocalset_technique": "ray_musicssl.tasks.vocalset:VocalSetTechnique",
        "vocalset_singer": "ray_musicssl.tasks.vocalset:VocalSetSinger",
        "gtzan_rhythm": "ray_musicssl.tasks.gtzan:GtzanRhythm",
        "mtg_instrument": "ray_musicssl.tasks.jamendo:MtgInstrument",
        "mtg_moodtheme": "ray_musicssl.tasks.jamendo:MtgMoodTheme",
        "mtg_genre": "ray_musicssl.tasks.jamendo:MtgGenre",
        "mtg_top50": "ray_musicssl.tasks.jamendo:MtgTop50",
    },
)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One stretch of audio and its answer."""

    id: str  # unique in the task
    track: str  # the song it belongs to
    path: Path
    split: Split
    target: Any  # class index | multi-hot list | list of numbers | beat times in seconds, by the task's kind
    offset_s: float = 0.0
    duration_s: float | None = None  # None: to the end of the file
    # What no two splits may share beside track and audio: artist, singer, instrument; empty: nothing. Several are
    # joined by `leakage.GROUP_SEPARATOR`.
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An item that cannot be used."""

    id: str
    split: str
    path: str
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """What a reader found under a data folder."""

    examples: Sequence[Example]  # sorted by id
    skipped: Sequence[Skipped]
    expected: Mapping[Split, int]  # tracks (or notes) that the annotations promise, by split
    classes: Sequence[str]  # what each output stands for; the probe's last layer is this wide
    notes: Sequence[str] = ()  # what a reader of the scores should know of this copy of the data set
    official: Mapping[Split, int] | None = None  # as `expected`, of the published data set; None: not published
    is_part: bool = False  # of the published data set, or another one: its scores do not compare with published ones

    def split(self, split: Split) -> list[Example]:
        """The examples of one split, in order."""
        return [example for example in self.examples if example.split == split]

    def used(self) -> dict[Split, int]:
        """How many tracks (or notes) of each split are usable."""
        return {split: len({example.track for example in self.split(split)}) for split in SPLITS}

    def reasons(self) -> dict[str, int]:
        """How many items are left out, by reason."""
        return dict(Counter(item.reason for item in self.skipped))


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a probe says about the examples of one split, in their order."""

    examples: Sequence[Example]
    outputs: Sequence[Float32[np.ndarray, "..."]]  # logits [classes], values [numbers], or beat activations [frames]
    frame_rate: float = 50.0  # of beat activations


@runtime_checkable
class Task(Protocol):
    """A downstream task."""

    name: str
    dataset: str
    kind: TaskKind
    metrics: tuple[str, ...]  # the first one is the headline and the validation monitor
    pooling: Pooling

    def read(self, data_dir: Path, *, annotations_only: bool = False) -> TaskData:
        """Find the data set at `data_dir` or a level or two below.

        Args:
            data_dir: the data set's folder or its parent.
            annotations_only: do not look at the audio; examples then say what the annotations promise.

        Raises:
            NotThereError: if nothing of it is there; the message says what was expected where.
            DataError: if it is damaged or a part of it is missing, or a split has nothing usable.
            EnvironmentFaultError: if the system does not give a file that is there, which may pass.
        """
        ...

    def score(self, predictions: Predictions) -> dict[str, float]:
        """Every metric of `metrics` for one split."""
        ...


@runtime_checkable
class EnsembleTask(Protocol):
    """A task with several ways to bring the clips of a track together, a choice that may be left to the validation split."""

    @property
    def rule(self) -> EnsembleRule:
        """How they are brought together now."""
        ...

    def settled(self, valid: Predictions) -> Task:
        """The task as it is scored in the end, chosen by what a fitted probe says about the validation split."""
        ...


def count_notes(dataset: str, expected: Mapping[Split, int], official: Mapping[Split, int]) -> list[str]:
    """A note if the lists of this copy are not as long as the official ones."""
    if all(expected[split] == official[split] for split in SPLITS):
        return []
    here, there = (", ".join(f"{split} {counts[split]}" for split in SPLITS) for counts in (expected, official))
    return [f"this copy of {dataset} lists {here}; the official one {there}: scores do not compare with published ones"]
