"""Several features side by side: frames that one codebook clusters by timbre and harmony at once.

Conventions:
    Frames lie where the slowest part has them. Frame t of a 50 Hz part and frame 2 t of a 100 Hz part see the same samples
    (`audio/frames.py`), so a faster part gives every second frame.
    A part counts by weight / spread. `spread` is a constant of its feature: the root-mean-square distance of its frames from
    their mean on music. So a part of weight 1 adds about 1 to a frame's squared distance from the
    mean, whatever its units and dimensions.

Source: spreads measured over six minutes of the demo's music and four of recorded electronic music; the middle of both.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_musicssl.audio.frames import FrameGrid
from ray_musicssl.config.feature import CombinedConfig
from ray_musicssl.features.base import make_feature
from ray_musicssl.features.computed import Computed


class Combined(Computed):
    """The frames of all parts, one beside the other."""

    name: str = "combined"

    def __init__(self, parts: Sequence[Computed], weights: Sequence[float]) -> None:
        """Take the parts.

        Args:
            parts: features on grids of which the slowest one's hop is a multiple of every other's.
            weights: one a part.
        """
        super().__init__()
        self.grid: FrameGrid = max((part.grid for part in parts), key=lambda grid: grid.hop_length)
        assert all(part.grid.receptive_field == self.grid.receptive_field for part in parts)
        assert all(self.grid.hop_length % part.grid.hop_length == 0 for part in parts)
        self.dim = sum(part.dim for part in parts)
        self.spread = sum(weight**2 for weight in weights) ** 0.5
        self._parts = nn.ModuleList(parts)
        self._scales = [weight / part.spread for weight, part in zip(weights, parts, strict=True)]

    @classmethod
    def from_config(cls, config: CombinedConfig) -> "Combined":
        """The feature that a config section describes."""
        parts = [make_feature(part) for part in config.parts]
        return cls([part for part in parts if isinstance(part, Computed)], config.weights)

    def frames(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Frames of a float32 batch, both on the feature's device."""
        frames = []
        for part, scale in zip(self._parts, self._scales, strict=True):
            assert isinstance(part, Computed)
            stride = self.grid.hop_length // part.grid.hop_length
            frames.append(part.frames(waveform)[:, ::stride] * scale)
        return torch.cat(frames, dim=-1)
