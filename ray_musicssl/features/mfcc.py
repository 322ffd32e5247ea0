"""Kaldi's MFCC with first and second differences.

Conventions:
    Frames and scale are those of `features/kaldi.py`: 100 Hz, no normalisation.

Source: Kaldi's compute-mfcc-feats at its defaults, without energy; equal to torchaudio.compliance.kaldi.mfcc.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ray_musicssl.audio.frames import MFCC_GRID, FrameGrid
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.features.computed import Computed
from ray_musicssl.features.kaldi import KaldiBands

NUM_MEL_BANDS = 23
LIFTER = 22.0
# Variance of each coefficient with its differences, the mean of the demo's music and of recordings, and the spread of 13 of
# them (48.5 and 47.4). What another number of coefficients strays follows from both.
VARIANCES = (
    64,
    151,
    183,
    126,
    138,
    139,
    172,
    185,
    227,
    233,
    212,
    219,
    233,
    162,
    135,
    97,
    68,
    47,
    27,
    16,
    6.7,
    2.4,
    0.3,
)
SPREAD_OF_13 = 48.0


class Mfcc(Computed):
    """Cepstra, their deltas and the deltas' deltas: 39 dimensions with 13 cepstra, 60 with 20."""

    name: str = "mfcc"
    grid: FrameGrid = MFCC_GRID
    _cosines: Tensor

    def __init__(self, num_coefficients: int = 13) -> None:
        super().__init__()
        if not 1 <= num_coefficients <= NUM_MEL_BANDS:
            raise ConfigError(
                f"num_coefficients={num_coefficients} must be between 1 and {NUM_MEL_BANDS}, the number of mel bands"
            )
        self.dim = 3 * num_coefficients
        self.spread = SPREAD_OF_13 * (sum(VARIANCES[:num_coefficients]) / sum(VARIANCES[:13])) ** 0.5
        self._bands = KaldiBands(NUM_MEL_BANDS)
        cosines = _dct(NUM_MEL_BANDS, num_coefficients) * _lifter(num_coefficients)
        self.register_buffer("_cosines", cosines.float(), persistent=False)

    @classmethod
    def from_config(cls, config: MfccConfig) -> "Mfcc":
        """The feature that a config section describes."""
        return cls(num_coefficients=config.num_coefficients)

    def frames(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Frames of a float32 batch, both on the feature's device."""
        cepstra = self._bands(waveform) @ self._cosines
        first = _deltas(cepstra)
        return torch.cat([cepstra, first, _deltas(first)], dim=-1)


def _deltas(frames: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
    """Slope over five frames, the first and last frame repeated beyond the ends."""
    if frames.shape[1] == 0:
        return frames
    padded = torch.cat([frames[:, :1].expand(-1, 2, -1), frames, frames[:, -1:].expand(-1, 2, -1)], dim=1)
    near, far = padded[:, 3:-1] - padded[:, 1:-3], padded[:, 4:] - padded[:, :-4]
    return near.add_(far, alpha=2).div_(10)  # 10 = 2 * (1 + 4)


def _dct(num_bands: int, num_coefficients: int) -> Float[Tensor, "bands coefficients"]:
    """The orthonormal DCT-II as a matrix to multiply rows with."""
    band = torch.arange(num_bands, dtype=torch.float64)[:, None]
    order = torch.arange(num_coefficients, dtype=torch.float64)
    matrix = torch.cos(torch.pi / num_bands * (band + 0.5) * order) * (2 / num_bands) ** 0.5
    matrix[:, 0] = (1 / num_bands) ** 0.5
    return matrix


def _lifter(num_coefficients: int) -> Float[Tensor, " coefficients"]:
    order = torch.arange(num_coefficients, dtype=torch.float64)
    return 1 + LIFTER / 2 * torch.sin(torch.pi * order / LIFTER)
