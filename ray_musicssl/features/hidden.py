"""A hidden layer of a trained encoder: what the next iteration of MusicHuBERT learns to predict.

Conventions:
    Frames lie on the encoder's grid (50 Hz). Layer 0 is the transformer's input, layer l the output of layer l after its
    last norm. The encoder is in evaluation, nothing is masked, and the waveform is normalised if the encoder wants it so.
    A clip of up to 30 s is one pass; a longer one runs through overlapping windows and loses no frame.

Source: Hsu et al. 2021 (HuBERT): layer 6 of the first iteration's 12 gives the second one's targets.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ray_musicssl.audio.frames import ENCODER_GRID, FrameGrid
from ray_musicssl.config.feature import HiddenConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.models.windows import windowed_states


class Hidden:
    """One hidden state of a model; as many dimensions as it is wide."""

    name: str = "hidden"
    grid: FrameGrid = ENCODER_GRID

    def __init__(self, model: MusicEncoder, layer: int) -> None:
        """Take one layer of a model.

        Args:
            model: the encoder, on the device it shall run on; it is put into evaluation.
            layer: from 1; 0 is the transformer's input.

        Raises:
            ConfigError: if the model has no such layer.
        """
        num_layers = model.config.num_layers
        if not 0 <= layer <= num_layers:
            raise ConfigError(
                f"layer={layer} does not exist; this encoder has layers 0..{num_layers} (0 is the transformer's input): "
                f"set feature.layer"
            )
        self.dim = model.config.dim
        self._model = model.eval()
        self._layer = layer

    @classmethod
    def from_config(cls, config: HiddenConfig, model: MusicEncoder) -> "Hidden":
        """The feature that a config section describes, of the model that it names."""
        return cls(model, config.layer)

    @torch.no_grad()
    def __call__(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames dim"]:
        """Frames `[T, dim]` of one waveform in [-1, 1], or `[B, T, dim]` of a batch; T is the encoder's frame count.

        Rows of a batch go through one at a time, so that a frame's bits never depend on its neighbours.
        """
        batch = waveform.reshape(waveform.shape[:-1].numel(), waveform.shape[-1]).float()
        frames = torch.empty(len(batch), self.grid.num_frames(batch.shape[-1]), self.dim)
        for row, mono in zip(frames, batch, strict=True):
            row.copy_(windowed_states(self._model, mono, [self._layer])[0])
        return frames.reshape(*waveform.shape[:-1], *frames.shape[1:])
