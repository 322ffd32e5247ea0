"""The spectrum in semitone bands: which notes sound, whatever the loudness.

Conventions:
    Frames lie on the encoder's grid (50 Hz), windows and amplitudes as in `features/spectrum.py`.
    Band i is MIDI note `lowest_midi + i` (69 is A4, 440 Hz). Every frame has length 1, except that silence is all zeros.

Source: our own study in miniature, docs/targets.md.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ray_musicssl.audio.frames import ENCODER_GRID, SAMPLE_RATE, FrameGrid
from ray_musicssl.config.harmony import HIGHEST_MIDI, SemitoneConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.features.computed import Computed
from ray_musicssl.features.spectrum import CentredBands, fft_size


class Semitone(Computed):
    """Log amplitudes of `num_semitones` bands, one a semitone, with unit norm."""

    name: str = "semitone"
    grid: FrameGrid = ENCODER_GRID
    spread: float = 0.42  # measured: 0.455 on the demo's music, 0.383 on recordings

    def __init__(self, lowest_midi: int = 33, num_semitones: int = 60, window_s: float = 0.256) -> None:
        super().__init__()
        if lowest_midi + num_semitones - 1 > HIGHEST_MIDI:
            raise ConfigError(
                f"lowest_midi={lowest_midi} and num_semitones={num_semitones} reach MIDI note "
                f"{lowest_midi + num_semitones - 1}; {HIGHEST_MIDI} is the last below 8 kHz"
            )
        self.dim = num_semitones
        size = fft_size(window_s)
        self._bands = CentredBands(_semitone_bands(size, lowest_midi, num_semitones), size)

    @classmethod
    def from_config(cls, config: SemitoneConfig) -> "Semitone":
        """The feature that a config section describes."""
        return cls(config.lowest_midi, config.num_semitones, config.window_s)

    def frames(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames dim"]:
        """Frames of a float32 batch, both on the feature's device."""
        return normalize(self._bands(waveform).sqrt_().log1p_(), dim=-1)


def _semitone_bands(size: int, lowest_midi: int, num_semitones: int) -> Float[Tensor, "bins bands"]:
    """Triangles over FFT bins: a semitone to each side, or a whole bin where notes are closer together than bins.

    So every band reaches at least one bin, and neighbours in the bass share bins in proportion to their distance.
    """
    bins = torch.arange(size // 2 + 1, dtype=torch.float64)[:, None]
    notes = torch.arange(lowest_midi, lowest_midi + num_semitones, dtype=torch.float64)
    centres = 440.0 * 2 ** ((notes - 69) / 12) * size / SAMPLE_RATE  # in bins, fractional
    half_widths = (centres * (2 ** (1 / 12) - 1)).clamp(min=1)
    return (1 - (bins - centres).abs() / half_widths).clamp(min=0)
