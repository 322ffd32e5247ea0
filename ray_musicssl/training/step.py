"""One optimiser step: micro-batches in, updated weights out. Knows no Ray.

Conventions:
    The gradient is that of the loss summed over the whole global batch, divided by its number of targets.
    Every draw inside a micro-batch (dropout) follows from (seed, step, micro-batch), so a step can be repeated exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import DivergedError
from ray_musicssl.objectives.base import PretrainBatch, PretrainModel
from ray_musicssl.randomness import generator, key
from ray_musicssl.training.collective import Collective
from ray_musicssl.training.loss_scale import LossScale
from ray_musicssl.training.optim import FlatGradients, learning_rate, make_optimizer
from ray_musicssl.training.plan import StepLayout

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step did, the same on every worker."""

    loss: float  # a target, over the global batch
    grad_norm: float  # before clipping
    lr: float
    is_skipped: bool  # because the gradient was not finite
    is_stop_wanted: bool  # by the first worker


@dataclass
class Statistics:
    """Adds up objectives' statistics between two logs."""

    totals: dict[str, Float64[Tensor, " n"]] = field(default_factory=dict)

    def add(self, name: str, values: Float[Tensor, " n"]) -> None:
        """Count one micro-batch."""
        values = values.double()
        self.totals[name] = self.totals[name] + values if name in self.totals else values

    def drain(self, collective: Collective) -> dict[str, Float64[Tensor, " n"]]:
        """The totals over all workers; begins anew."""
        totals, self.totals = self.totals, {}
        names = sorted(totals)
        flat = torch.cat([totals[name] for name in names])
        collective.add_up(flat)
        return dict(zip(names, flat.split([len(totals[name]) for name in names]), strict=True))


class Stepper:
    """Holds what changes from step to step: weights, optimiser, statistics."""

    def __init__(self, model: PretrainModel, config: PretrainConfig, collective: Collective) -> None:
        self.model = model
        self.config = config
        self.statistics = Statistics()
        self._collective = collective
        self._gradients = FlatGradients(model.parameters())
        self.optimizer = make_optimizer(self._gradients.parameters, config.optim)
        self._ordered_total = torch.zeros_like(self._gradients.buffer) if config.training.reduce == "ordered" else None
        self._num_skipped_in_a_row = 0
        self._device = self._gradients.buffer.device
        self.layout = StepLayout.of(config.audio, config.training.max_steps, collective.num_workers)
        self.loss_scale = LossScale() if config.training.precision == "fp16" else None

    def run(self, step: int, batches: Sequence[PretrainBatch], *, is_asked_to_stop: bool = False) -> StepResult:
        """Take optimiser step `step` (the first is 0) with this worker's micro-batches.

        Args:
            step: steps taken before this one.
            batches: this worker's micro-batches, in order.
            is_asked_to_stop: passed on to all workers in the result.

        Raises:
            DivergedError: if too many gradients in a row are not finite.
        """
        sums = self._compute_gradients(step, batches)
        told = torch.cat([sums, sums.new_tensor([float(is_asked_to_stop)])])  # one exchange for all three numbers
        self._collective.add_up(told)
        loss_sum, num_targets, num_asked_to_stop = told.tolist()
        self._gradients.buffer.div_(max(num_targets, 1) * (self.loss_scale.value if self.loss_scale else 1.0))
        grad_norm = self._gradients.clip(self.config.optim.clip_norm)
        lr = learning_rate(step, self.config.training.max_steps, self.config.optim)
        is_finite = math.isfinite(grad_norm)
        if is_finite:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self.model.objective.after_step(step + 1, self.model.encoder)
        self._count_skipped(step, is_finite=is_finite)
        return StepResult(
            loss=loss_sum / max(num_targets, 1),
            grad_norm=grad_norm,
            lr=lr,
            is_skipped=not is_finite,
            is_stop_wanted=num_asked_to_stop > 0,
        )

    def _compute_gradients(self, step: int, batches: Sequence[PretrainBatch]) -> Float64[Tensor, "2"]:
        """Leave the global batch's summed gradient in the buffer; give this worker's summed loss and number of targets."""
        self.model.train()
        self._gradients.zero()
        sums = torch.zeros(2, dtype=torch.float64, device=self._device)
        if self._ordered_total is not None:
            self._ordered_total.zero_()
        collective = self._collective
        num_rounds = -(-self.layout.num_micro_batches(step) // collective.num_workers)
        for index in range(num_rounds):
            if index < len(batches):
                sums += self._backward(step, index * collective.num_workers + collective.rank, batches[index])
            if self._ordered_total is not None:
                # Micro-batch index * W + rank: adding rank by rank, round by round, is the order of the indices.
                for gradient in collective.in_rank_order(self._gradients.buffer):
                    self._ordered_total += gradient
                self._gradients.zero()
        if self._ordered_total is None:
            collective.add_up(self._gradients.buffer)
        else:
            self._gradients.buffer.copy_(self._ordered_total)
        return sums

    def _backward(self, step: int, micro_batch: int, batch: PretrainBatch) -> Float64[Tensor, "2"]:
        config = self.config
        torch.manual_seed(key(config.training.seed, "dropout", step, micro_batch) >> 1)
        dtype = _HALF.get(config.training.precision)
        with torch.autocast(self._device.type, dtype, enabled=dtype is not None):
            output = self.model(batch, self._skipped_layers(step))
        (output.loss_sum * (self.loss_scale.value if self.loss_scale else 1.0)).backward()
        for name, values in output.statistics.items():
            self.statistics.add(name, values)
        return torch.stack([output.loss_sum.detach().double(), output.loss_sum.new_tensor(output.num_targets).double()])

    def _skipped_layers(self, step: int) -> frozenset[int]:
        """The same layers for every worker and micro-batch of a step."""
        encoder = self.config.encoder
        if encoder.layerdrop == 0:
            return frozenset()
        draws = generator(self.config.training.seed, "layerdrop", step).random(encoder.num_layers)
        return frozenset(i for i, draw in enumerate(draws) if draw <= encoder.layerdrop)

    def _count_skipped(self, step: int, *, is_finite: bool) -> None:
        if self.loss_scale:  # with it a few overflows are how the range is found
            self.loss_scale.update(is_finite=is_finite)
            return
        self._num_skipped_in_a_row = 0 if is_finite else self._num_skipped_in_a_row + 1
        most = self.config.training.max_nonfinite_steps
        if self._num_skipped_in_a_row > most:
            raise DivergedError(
                f"the gradient was not finite in {self._num_skipped_in_a_row} steps in a row up to step {step} "
                f"(training.max_nonfinite_steps={most}); lower optim.peak_lr or use training.precision=fp32"
            )
