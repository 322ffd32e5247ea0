"""Both at once: guess the labels of hidden frames and the teacher's view of them, with one encoder.

Conventions:
    The two sums are weighted, added, and divided by MusicHuBERT's number of targets: the frames that weigh anything there.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from ray_musicssl.config.objective import JointConfig
from ray_musicssl.models.encoder import EncoderOutput, MusicEncoder
from ray_musicssl.objectives.base import Objective, ObjectiveOutput, PretrainBatch, RunFacts
from ray_musicssl.objectives.music2vec import Music2Vec
from ray_musicssl.objectives.musichubert import MusicHubert

_REGRESSION_LOSS = "pretrain/regression_loss"


class Joint(Objective):
    """MusicHuBERT + Music2Vec on the same masked pass."""

    def __init__(self, encoder: MusicEncoder, config: JointConfig, facts: RunFacts) -> None:
        """Build both.

        Args:
            encoder: what is trained.
            config: both objectives' settings and weights.
            facts: label classes and the length of the run.
        """
        super().__init__()
        self.config = config
        self.musichubert = MusicHubert(encoder, config.musichubert, facts)
        self.music2vec = Music2Vec(encoder, config.music2vec, facts)
        self.music2vec.section = "objective.music2vec"

    def forward(self, output: EncoderOutput, batch: PretrainBatch) -> ObjectiveOutput:
        """The weighted sum of both losses."""
        prediction, regression = self.musichubert(output, batch), self.music2vec(output, batch)
        config = self.config
        return ObjectiveOutput(
            loss_sum=config.musichubert_weight * prediction.loss_sum + config.music2vec_weight * regression.loss_sum,
            num_targets=prediction.num_targets,
            statistics={
                **{f"musichubert/{name}": values for name, values in prediction.statistics.items()},
                **{f"music2vec/{name}": values for name, values in regression.statistics.items()},
            },
        )

    def after_step(self, step: int, encoder: MusicEncoder) -> None:
        """Let the teacher follow."""
        self.music2vec.after_step(step, encoder)

    def summarize(self, statistics: Mapping[str, Float[Tensor, " n"]]) -> dict[str, float]:
        """MusicHuBERT's scalars, and Music2Vec's with its loss as `regression_loss`."""
        regression = self.music2vec.summarize(_part(statistics, "music2vec/"))
        regression[_REGRESSION_LOSS] = regression.pop("pretrain/masked_loss")
        return {**regression, **self.musichubert.summarize(_part(statistics, "musichubert/"))}

    def check(self, summary: Mapping[str, float], step: int) -> None:
        """Stop if the teacher or the student has collapsed.

        Raises:
            DivergedError: if so.
        """
        self.music2vec.check(summary, step)


def _part(statistics: Mapping[str, Float[Tensor, " n"]], prefix: str) -> dict[str, Float[Tensor, " n"]]:
    return {name.removeprefix(prefix): values for name, values in statistics.items() if name.startswith(prefix)}
