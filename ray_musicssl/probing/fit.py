"""Fitting one probe on features in memory, with one seed.

Conventions:
    Features of a clip task are one tensor `[examples, layers, dim]`; of a beat task a list of `[layers, frames, dim]`.
    Any float type will do; arithmetic is float32, statistics float64.
    A row is one clip or one frame, `[layers, dim]`.
    Everything random comes from the seed: the same seed and features give the same fit on the same number of threads.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import DataError
from ray_musicssl.probing.head import WeightedSumProbe
from ray_musicssl.tasks.base import Example, Predictions, Split, Task, TaskKind
from ray_musicssl.tasks.beats import beat_labels

MICRO_BATCH_ROWS = 512  # frames go through the head this many at a time, so that they stay in the cache
LR_FACTOR = 0.5
# Below this share of the squared mean a spread is rounding, and dividing by it would amplify nothing but that.
CONSTANT_VARIANCE = 1e-12

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ProbeSplit:
    """The examples of one split and what the encoder makes of them, in the same order."""

    examples: Sequence[Example]
    features: Float[Tensor, "examples layers dim"] | list[Float[Tensor, "_ _ _"]]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Mean and inverse spread of every layer and dimension of the training rows."""

    mean: Float32[Tensor, "layers dim"]
    inverse_sd: Float32[Tensor, "layers dim"]

    def standardize(self, rows: Float[Tensor, "rows layers dim"]) -> Float32[Tensor, "rows layers dim"]:
        """Rows with mean 0 and spread 1 on the training set; constant dimensions become 0."""
        return rows.float().sub(self.mean).mul_(self.inverse_sd)


@dataclass(frozen=True, kw_only=True)
class ProbeFit:
    """One fitted probe and how well it does."""

    seed: int
    valid: Mapping[str, float]
    test: Mapping[str, float]
    test_predictions: Predictions
    layer_weights: Float32[np.ndarray, " layers"]
    best_epoch: int  # from 0
    num_epochs: int


def fit_probe(
    task: Task,
    splits: Mapping[Split, ProbeSplit],
    config: ProbeConfig,
    *,
    num_outputs: int,
    seed: int,
    frame_rate: float = 50.0,
) -> ProbeFit:
    """Fit a probe on `train`, choose its epoch on `valid` by the task's first metric, and score it on `test`.

    Args:
        task: gives the loss (by its kind) and the scores.
        splits: train, valid and test.
        config: the recipe.
        num_outputs: width of the last layer.
        seed: of the initial weights, the order, the crops and the dropout.
        frame_rate: of the features, in Hz; matters for beats only.

    Raises:
        DataError: if a split has no example.
    """
    for name, split in splits.items():
        if not len(split.examples):
            raise DataError(f"{task.name} has no {name} example whose features could be extracted; see its `skipped`")
    generator = torch.Generator().manual_seed(seed)
    shape = splits["train"].features[0].shape
    num_layers, dim = shape[0], shape[-1]
    statistics = row_statistics(splits["train"].features) if config.standardize else _no_statistics(num_layers, dim)
    probe = WeightedSumProbe(num_layers, dim, num_outputs, config.hidden_dim, config.dropout, generator=generator)
    optimizer = torch.optim.Adam(probe.parameters(), lr=config.lr)
    train = _training_set(task.kind, splits["train"], config, frame_rate)
    monitor = _Monitor(config)
    best_state = _copy_state(probe)
    max_epochs = config.beat_max_epochs if task.kind == "beats" else config.max_epochs
    epoch = 0
    for epoch in range(max_epochs):
        for batch in train.batches(generator):
            _step(probe, optimizer, batch, statistics, _LOSSES[task.kind])
        score = task.score(predict(task, probe, splits["valid"], statistics, frame_rate))[task.metrics[0]]
        if monitor.is_better(score, epoch):
            best_state = _copy_state(probe)
        if monitor.is_over(epoch):
            break
        for group in optimizer.param_groups:
            group["lr"] = monitor.lr
    probe.load_state_dict(best_state)
    test_predictions = predict(task, probe, splits["test"], statistics, frame_rate)
    return ProbeFit(
        seed=seed,
        valid=task.score(predict(task, probe, splits["valid"], statistics, frame_rate)),
        test=task.score(test_predictions),
        test_predictions=test_predictions,
        layer_weights=probe.layer_weights.detach().numpy().copy(),
        best_epoch=monitor.best_epoch,
        num_epochs=epoch + 1,
    )


def row_statistics(features: Tensor | Sequence[Tensor]) -> Statistics:
    """Statistics of the rows of a split, in float64."""
    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    for rows in _row_blocks(features):
        wide = rows.double()
        count += len(rows)
        total, squares = total + wide.sum(dim=0), squares + wide.square().sum(dim=0)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_(min=0)
    is_constant = variance <= CONSTANT_VARIANCE * (1 + mean.square())
    inverse_sd = torch.where(is_constant, 0.0, variance.rsqrt())
    return Statistics(mean=mean.float(), inverse_sd=inverse_sd.float())


