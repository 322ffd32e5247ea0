"""The encoder: stem, projection, mask, transformer.

Conventions:
    `forward` never normalises the waveform: who calls it obeys `EncoderConfig.normalize_waveform`.
    Parameter names equal those of Hugging Face's HuBERT and data2vec audio models.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ray_musicssl.audio.frames import ENCODER_GRID
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

    def prepare_training(self, *, recompute_activations: bool) -> None:
        """Freeze what does not learn, and choose between memory and work."""
        if self.config.feature_grad_mult == 0:
            self.feature_extractor.requires_grad_(requires_grad=False)  # or weight decay would still move it
        self.encoder.recomputes_activations = recompute_activations

    def forward(
        self,
        waveform: Float[Tensor, "batch samples"],
        mask: Bool[Tensor, "batch frames"] | None = None,
        skip_layers: frozenset[int] = NO_LAYERS,
        num_samples: Int64[Tensor, " batch"] | None = None,
    ) -> EncoderOutput:
        """Encode a batch of equally long waveforms, or of waveforms padded to equal length.

        Args:
            waveform: audio in [-1, 1], or normalised if `config.normalize_waveform`.
            mask: true where a frame is hidden.
            skip_layers: layers left out (layerdrop), counted from 0.
            num_samples: samples of each waveform before its padding; None: all. Frames that reach into the padding are not
                looked at. A stem with group norm hears the padding all the same, as the references' do.
        """
        features = scale_gradient(self.feature_extractor(waveform), self.config.feature_grad_mult)
        projected = self.feature_projection(features)
        x = self.input_dropout(projected)
        if mask is not None:
            # Cast: under autocast x may be half precision while the parameter is not.
            x = torch.where(mask[..., None], self.masked_spec_embed.to(x.dtype), x)
        is_sound = None if num_samples is None else _is_sound(num_samples, x.shape[1])
        output = self.encoder(x, skip_layers, is_sound)
        return EncoderOutput(hidden_states=output.hidden_states, features=features, projected=projected)


def _is_sound(num_samples: Int64[Tensor, " batch"], num_frames: int) -> Bool[Tensor, "batch frames"]:
    """Which frames hear their clip alone. Source: the convolutions' own arithmetic, as Hugging Face's models count."""
    counts = torch.tensor([ENCODER_GRID.num_frames(count) for count in num_samples.tolist()], device=num_samples.device)
    return torch.arange(num_frames, device=counts.device) < counts[:, None]


def normalize(waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
    """Zero mean and unit variance over the samples (biased variance)."""
    mean = waveform.mean(-1, keepdim=True)
    variance = waveform.var(-1, correction=0, keepdim=True)
    return (waveform - mean) / torch.sqrt(variance + NORMALIZE_EPS)
