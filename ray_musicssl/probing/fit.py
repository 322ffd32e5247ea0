"""Fitting one probe on features in memory, with one seed.

Conventions:
    Everything random comes from the seed: the same seed and features give the same fit on the same number of threads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional as F

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import DataError
from ray_musicssl.probing.batches import Batch, training_set
from ray_musicssl.probing.head import WeightedSumProbe
from ray_musicssl.probing.recipe import Stopping, stopping_of
from ray_musicssl.probing.rows import (
    MICRO_BATCH_ROWS,
    ProbeSplit,
    Statistics,
    no_statistics,
    row_blocks,
    row_statistics,
)
from ray_musicssl.tasks.base import EnsembleTask, Predictions, Split, Task, TaskKind

LR_FACTOR = 0.5
# Features up to this size are scaled once and kept as float32, beside what they came from; larger ones at every step.
SCALED_BYTES = 128 * 2**20

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ProbeFit:
    """One fitted probe and how well it does."""

    task: Task  # as it was scored in the end
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
        config: the recipe; its `lr` is the rate, whatever grid there is.
        num_outputs: width of the last layer.
        seed: of the initial weights, the order, the crops and the dropout.
        frame_rate: of the features, in Hz; matters for beats only.

    Raises:
        DataError: if a split has no example, or valid or test none that can be scored.
    """
    _check(task, splits, num_outputs)
    generator = torch.Generator().manual_seed(seed)
    shape = splits["train"].features[0].shape
    num_layers, dim = shape[0], shape[-1]
    statistics = row_statistics(splits["train"].features) if config.standardize else no_statistics(num_layers, dim)
    inputs = _Inputs(splits, statistics)
    probe = WeightedSumProbe(num_layers, dim, num_outputs, config.hidden_dim, config.dropout, generator=generator)
    optimizer = torch.optim.Adam(probe.parameters(), lr=config.lr, fused=True)
    train = training_set(task.kind, inputs.splits["train"], config, frame_rate)
    stopping = stopping_of(config, task)
    monitor = _Monitor(config.lr, stopping)
    best_state, best_said, best_valid = _copy_state(probe), None, None
    epoch = 0
    for epoch in range(stopping.max_epochs):
        for batch in train.batches(generator):
            _step(probe, optimizer, batch, inputs, _LOSSES[task.kind])
        said = predict(task, probe, inputs, "valid", frame_rate)
        valid = _score(task, said)
        if monitor.is_better(valid[task.metrics[0]], epoch):
            best_state, best_said, best_valid = _copy_state(probe), said, valid
        if monitor.is_over(epoch):
            break
        for group in optimizer.param_groups:
            group["lr"] = monitor.lr
    probe.load_state_dict(best_state)
    if best_said is None or best_valid is None:  # all epochs diverged
        best_said = predict(task, probe, inputs, "valid", frame_rate)
        best_valid = _score(task, best_said)
    if isinstance(task, EnsembleTask) and (settled := task.settled(best_said)) is not task:
        task, best_valid = settled, _score(settled, best_said)
    test_predictions = predict(task, probe, inputs, "test", frame_rate)
    return ProbeFit(
        task=task,
        seed=seed,
        valid=best_valid,
        test=_score(task, test_predictions),
        test_predictions=test_predictions,
        layer_weights=probe.layer_weights.detach().numpy().copy(),
        best_epoch=monitor.best_epoch,
        num_epochs=epoch + 1,
    )


def _check(task: Task, splits: Mapping[Split, ProbeSplit], num_outputs: int) -> None:
    """Refuse splits that cannot be fitted or scored, whatever the probe will say."""
    for name, split in splits.items():
        if not len(split.examples):
            raise DataError(f"{task.name} has no {name} example whose features could be extracted; see its `skipped`")
        if name == "train" or task.kind == "beats":  # beats always have a score
            continue
        silent = [np.zeros(num_outputs, np.float32)] * len(split.examples)
        score = task.score(Predictions(examples=split.examples, outputs=silent))[task.metrics[0]]
        if not np.isfinite(score):
            raise DataError(
                f"{task.name}: {task.metrics[0]} of the {name} split cannot be computed from its {len(split.examples)} usable "
                f"examples: no class has both examples with it and without it; complete {task.dataset} or leave the task out"
            )


