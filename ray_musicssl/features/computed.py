"""What the features without an encoder share: any shape of audio in, frames on the CPU out, on whatever device.

Conventions:
    All tensors that such a feature owns are buffers, its own or its parts', so that `feature.to(device)` moves them all.
    Frames of a GPU differ from those of a CPU by rounding of float32, never TF32.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_musicssl.audio.frames import FrameGrid
from ray_musicssl.float32 import without_tf32


class Computed(nn.Module):
    """A feature that is arithmetic and constants: nothing in it was learned."""

    name: str
    dim: int
    grid: FrameGrid
    spread: float
    """Root-mean-square distance of its frames from their mean on music; see `features/combined.py`."""

    @torch.no_grad()
    @without_tf32()
    def forward(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames dim"]:
        """Frames `[T, dim]` of one waveform in [-1, 1], or `[B, T, dim]` of a batch; T is what `grid` says."""
        batch = waveform.reshape(waveform.shape[:-1].numel(), waveform.shape[-1])
        frames = self.frames(batch.to(next(self.buffers()).device, torch.float32)).cpu()
        return frames.reshape(*waveform.shape[:-1], *frames.shape[1:])

    def frames(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Frames of a float32 batch, both on the feature's device."""
        raise NotImplementedError
