"""From features on disk to the splits that a probe is fitted on.

Conventions:
    Examples whose audio turned out to be unusable have no features and are left out.
    Averaged windows of a track are one example: its id is the track's, its audio the first window's file.
    Beside what the splits hold in the end, one example's features at a time are in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ray_musicssl.errors import DataError
from ray_musicssl.probing.rows import ProbeSplit
from ray_musicssl.probing.store import Places, read_places
from ray_musicssl.tasks.base import SPLITS, Example, Split, TaskData, TaskKind


@dataclass(frozen=True, kw_only=True)
class LoadedData:
    """What a task's probe is fitted on."""

    splits: Mapping[Split, ProbeSplit]
    used: Mapping[Split, int]  # tracks whose features there are
    failed: Mapping[str, str]  # example -> why its audio could not be used after all

    def layers(self, part: slice) -> dict[Split, ProbeSplit]:
        """The splits with the features of some layers alone."""
        return {name: split.layers(part) for name, split in self.splits.items()}


def load_splits(data: TaskData, places: Places, kind: TaskKind, *, averages_windows: bool = False) -> LoadedData:
    """Read the features of a task's examples.

    Args:
        data: the examples.
        places: where the features of each example are.
        kind: the features of beats are frames, of all else pooled.
        averages_windows: average the features of a track's windows into one example.

    Raises:
        DataError: if a file is missing or damaged, or windows that are to be one example have different answers.
    """
    examples = data.examples
    if averages_windows:
        data = replace(data, examples=_tracks(examples))
    rows: dict[Split, _Frames | _Rows] = {
        split: _new_rows(data.split(split), kind, averages=averages_windows) for split in SPLITS
    }
    for example, tensor in zip(examples, read_places(places), strict=True):
        if tensor is not None:
            rows[example.split].add(example.track if averages_windows else example.id, tensor)
    failed = {examples[number].id: fault for number, fault in places.faults.items()}
    splits: dict[Split, ProbeSplit] = {}
    for split in SPLITS:
        splits[split] = rows[split].as_split()
    used = replace(data, examples=[example for split in splits.values() for example in split.examples]).used()
    return LoadedData(splits=splits, used=used, failed=failed)


def _new_rows(examples: Sequence[Example], kind: TaskKind, *, averages: bool) -> "_Frames | _Rows":
    return _Frames(examples) if kind == "beats" else _Rows(examples, averages=averages)


class _Frames:
    """The frames of a split's clips."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        self._clips: dict[str, Tensor] = {}

    def add(self, name: str, tensor: Float[Tensor, "layers frames dim"]) -> None:
        """Take a clip."""
        self._clips[name] = tensor

    def as_split(self) -> ProbeSplit:
        """The examples that have frames, and these."""
        examples = [example for example in self._examples if example.id in self._clips]
        return ProbeSplit(examples=examples, features=[self._clips[example.id] for example in examples])


class _Rows:
    """One tensor with a row for each of a split's examples, filled one by one: there may be gigabytes of them."""

    def __init__(self, examples: Sequence[Example], *, averages: bool) -> None:
        self._examples = examples
        self._row_of = {example.id: row for row, example in enumerate(examples)}
        self._counts = torch.zeros(len(examples))  # of tensors that a row is the sum of
        self._dtype = torch.float32 if averages else None
        self._rows: Tensor | None = None

    def add(self, name: str, tensor: Float[Tensor, "layers dim"]) -> None:
        """Take an example's features; of several the mean counts."""
        if self._rows is None:  # memory is only taken as it is written to
            self._rows = tensor.new_empty(len(self._examples), *tensor.shape, dtype=self._dtype)
        row = self._row_of[name]
        if self._counts[row]:
            self._rows[row].add_(tensor)
        else:
            self._rows[row] = tensor
        self._counts[row] += 1

    def as_split(self) -> ProbeSplit:
        """The examples that have features, and these, without a second copy of them."""
        if self._rows is None:
            return ProbeSplit(examples=[], features=[])
        kept = self._counts.nonzero()[:, 0].tolist()
        for row, place in enumerate(kept):
            if row != place:  # close the gaps of examples without features
                self._rows[row] = self._rows[place]
            if self._counts[place] > 1:
                self._rows[row].div_(self._counts[place])
        examples = [self._examples[place] for place in kept]
        return ProbeSplit(examples=examples, features=self._rows[: len(kept)])


def _tracks(examples: Sequence[Example]) -> list[Example]:
    """One example a track, in the order of their first windows."""
    first: dict[str, Example] = {}
    for example in examples:
        window = first.setdefault(example.track, example)
        if (example.target, example.split) != (window.target, window.split):
            raise DataError(
                f"the windows {window.id} and {example.id} of {example.track} have different answers or splits "
                f"({window.target} in {window.split}, {example.target} in {example.split}) and cannot be averaged into one "
                f"example; probe with pooling=outputs"
            )
    return [replace(window, id=track, offset_s=0.0, duration_s=None) for track, window in first.items()]