class _Inputs:
    """Splits, and their rows as the probe gets them: scaled by the statistics of the training rows."""

    def __init__(self, splits: Mapping[Split, ProbeSplit], statistics: Statistics) -> None:
        self._statistics = statistics
        size_bytes = sum(s.features.numel() * 4 for s in splits.values() if isinstance(s.features, Tensor))
        self._are_scaled = isinstance(splits["train"].features, Tensor) and size_bytes <= SCALED_BYTES
        self.splits = {name: self._scaled(split) for name, split in splits.items()} if self._are_scaled else splits

    def rows(self, rows: Tensor) -> Tensor:
        """Rows of these splits, scaled."""
        return rows if self._are_scaled else self._statistics.standardize(rows)

    def _scaled(self, split: ProbeSplit) -> ProbeSplit:
        assert isinstance(split.features, Tensor), "frames are scaled clip by clip"
        return replace(split, features=self._statistics.standardize(split.features))


def predict(task: Task, probe: WeightedSumProbe, inputs: _Inputs, name: Split, frame_rate: float = 50.0) -> Predictions:
    """What the probe says about a split: logits or values, or beat probabilities for a beat task."""
    split = inputs.splits[name]
    probe.eval()
    with torch.no_grad():
        outputs = [
            torch.cat([probe(inputs.rows(part)) for part in rows.split(MICRO_BATCH_ROWS)])
            for rows in row_blocks(split.features)
        ]
    probe.train()
    if task.kind == "beats":
        curves = [output.sigmoid()[:, 0].numpy() for output in outputs]
        return Predictions(examples=split.examples, outputs=curves, frame_rate=frame_rate)
    return Predictions(examples=split.examples, outputs=list(torch.cat(outputs).numpy()), frame_rate=frame_rate)


def _score(task: Task, predictions: Predictions) -> Mapping[str, float]:
    """Every metric of a task; NaN if an output is not finite: NaNs have a rank in no list, and sorting gives them any."""
    if all(np.isfinite(output).all() for output in predictions.outputs):
        return task.score(predictions)
    return dict.fromkeys(task.metrics, float("nan"))


def _copy_state(probe: WeightedSumProbe) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in probe.state_dict().items()}


def _step(
    probe: WeightedSumProbe, optimizer: torch.optim.Optimizer, batch: Batch, inputs: _Inputs, loss_of: Loss
) -> None:
    """One optimiser step on the mean loss of a batch, its gradient added up over parts that fit the cache."""
    optimizer.zero_grad(set_to_none=True)
    parts = zip(batch.rows.split(MICRO_BATCH_ROWS), batch.targets.split(MICRO_BATCH_ROWS), strict=True)
    for rows, targets in parts:
        loss = loss_of(probe(inputs.rows(rows)), targets)
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


class _Monitor:
    """Follows the validation score: which epoch is best, when the rate falls, when to stop."""

    def __init__(self, lr: float, stopping: Stopping) -> None:
        self._stopping = stopping
        self.lr = lr
        self.best_epoch = 0
        self._best_score = -np.inf
        self._lr_changed = 0  # epoch from which the patience with the present rate counts

    def is_better(self, score: float, epoch: int) -> bool:
        """Take note of an epoch's score (NaN counts as worst) and halve the rate if it is time."""
        better = score > self._best_score
        if better:
            self._best_score, self.best_epoch, self._lr_changed = score, epoch, epoch
        elif epoch - self._lr_changed > self._stopping.lr_patience:
            self.lr, self._lr_changed = self.lr * LR_FACTOR, epoch
        return better

    def is_over(self, epoch: int) -> bool:
        """Whether patience is used up."""
        return epoch - self.best_epoch >= self._stopping.patience
