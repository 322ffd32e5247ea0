"""Size and flavour of the encoder."""

from typing import Literal

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section

# Source: wav2vec 2.0 base, 1.1 of its convolutions: kernel and stride of each layer; product of strides 320.
CONV_KERNELS = (10, 3, 3, 3, 3, 2, 2)
CONV_STRIDES = (5, 2, 2, 2, 2, 2, 2)


class EncoderConfig(Section):
    """A wav2vec2-style encoder: seven convolutions to 50 Hz, then a post-norm transformer.

    Source: Ma et al. 2023, 2.3; sizes of HuBERT base (95M).
    """

    num_layers: int = Field(default=12, ge=1)
    dim: int = Field(default=768, ge=8)
    num_heads: int = Field(default=12, ge=1)
    ffn_dim: int = Field(default=3072, ge=8)
    conv_dim: int = Field(default=512, ge=8)
    """Channels of every convolution of the stem."""
    conv_norm: Literal["group", "layer"] = "group"
    """`group`: group norm after the first convolution only (HuBERT). `layer`: layer norm after each (data2vec)."""
    normalize_waveform: bool = False
    """Zero mean and unit variance per clip before the stem; belongs with `conv_norm: layer`."""
    feature_grad_mult: float = Field(default=0.1, ge=0, le=1)
    """Factor on the gradient that enters the stem; 0 freezes it."""
    pos_conv_depth: int = Field(default=1, ge=1)
    """1: one weight-normed positional convolution (HuBERT). More: a stack with layer norms (data2vec has 5)."""
    pos_conv_kernel: int = Field(default=128, ge=1)
    pos_conv_groups: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """After the positional convolution, attention and feed-forward blocks."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    activation_dropout: float = Field(default=0.0, ge=0, lt=1)
    input_dropout: float = Field(default=0.1, ge=0, lt=1)
    """On the projected features, before masking."""
    layerdrop: float = Field(default=0.05, ge=0, lt=1)
    """Chance that a layer is skipped in a step, the same layers on every worker."""

    @model_validator(mode="after")
    def _widths_divide(self) -> "EncoderConfig":
        for name, divisor in (("num_heads", self.num_heads), ("pos_conv_groups", self.pos_conv_groups)):
            if self.dim % divisor:
                raise ValueError(f"dim={self.dim} must be a multiple of {name}={divisor}")
        return self
