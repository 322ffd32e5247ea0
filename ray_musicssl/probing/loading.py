"""From chunks of features on disk to the splits that a probe is fitted on.

Conventions:
    Examples whose audio turned out to be unusable have no features and are left out.
    Averaged windows of a track are one example: its id is the track's, its audio the first window's file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Float32
from torch import Tensor

from ray_musicssl.errors import DataError
from ray_musicssl.probing.features import FeatureChunk, load_chunk
from ray_musicssl.probing.rows import Features, ProbeSplit
from ray_musicssl.tasks.base import SPLITS, Example, Split, TaskData, TaskKind


@dataclass(frozen=True, kw_only=True)
class LoadedData:
    """What a task's probe is fitted on."""

    splits: Mapping[Split, ProbeSplit]
    used: Mapping[Split, int]  # tracks whose features there are
    failed: Mapping[str, str]  # example -> why its audio could not be used after all

    def layer(self, number: int) -> dict[Split, ProbeSplit]:
        """The splits with the features of one layer alone."""
        return {name: split.layer(number) for name, split in self.splits.items()}


def load_splits(
    data: TaskData, chunk_paths: Sequence[Path], kind: TaskKind, *, averages_windows: bool = False
) -> LoadedData:
    """Read the features of a task's examples.

    Args:
        data: the examples.
        chunk_paths: files that hold their features.
        kind: the features of beats are frames, of all else pooled.
        averages_windows: average the features of a track's windows into one example.

    Raises:
        DataError: if a chunk is damaged, or windows that are to be one example have different answers.
    """
    failed: dict[str, str] = {}
    if averages_windows:
        data, features = _averaged(data, _chunks(chunk_paths, failed))
    else:
        features = {name: tensor for chunk in _chunks(chunk_paths, failed) for name, tensor in chunk.features.items()}
    data = replace(data, examples=[example for example in data.examples if example.id in features])
    used = data.used()
    splits: dict[Split, ProbeSplit] = {}
    for split in SPLITS:
        examples = data.split(split)
        tensors = (features.pop(example.id) for example in examples)
        splits[split] = ProbeSplit(
            examples=examples, features=list(tensors) if kind == "beats" else _stacked(tensors, len(examples))
        )
    return LoadedData(splits=splits, used=used, failed=failed)


def _chunks(paths: Iterable[Path], failed: dict[str, str]) -> Iterable[FeatureChunk]:
    for path in paths:
        chunk = load_chunk(path)
        failed |= chunk.failed
        yield chunk


def _averaged(data: TaskData, chunks: Iterable[FeatureChunk]) -> tuple[TaskData, dict[str, Tensor]]:
    """One example a track and the mean of its windows' features; only the means are held in memory."""
    track_of = {example.id: example.track for example in data.examples}
    sums: dict[str, Float32[Tensor, "layers dim"]] = {}
    counts: dict[str, int] = {}
    for chunk in chunks:
        for name, tensor in chunk.features.items():
            track = track_of[name]
            sums[track] = tensor.float() if track not in sums else sums[track].add_(tensor)
            counts[track] = counts.get(track, 0) + 1
    means = {track: total / counts[track] for track, total in sums.items()}
    return replace(data, examples=_tracks(data.examples)), means


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


def _stacked(tensors: Iterable[Tensor], count: int) -> Features:
    """One tensor of `count` equal ones, which are let go of as they are copied: there may be gigabytes of them."""
    stack: Tensor | None = None
    for index, tensor in enumerate(tensors):
        if stack is None:
            stack = tensor.new_empty(count, *tensor.shape)
        stack[index] = tensor
    return [] if stack is None else stack
