"""Music2Vec: predict an averaged teacher's view of the unmasked audio (data2vec 1.0).

Source: Baevski et al. 2022 as used in Ma et al. 2023, 2.2; targets, loss and guards as fairseq's data2vec audio base.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ray_musicssl.config.objective import Music2VecConfig
from ray_musicssl.errors import DivergedError
from ray_musicssl.models.encoder import EncoderOutput, MusicEncoder
from ray_musicssl.objectives.base import Objective, ObjectiveOutput, PretrainBatch, RunFacts
from ray_musicssl.objectives.ema import EmaTeacher, ema_decay
from ray_musicssl.objectives.variety import effective_rank, moments, outer_moments, spread

_NORM_EPS = 1e-5


class Music2Vec(Objective):
    """A student sees masked audio and guesses the mean of the teacher's top layers at the hidden frames."""

    def __init__(self, encoder: MusicEncoder, config: Music2VecConfig, facts: RunFacts) -> None:
        """Copy the teacher.

        Args:
            encoder: what is trained.
            config: target layers, averaging, guards.
            facts: the length of the run, of which the schedules are fractions.
        """
        super().__init__()
        self.section = "objective"  # where a user finds the settings
        self.config = config
        self.max_steps = facts.max_steps
        dim = encoder.config.dim
        self.projection = nn.Linear(dim, dim)
        copied = ("pos_conv_embed",) if config.ema_layers_only else ()
        self.teacher = EmaTeacher(encoder.encoder, copied=copied)
        self._last_decay = config.ema_start

    def forward(self, output: EncoderOutput, batch: PretrainBatch) -> ObjectiveOutput:
        """Squared (or smooth L1) error over the masked frames, summed over dimensions and scaled by 1 / sqrt(dim)."""
        targets = self.targets(output.projected)[batch.mask]  # [n, dim]
        predictions = self.projection(output.hidden_states[-1][batch.mask]).float()
        dim = targets.shape[1]
        beta = self.config.loss_beta
        error = (
            F.mse_loss(predictions, targets, reduction="sum")
            if beta == 0
            else F.smooth_l1_loss(predictions, targets, reduction="sum", beta=beta)
        )
        loss_sum = error * (self.config.loss_scale or 1 / math.sqrt(dim))
        num_targets = len(targets)
        with torch.no_grad():
            features = output.features.float().flatten(0, 1)
            statistics = {
                "loss": torch.stack([loss_sum.detach(), loss_sum.new_tensor(num_targets)]),
                "target": moments(targets),
                "prediction": moments(predictions),
                "features": moments(features),
                "features_outer": outer_moments(features),
            }
        return ObjectiveOutput(loss_sum=loss_sum, num_targets=num_targets, statistics=statistics)

    @torch.no_grad()
    def targets(self, projected: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        """The mean of the teacher's last `top_k` feed-forward results, each normalised over time per clip and channel."""
        results = self.teacher.module(projected.detach()).layer_results[-self.config.top_k :]
        normalized = [F.instance_norm(result.float().transpose(1, 2), eps=_NORM_EPS) for result in results]
        return torch.stack(normalized).mean(0).transpose(1, 2)

    def after_step(self, step: int, encoder: MusicEncoder) -> None:
        """Let the teacher follow."""
        self._last_decay = self._decay(step)
        self.teacher.follow(encoder.encoder, self._last_decay)

    def _decay(self, step: int) -> float:
        config = self.config
        ramp_steps = config.ema_ramp_fraction * self.max_steps
        return ema_decay(step, start=config.ema_start, end=config.ema_end, ramp_steps=ramp_steps)

    def summarize(self, statistics: Mapping[str, Float[Tensor, " n"]]) -> dict[str, float]:
        """Loss a frame; the mean spread of targets, predictions and stem features over frames, and these features' rank."""
        loss_sum, num_targets = statistics["loss"].tolist()
        spreads = {f"pretrain/{name}_std": spread(statistics[name]) for name in ("target", "prediction", "features")}
        return {
            "pretrain/masked_loss": loss_sum / max(num_targets, 1),
            **spreads,
            "pretrain/features_rank": effective_rank(statistics["features_outer"]),
            "pretrain/ema_decay": self._last_decay,
        }

    def check(self, summary: Mapping[str, float], step: int) -> None:
        """Stop if teacher or student say the same for every frame.

        Raises:
            DivergedError: if a spread is below its limit after the guard's start.
        """
        if step < self.config.guard_after_fraction * self.max_steps:
            return
        limits = {"target": self.config.min_target_std, "prediction": self.config.min_prediction_std}
        for name, limit in limits.items():
            spread = summary[f"pretrain/{name}_std"]
            if spread < limit:
                raise DivergedError(
                    f"collapse at step {step}: the {name}s' spread is {spread:.4f}, below "
                    f"{self.section}.min_{name}_std={limit}; lower optim.peak_lr, raise audio.batch_s or "
                    f"{self.section}.ema_end, and start again with --fresh"
                )
