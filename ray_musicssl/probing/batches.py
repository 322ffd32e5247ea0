"""Training batches of a probe: pooled clips in a random order, or the frames of random crops."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.probing.rows import ProbeSplit
from ray_musicssl.tasks.base import TaskKind
from ray_musicssl.tasks.beats import beat_labels


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one optimiser step and their answers."""

    rows: Float[Tensor, "rows layers dim"]
    targets: Tensor  # [rows] class indices, or [rows, outputs]


class Clips:
    """Batches of pooled clips."""

    def __init__(self, features: Tensor, targets: Tensor, batch_size: int) -> None:
        self._features, self._targets, self._batch_size = features, targets, batch_size

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Every clip once, in a random order."""
        order = torch.randperm(len(self._features), generator=generator)
        for chosen in order.split(self._batch_size):
            yield Batch(rows=self._features[chosen], targets=self._targets[chosen])


class Crops:
    """Batches of the frames of random crops."""

    def __init__(self, clips: Sequence[Tensor], labels: Sequence[Tensor], crop_frames: int, batch_size: int) -> None:
        self._clips, self._labels = clips, labels
        self._crop_frames, self._batch_size = crop_frames, batch_size

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """One crop of every clip, in a random order; a clip that is no longer than a crop is taken whole."""
        order = torch.randperm(len(self._clips), generator=generator).tolist()
        for begin in range(0, len(order), self._batch_size):
            rows, labels = [], []
            for index in order[begin : begin + self._batch_size]:
                room = self._clips[index].shape[1] - self._crop_frames
                start = int(torch.randint(room + 1, (), generator=generator)) if room > 0 else 0
                stop = start + self._crop_frames
                rows.append(self._clips[index][:, start:stop].transpose(0, 1))  # [frames, layers, dim]
                labels.append(self._labels[index][start:stop])
            yield Batch(rows=torch.cat(rows), targets=torch.cat(labels)[:, None])


def training_set(kind: TaskKind, split: ProbeSplit, config: ProbeConfig, frame_rate: float) -> Clips | Crops:
    """The batches of a training split; `frame_rate` is that of frames, in Hz."""
    answers = [example.target for example in split.examples]
    if isinstance(split.features, Tensor):
        targets = torch.tensor(answers, dtype=torch.int64 if kind == "multiclass" else torch.float32)
        return Clips(split.features, targets, config.batch_size)
    clips = zip(answers, split.features, strict=True)
    labels = [torch.from_numpy(beat_labels(a, clip.shape[1], frame_rate, widen=True)) for a, clip in clips]
    return Crops(split.features, labels, round(config.crop_s * frame_rate), config.beat_batch_size)
