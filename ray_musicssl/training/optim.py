"""AdamW over one flat buffer of gradients, and the learning-rate schedules.

Conventions:
    The rate of optimiser step n (the first is 0) is `learning_rate(n)`; with a warm-up from 0 the first step changes nothing,
    as in the reference.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_musicssl.config.optim import OptimConfig


def learning_rate(step: int, max_steps: int, config: OptimConfig) -> float:
    """The rate of step `step` of a run of `max_steps`.

    Source: fairseq's polynomial decay (power 1) and tri-stage schedules.
    """
    warmup = config.warmup_fraction * max_steps
    if step < warmup:
        return config.peak_lr * (config.init_scale + (1 - config.init_scale) * step / warmup)
    if config.schedule == "linear":
        return config.peak_lr * max(0.0, 1 - (step - warmup) / (max_steps - warmup))
    hold_until = warmup + config.hold_fraction * max_steps
    if step < hold_until:
        return config.peak_lr
    share = min(1.0, (step - hold_until) / (max_steps - hold_until)) if max_steps > hold_until else 1.0
    return config.peak_lr * config.final_scale**share


class FlatGradients:
    """The gradients of some parameters as views of one buffer, so that they are reduced, scaled and clipped at once."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        sizes = [parameter.numel() for parameter in self.parameters]
        self.buffer: Float[Tensor, " n"] = torch.zeros(sum(sizes), device=self.parameters[0].device)
        for parameter, view in zip(self.parameters, self.buffer.split(sizes), strict=True):
            parameter.grad = view.view_as(parameter)

    def zero(self) -> None:
        """Forget all gradients."""
        self.buffer.zero_()

    def clip(self, largest_norm: float) -> float:
        """Scale the gradients down to `largest_norm` if that is above 0 and they are longer; give their length before."""
        norm = float(torch.linalg.vector_norm(self.buffer))
        if 0 < largest_norm < norm:
            self.buffer.mul_(largest_norm / norm)
        return norm


def make_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """AdamW with decay on every parameter, biases and norms included, as the references have it."""
    return torch.optim.AdamW(
        list(parameters),
        lr=config.peak_lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
