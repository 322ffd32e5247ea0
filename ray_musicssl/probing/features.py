"""What a probe sees: any encoder, trained or not, and the baselines made by hand."""

from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float32

Pool = Literal["mean"] | None


class FrozenFeatures(Protocol):
    """Turns audio into features that stay fixed while a probe is fitted."""

    name: str
    content_hash: str  # of all that its output depends on: caches are filed under it
    num_layers: int  # length of the first axis of what `embed` gives
    dim: int
    frame_rate: float  # frames a second when `pool` is None

    def embed(
        self, waveform: Float32[np.ndarray, "*channels samples"], sample_rate: int, *, pool: Pool = None
    ) -> Float32[np.ndarray, "layers *frames dim"]:
        """Features `[layers, frames, dim]`, or `[layers, dim]` with one vector for the whole stretch."""
        ...
