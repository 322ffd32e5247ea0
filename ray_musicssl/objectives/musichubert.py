"""MusicHuBERT: guess the k-means labels of hidden frames.

Source: Hsu et al. 2021 as used in Ma et al. 2023, 2.1; logits, penalty and normalisation as fairseq's hubert_base.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ray_musicssl.config.objective import MusicHubertConfig
from ray_musicssl.models.encoder import EncoderOutput, MusicEncoder
from ray_musicssl.objectives.base import Objective, ObjectiveOutput, PretrainBatch, RunFacts

_COS_EPS = 1e-8


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Cross-entropy and hits over some frames."""

    loss_sum: Float[Tensor, ""]  # nats
    num_correct: Float[Tensor, ""]


class LabelHead(nn.Module):
    """Compares frames with one vector a label, by cosine."""

    def __init__(self, dim: int, num_labels: int, config: MusicHubertConfig) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.projection = nn.Linear(dim, config.label_dim)
        init = torch.rand if config.label_init == "uniform" else torch.randn
        self.label_embeddings = nn.Parameter(init(num_labels, config.label_dim))

    def logits(self, frames: Float[Tensor, "n dim"]) -> Float[Tensor, "n labels"]:
        """Cosine similarities over the temperature, in float32: one product, no `[n, labels, dim]` in between."""
        projected = self.projection(frames)
        with torch.autocast(projected.device.type, enabled=False):
            queries = F.normalize(projected.float(), dim=-1, eps=_COS_EPS)
            keys = F.normalize(self.label_embeddings.float(), dim=-1, eps=_COS_EPS)
            return queries @ keys.T / self.temperature

    def scores(self, frames: Float[Tensor, "n dim"], labels: Int64[Tensor, " n"]) -> Scores:
        """Cross-entropy and hits, summed over the frames."""
        logits = self.logits(frames)
        loss_sum = F.cross_entropy(logits, labels, reduction="sum")
        with torch.no_grad():
            # Equal logits for every label are no hit, though the first label would be their argmax.
            is_decided = logits.amax(-1) > logits.amin(-1)
            num_correct = ((logits.argmax(-1) == labels) & is_decided).sum().float()
        return Scores(loss_sum=loss_sum, num_correct=num_correct)


class MusicHubert(Objective):
    """Masked prediction of one or several label sets, one head each; their losses are added."""

    def __init__(self, encoder: MusicEncoder, config: MusicHubertConfig, facts: RunFacts) -> None:
        """Build the heads.

        Args:
            encoder: what is trained.
            config: temperature, weights, penalty.
            facts: the classes of each label set.
        """
        super().__init__()
        self.config = config
        self.heads = nn.ModuleList([LabelHead(encoder.config.dim, classes, config) for classes in facts.num_labels])

    def forward(self, output: EncoderOutput, batch: PretrainBatch) -> ObjectiveOutput:
        """Loss over masked frames, over the others too if they weigh anything, and the stem's penalty."""
        hidden = output.hidden_states[-1]
        loss_sum, num_targets = hidden.new_zeros((), dtype=torch.float32), 0
        statistics = {}
        groups = (
            ("masked", batch.mask, self.config.masked_weight),
            ("unmasked", ~batch.mask, self.config.unmasked_weight),
        )
        for name, chosen, weight in groups:
            with torch.set_grad_enabled(torch.is_grad_enabled() and weight > 0):
                scores = self._scores(hidden, batch.labels, chosen)
            num_frames = int(chosen.sum())
            if weight > 0:
                loss_sum = loss_sum + weight * scores.loss_sum
                num_targets += num_frames
            statistics[name] = torch.stack(
                [scores.loss_sum, scores.num_correct, scores.loss_sum.new_tensor(num_frames)]
            )
        penalty = output.features.float().pow(2).mean()
        loss_sum = loss_sum + self.config.feature_penalty * penalty * num_targets
        statistics["penalty"] = torch.stack([penalty * num_targets, penalty.new_tensor(num_targets)])
        return ObjectiveOutput(
            loss_sum=loss_sum,
            num_targets=num_targets,
            statistics={name: values.detach() for name, values in statistics.items()},
        )

    def _scores(
        self,
        hidden: Float[Tensor, "batch frames dim"],
        labels: Sequence[Int64[Tensor, "batch frames"]],
        chosen: Bool[Tensor, "batch frames"],
    ) -> Scores:
        frames = hidden[chosen]  # [n, dim]
        parts = [
            cast("LabelHead", head).scores(frames, label_set[chosen])
            for head, label_set in zip(self.heads, labels, strict=True)
        ]
        return Scores(
            loss_sum=torch.stack([part.loss_sum for part in parts]).sum(),
            num_correct=torch.stack([part.num_correct for part in parts]).mean(),
        )

    def summarize(self, statistics: Mapping[str, Float[Tensor, " n"]]) -> dict[str, float]:
        """Loss in nats a frame (summed over label sets) and accuracy (their mean), masked and unmasked apart."""
        summary = {}
        for name in ("masked", "unmasked"):
            loss_sum, num_correct, num_frames = statistics[name].tolist()
            summary[f"pretrain/{name}_loss"] = loss_sum / max(num_frames, 1)
            summary[f"pretrain/{name}_accuracy"] = num_correct / max(num_frames, 1)
        penalty_sum, num_targets = statistics["penalty"].tolist()
        summary["pretrain/feature_penalty"] = penalty_sum / max(num_targets, 1)
        return summary
