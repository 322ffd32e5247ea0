"""The energy in the 12 pitch classes: which harmony sounds, in whatever octave, colour and loudness.

Conventions:
    Frames lie on the encoder's grid (50 Hz), windows and amplitudes as in `features/spectrum.py` or, folded from a
    constant-Q transform, in `features/constant_q.py`. Class 0 is C, 9 is A
    (A4 is 440 Hz: audio is taken as it is). Every frame has norm 1, except that silence is all zeros.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_musicssl.audio.frames import ENCODER_GRID, SAMPLE_RATE, FrameGrid
from ray_musicssl.config.harmony import ChromaConfig
from ray_musicssl.features.computed import Computed
from ray_musicssl.features.constant_q import ConstantQ
from ray_musicssl.features.spectrum import CentredBands, fft_size

NUM_CLASSES = 12
ORDERS = {"euclidean": 2.0, "max": float("inf"), "sum": 1.0}  # of the norms that a section names
# By compression, then norm; measured on the demo's music and on recordings, which differ by at most 6 %.
SPREADS = {
    "log": {"euclidean": 0.18, "max": 0.54, "sum": 0.055},
    "amplitude": {"euclidean": 0.52, "max": 0.93, "sum": 0.205},
    "power": {"euclidean": 0.74, "max": 1.0, "sum": 0.385},
}


class Chroma(Computed):
    """12 pitch classes, C first."""

    name: str = "chroma"
    dim: int = NUM_CLASSES
    grid: FrameGrid = ENCODER_GRID

    def __init__(self, config: ChromaConfig) -> None:
        super().__init__()
        self._classes = _FoldedNotes(config) if config.spectrum == "cqt" else _folded_bins(config)
        self.spread = SPREADS[config.compression][config.norm]
        self._compression = config.compression
        self._order = ORDERS[config.norm]

    @classmethod
    def from_config(cls, config: ChromaConfig) -> "Chroma":
        """The feature that a config section describes."""
        return cls(config)

    def frames(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Frames of a float32 batch, both on the feature's device."""
        frames = self._classes(waveform)
        if self._compression != "power":
            frames = frames.sqrt_()
        if self._compression == "log":
            frames = frames.log1p_()
        norms = torch.linalg.vector_norm(frames, ord=self._order, dim=-1, keepdim=True)
        return frames.div_(norms.clamp_(min=torch.finfo(torch.float32).tiny))


class _FoldedNotes(nn.Module):
    """The powers of a constant-Q transform, the same note of all octaves added."""

    _fold: Tensor

    def __init__(self, config: ChromaConfig) -> None:
        super().__init__()
        classes = torch.arange(config.lowest_midi, config.highest_midi + 1) % NUM_CLASSES
        self._notes = ConstantQ(config.lowest_midi, len(classes), bins_per_octave=12)
        self.register_buffer("_fold", torch.eye(NUM_CLASSES)[classes], persistent=False)

    def forward(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames classes"]:
        return self._notes(waveform) @ self._fold


def _folded_bins(config: ChromaConfig) -> CentredBands:
    size = fft_size(config.window_s)
    return CentredBands(chroma_bands(size, config.lowest_midi, config.highest_midi), size)


def chroma_bands(size: int, lowest_midi: int, highest_midi: int) -> Float[Tensor, "bins classes"]:
    """The share of each FFT bin in each pitch class.

    A bin belongs to the classes near its pitch by a bell of half a semitone, or of half a bin in the bass, where bins lie
    further apart than semitones; its shares have length 1. Bins beyond the outer notes have none.

    Source: D. P. W. Ellis's chroma by FFT bins; equal to librosa.filters.chroma without its weighting of octaves.
    """
    hertz = torch.arange(1, size // 2 + 2, dtype=torch.float64) * (SAMPLE_RATE / size)
    notes = 69 + 12 * torch.log2(hertz / 440.0)
    spacing = notes.diff().clamp(min=1)[:, None]
    notes = notes[:-1, None]
    half = NUM_CLASSES / 2
    distance = (notes - torch.arange(NUM_CLASSES, dtype=torch.float64) + half) % NUM_CLASSES - half  # in semitones
    shares = torch.exp(-2 * (distance / spacing).square())
    shares /= torch.linalg.vector_norm(shares, dim=1, keepdim=True)
    shares *= (notes >= lowest_midi - 0.5) & (notes <= highest_midi + 0.5)
    return torch.cat([shares.new_zeros(1, NUM_CLASSES), shares])  # bin 0 has no pitch
