"""AdamW and its learning-rate schedule."""

from typing import Literal

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section


class OptimConfig(Section):
    """Fractions are of the whole run, so that shortening a run keeps its schedule's shape.

    Source: fairseq's hubert_base (linear) and data2vec audio base (tristage).
    """

    peak_lr: float = Field(default=5e-4, gt=0)
    warmup_fraction: float = Field(default=0.08, ge=0, le=1)
    """Part of the run in which the rate rises from `init_scale * peak_lr` to `peak_lr`."""
    schedule: Literal["linear", "tristage"] = "linear"
    """`linear`: falls to 0 after the warm-up. `tristage`: holds, then falls exponentially."""
    hold_fraction: float = Field(default=0.9, ge=0, le=1)
    """Tristage only: part of the run at `peak_lr`."""
    init_scale: float = Field(default=0.0, ge=0, le=1)
    final_scale: float = Field(default=0.0, ge=0, le=1)
    """Tristage only, where it must be above 0: the last rate as a share of the peak."""
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=10.0, ge=0)
    """Largest global gradient norm; 0 leaves it alone."""

    @model_validator(mode="after")
    def _stages_fit(self) -> "OptimConfig":
        if self.schedule == "tristage":
            if self.warmup_fraction + self.hold_fraction > 1:
                raise ValueError(
                    f"warmup_fraction={self.warmup_fraction} and hold_fraction={self.hold_fraction} add up to more than 1"
                )
            if self.final_scale <= 0:
                raise ValueError("final_scale must be above 0 with schedule=tristage (published: 0.01)")
        return self
