"""The encoder: stem, projection, mask, transformer.

Conventions:
    `forward` never normalises the waveform: who calls it obeys `EncoderConfig.normalize_waveform`.
    Parameter names equal those of Hugging Face's HuBERT and data2vec audio models.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.models.feature_encoder import FeatureEncoder, FeatureProjection, scale_gradient
from ray_musicssl.models.transformer import NO_LAYERS, Transformer

# Source: fairseq normalises with biased variance + 1e-5 before cropping.
NORMALIZE_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class EncoderOutput:
    """Everything a pass leaves."""

    hidden_states: tuple[Float[Tensor, "batch frames dim"], ...]  # [0] the transformer's input, [l] layer l's output
    features: Float[Tensor, "batch frames conv"]  # of the stem, after the gradient factor
    projected: Float[Tensor, "batch frames dim"]  # before dropout and mask: a teacher's input


class MusicEncoder(nn.Module):
    """A wav2vec2-style encoder of 16 kHz audio; the mask vector is one of its parameters."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureEncoder(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Transformer(config)
        self.masked_spec_embed = nn.Parameter(torch.empty(config.dim).uniform_())
        self.input_dropout = nn.Dropout(config.input_dropout)

    def forward(
        self,
        waveform: Float[Tensor, "batch samples"],
        mask: Bool[Tensor, "batch frames"] | None = None,
        skip_layers: frozenset[int] = NO_LAYERS,
    ) -> EncoderOutput:
        """Encode a batch of equally long waveforms.

        Args:
            waveform: audio in [-1, 1], or normalised if `config.normalize_waveform`.
            mask: true where a frame is hidden.
            skip_layers: layers left out (layerdrop), counted from 0.
        """
        features = scale_gradient(self.feature_extractor(waveform), self.config.feature_grad_mult)
        projected = self.feature_projection(features)
        x = self.input_dropout(projected)
        if mask is not None:
            # Cast: under autocast x may be half precision while the parameter is not.
            x = torch.where(mask[..., None], self.masked_spec_embed.to(x.dtype), x)
        output = self.encoder(x, skip_layers)
        return EncoderOutput(hidden_states=output.hidden_states, features=features, projected=projected)


def normalize(waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
    """Zero mean and unit variance over the samples (biased variance)."""
    mean = waveform.mean(-1, keepdim=True)
    variance = waveform.var(-1, correction=0, keepdim=True)
    return (waveform - mean) / torch.sqrt(variance + NORMALIZE_EPS)