def predict(
    task: Task, probe: WeightedSumProbe, split: ProbeSplit, statistics: Statistics, frame_rate: float = 50.0
) -> Predictions:
    """What the probe says about a split: logits or values, or beat probabilities for a beat task."""
    probe.eval()
    with torch.no_grad():
        outputs = [_outputs(probe, rows, statistics) for rows in _row_blocks(split.features)]
    probe.train()
    if task.kind == "beats":
        curves = [output.sigmoid()[:, 0].numpy() for output in outputs]
        return Predictions(examples=split.examples, outputs=curves, frame_rate=frame_rate)
    return Predictions(examples=split.examples, outputs=list(torch.cat(outputs).numpy()), frame_rate=frame_rate)


def _outputs(probe: WeightedSumProbe, rows: Tensor, statistics: Statistics) -> Tensor:
    return torch.cat([probe(statistics.standardize(part)) for part in rows.split(MICRO_BATCH_ROWS)])


def _row_blocks(features: Tensor | Sequence[Tensor]) -> Iterator[Float[Tensor, "rows layers dim"]]:
    """The rows of a split: a block a clip for frames, a block a few hundred clips otherwise."""
    if isinstance(features, Tensor):
        yield from features.split(MICRO_BATCH_ROWS)
    else:
        for clip in features:
            yield clip.transpose(0, 1)  # [layers, frames, dim] -> [frames, layers, dim]


def _no_statistics(num_layers: int, dim: int) -> Statistics:
    return Statistics(mean=torch.zeros(num_layers, dim), inverse_sd=torch.ones(num_layers, dim))


def _copy_state(probe: WeightedSumProbe) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in probe.state_dict().items()}


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Rows of one optimiser step and their answers."""

    rows: Float[Tensor, "rows layers dim"]
    targets: Tensor  # [rows] class indices, or [rows, outputs]


def _step(
    probe: WeightedSumProbe, optimizer: torch.optim.Optimizer, batch: _Batch, statistics: Statistics, loss_of: Loss
) -> None:
    """One optimiser step on the mean loss of a batch, its gradient added up over parts that fit the cache."""
    optimizer.zero_grad(set_to_none=True)
    parts = zip(batch.rows.split(MICRO_BATCH_ROWS), batch.targets.split(MICRO_BATCH_ROWS), strict=True)
    for rows, targets in parts:
        loss = loss_of(probe(statistics.standardize(rows)), targets)
        (loss / batch.targets.numel()).backward()
    optimizer.step()


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="sum")


def _binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction="sum")


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, targets, reduction="sum")


_LOSSES: dict[TaskKind, Loss] = {
    "multiclass": _cross_entropy,
    "multilabel": _binary_cross_entropy,
    "regression": _squared_error,
    "beats": _binary_cross_entropy,
}


class _Clips:
    """Batches of pooled clips."""

    def __init__(self, features: Tensor, targets: Tensor, batch_size: int) -> None:
        self._features, self._targets, self._batch_size = features, targets, batch_size

    def batches(self, generator: torch.Generator) -> Iterator[_Batch]:
        """Every clip once, in a random order."""
        order = torch.randperm(len(self._features), generator=generator)
        for chosen in order.split(self._batch_size):
            yield _Batch(rows=self._features[chosen], targets=self._targets[chosen])


class _Crops:
    """Batches of the frames of random crops."""

    def __init__(self, clips: Sequence[Tensor], labels: Sequence[Tensor], crop_frames: int, batch_size: int) -> None:
        self._clips, self._labels = clips, labels
        self._crop_frames, self._batch_size = crop_frames, batch_size

    def batches(self, generator: torch.Generator) -> Iterator[_Batch]:
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
            yield _Batch(rows=torch.cat(rows), targets=torch.cat(labels)[:, None])


def _training_set(kind: TaskKind, split: ProbeSplit, config: ProbeConfig, frame_rate: float) -> _Clips | _Crops:
    answers = [example.target for example in split.examples]
    if isinstance(split.features, Tensor):
        targets = torch.tensor(answers, dtype=torch.int64 if kind == "multiclass" else torch.float32)
        return _Clips(split.features, targets, config.batch_size)
    clips = zip(answers, split.features, strict=True)
    labels = [torch.from_numpy(beat_labels(a, clip.shape[1], frame_rate, widen=True)) for a, clip in clips]
    return _Crops(split.features, labels, round(config.crop_s * frame_rate), config.beat_batch_size)


class _Monitor:
    """Follows the validation score: which epoch is best, when the rate falls, when to stop."""

    def __init__(self, config: ProbeConfig) -> None:
        self._config = config
        self.lr = config.lr
        self.best_epoch = 0
        self._best_score = -np.inf
        self._lr_changed = 0  # epoch from which the patience with the present rate counts

    def is_better(self, score: float, epoch: int) -> bool:
        """Take note of an epoch's score (NaN counts as worst) and halve the rate if it is time."""
        better = score > self._best_score
        if better:
            self._best_score, self.best_epoch, self._lr_changed = score, epoch, epoch
        elif epoch - self._lr_changed > self._config.lr_patience:
            self.lr, self._lr_changed = self.lr * LR_FACTOR, epoch
        return better

    def is_over(self, epoch: int) -> bool:
        """Whether patience is used up."""
        return epoch - self.best_epoch >= self._config.patience
