"""Kaldi's log mel spectrum: what MFCC is made of, at any resolution.

Conventions:
    Frames and scale are those of `features/kaldi.py`: 100 Hz, no normalisation.

Source: Kaldi's compute-fbank-feats at its defaults; equal to torchaudio.compliance.kaldi.fbank.
"""

from jaxtyping import Float
from torch import Tensor

from ray_musicssl.audio.frames import MFCC_GRID, FrameGrid
from ray_musicssl.config.feature import LogmelConfig
from ray_musicssl.features.computed import Computed
from ray_musicssl.features.kaldi import KaldiBands

SPREAD_PER_BAND = (
    2.6  # measured: 2.79 and 2.53 with 80 bands, 2.69 and 2.39 with 40, on the demo's music and on recordings
)


class Logmel(Computed):
    """Log energies of `num_bands` mel bands, the lowest first."""

    name: str = "logmel"
    grid: FrameGrid = MFCC_GRID

    def __init__(self, config: LogmelConfig) -> None:
        super().__init__()
        self.dim = config.num_bands
        self.spread = SPREAD_PER_BAND * config.num_bands**0.5
        self._bands = KaldiBands(config.num_bands)

    @classmethod
    def from_config(cls, config: LogmelConfig) -> "Logmel":
        """The feature that a config section describes."""
        return cls(config)

    def frames(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Frames of a float32 batch, both on the feature's device."""
        return self._bands(waveform)
