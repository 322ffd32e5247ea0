"""What the encoder is trained for; each objective has its own settings."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section


class MusicHubertConfig(Section):
    """Masked prediction of k-means labels.

    Source: Hsu et al. 2021 (HuBERT) as used in Ma et al. 2023; values of fairseq's hubert_base.
    """

    name: Literal["musichubert"] = "musichubert"
    label_dim: int = Field(default=256, ge=1)
    """Width of the space in which frames and labels are compared."""
    temperature: float = Field(default=0.1, gt=0)
    """Divides the cosine similarities."""
    masked_weight: float = Field(default=1.0, ge=0)
    unmasked_weight: float = Field(default=0.0, ge=0)
    """Weight of the loss on frames that are not masked; small models learn faster with 1."""
    feature_penalty: float = Field(default=10.0, ge=0)
    """Weight of the mean square of the stem's output."""
    label_init: Literal["uniform", "normal"] = "uniform"
    """Start of the label vectors: uniform on [0, 1) as published, or standard normal, which spreads them."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> "MusicHubertConfig":
        if self.masked_weight == 0 and self.unmasked_weight == 0:
            raise ValueError("masked_weight and unmasked_weight are both 0: nothing would be learned; raise one")
        return self


class Music2VecConfig(Section):
    """Regression of an averaged teacher's layers (data2vec 1.0).

    Source: Baevski et al. 2022 as used in Ma et al. 2023; values of fairseq's data2vec audio base.
    """

    name: Literal["music2vec"] = "music2vec"
    top_k: int = Field(default=8, ge=1)
    """How many of the teacher's last layers are averaged into the target. Source: Ma et al. 2023, table 3 (8 and 12)."""
    ema_start: float = Field(default=0.999, ge=0, lt=1)
    """Share of the teacher that stays at the first step."""
    ema_end: float = Field(default=0.9999, ge=0, lt=1)
    ema_ramp_fraction: float = Field(default=0.075, ge=0, le=1)
    """Part of the run over which the share rises (30,000 of 400,000 steps)."""
    ema_layers_only: bool = True
    """Copy the positional convolution from the student instead of averaging it."""
    loss_beta: float = Field(default=0.0, ge=0)
    """Width of the smooth L1 loss's quadratic part; 0 is the squared error."""
    loss_scale: float = Field(default=0.0, ge=0)
    """Factor on the summed error of a frame; 0 stands for 1 / sqrt(dim)."""
    min_target_std: float = Field(default=0.1, ge=0)
    """Training stops if the targets' spread falls below this: the teacher has collapsed."""
    min_prediction_std: float = Field(default=0.01, ge=0)
    guard_after_fraction: float = Field(default=0.0125, ge=0, le=1)
    """Part of the run after which the two limits hold (5,000 of 400,000 steps)."""


class JointConfig(Section):
    """Both objectives on one encoder, their losses weighted and added; the paper trains them apart."""

    name: Literal["joint"] = "joint"
    musichubert_weight: float = Field(default=1.0, gt=0)
    music2vec_weight: float = Field(default=1.0, gt=0)
    musichubert: MusicHubertConfig = MusicHubertConfig()
    music2vec: Music2VecConfig = Music2VecConfig()


ObjectiveConfig = Annotated[MusicHubertConfig | Music2VecConfig | JointConfig, Field(discriminator="name")]
