"""What every objective gives the step.

Conventions:
    A loss leaves an objective as a sum with the number of targets it runs over; only the step divides, by the number over
    all workers. Statistics are vectors that add up over micro-batches and workers; `summarize` turns the total into scalars.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ray_musicssl.models.encoder import EncoderOutput, MusicEncoder
from ray_musicssl.models.transformer import NO_LAYERS
from ray_musicssl.registry import Registry

OBJECTIVES = Registry(
    "objective",
    {
        "musichubert": "ray_musicssl.objectives.musichubert:MusicHubert",
        "music2vec": "ray_musicssl.objectives.music2vec:Music2Vec",
        "joint": "ray_musicssl.objectives.joint:Joint",
    },
)


@dataclass(frozen=True, kw_only=True)
class PretrainBatch:
    """Crops of equal length, their masks and, where the objective needs them, their labels."""

    waveform: Float[Tensor, "batch samples"]
    mask: Bool[Tensor, "batch frames"]
    labels: tuple[Int64[Tensor, "batch frames"], ...] = ()  # one a label set


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What an objective must know of the run beside its own settings."""

    num_labels: Sequence[int]  # classes of each label set
    max_steps: int  # of which schedules are fractions


@dataclass(frozen=True, kw_only=True)
class ObjectiveOutput:
    """What one micro-batch adds."""

    loss_sum: Float[Tensor, ""]
    num_targets: int
    statistics: Mapping[str, Float[Tensor, " n"]]


class Objective(nn.Module):
    """What an encoder's output is scored by; it holds heads and teachers, not the encoder.

    A class in `OBJECTIVES` is made as `cls(encoder, config, facts)`.
    """

    def forward(self, output: EncoderOutput, batch: PretrainBatch) -> ObjectiveOutput:
        """The loss of one micro-batch."""
        raise NotImplementedError

    def after_step(self, step: int, encoder: MusicEncoder) -> None:
        """Follow the encoder after optimiser step `step` (the first is 1)."""

    def summarize(self, statistics: Mapping[str, Float[Tensor, " n"]]) -> dict[str, float]:
        """Scalars, by TensorBoard name, from statistics added over any number of micro-batches."""
        raise NotImplementedError

    def check(self, summary: Mapping[str, float], step: int) -> None:
        """Look at a summary for signs that training has failed.

        Raises:
            DivergedError: if it has.
        """


class PretrainModel(nn.Module):
    """All that is trained: an encoder and its objective."""

    def __init__(self, encoder: MusicEncoder, objective: Objective) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective = objective

    def forward(self, batch: PretrainBatch, skip_layers: frozenset[int] = NO_LAYERS) -> ObjectiveOutput:
        """The loss of one micro-batch."""
        return self.objective(self.encoder(batch.waveform, batch.mask, skip_layers), batch)
