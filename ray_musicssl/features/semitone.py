"""The spectrum in semitone bands: which notes sound, whatever the loudness.

Conventions:
    Frames lie on the encoder's grid (50 Hz). The window of frame t is centred on sample 320 t + 200, the middle of what
    encoder frame t sees; beyond the ends of the clip there are zeros.
    Band i is MIDI note `lowest_midi + i` (69 is A4, 440 Hz). Every frame has length 1, except that silence is all zeros.

Source: our own small-scale study (docs): such labels beside MFCC labels teach harmony, which MFCC discards.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, pad

from ray_musicssl.audio.frames import ENCODER_GRID, SAMPLE_RATE, FrameGrid, seconds_to_samples
from ray_musicssl.config.feature import HIGHEST_MIDI, SemitoneConfig
from ray_musicssl.errors import ConfigError

# A partial of amplitude 0.001 (60 dB below full scale) sits at the knee of log1p: louder counts by its logarithm, softer fades.
GAIN = 1000.0
CHUNK_FRAMES = 64  # 1 MB of windowed samples at the default window: they stay in cache


class Semitone:
    """Log amplitudes of `num_semitones` bands, one a semitone, with unit norm."""

    name: str = "semitone"
    grid: FrameGrid = ENCODER_GRID

    def __init__(self, lowest_midi: int = 33, num_semitones: int = 60, window_s: float = 0.256) -> None:
        if lowest_midi + num_semitones - 1 > HIGHEST_MIDI:
            raise ConfigError(
                f"lowest_midi={lowest_midi} and num_semitones={num_semitones} reach MIDI note "
                f"{lowest_midi + num_semitones - 1}; {HIGHEST_MIDI} is the last below 8 kHz"
            )
        self.dim = num_semitones
        self._half = seconds_to_samples(window_s / 2)
        size = 2 * self._half
        # The periodic window is symmetric around its middle sample, which is where the frame's centre goes.
        window = torch.hann_window(size, periodic=True, dtype=torch.float64)
        self._window = (window * (GAIN * 2 / window.sum())).float()  # a sine of amplitude 1 gives a bin of GAIN
        bands = _semitone_bands(size, lowest_midi, num_semitones)
        self._first_bin, self._last_bin = _used_bins(bands)
        self._paired_bands = bands[self._first_bin : self._last_bin + 1].repeat_interleave(2, dim=0).float()

    @classmethod
    def from_config(cls, config: SemitoneConfig) -> "Semitone":
        """The feature that a config section describes."""
        return cls(config.lowest_midi, config.num_semitones, config.window_s)

    @torch.no_grad()
    def __call__(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames dim"]:
        """Frames `[T, dim]` of one waveform in [-1, 1], or `[B, T, dim]` of a batch; T is the encoder's frame count."""
        batch = waveform.reshape(waveform.shape[:-1].numel(), waveform.shape[-1]).float()
        num_clips, num_frames = len(batch), self.grid.num_frames(batch.shape[-1])
        frames = torch.empty(num_clips, num_frames, self.dim)
        if frames.numel() > 0:
            windows = self._windows(batch, num_frames)
            chunk = max(1, CHUNK_FRAMES // num_clips)
            for start in range(0, num_frames, chunk):
                span = slice(start, min(start + chunk, num_frames))
                spectrum = torch.fft.rfft(windows[:, span] * self._window)[..., self._first_bin : self._last_bin + 1]
                squares = torch.view_as_real(spectrum).square().flatten(-2)  # [batch, chunk, 2 * bins]
                frames[:, span] = squares @ self._paired_bands
        frames = frames.sqrt_().log1p_()
        frames = normalize(frames, dim=-1)
        return frames.reshape(*waveform.shape[:-1], *frames.shape[1:])

    def _windows(self, batch: Float[Tensor, "batch samples"], num_frames: int) -> Float[Tensor, "batch frames window"]:
        """A view of the stretches of samples around each frame's centre."""
        size, hop = 2 * self._half, self.grid.hop_length
        before = self._half - self.grid.receptive_field // 2
        after = size + (num_frames - 1) * hop - before - batch.shape[-1]
        return pad(batch, (before, after)).unfold(-1, size, hop)


def _semitone_bands(fft_size: int, lowest_midi: int, num_semitones: int) -> Float[Tensor, "bins bands"]:
    """Triangles over FFT bins: a semitone to each side, or a whole bin where notes are closer together than bins.

    So every band reaches at least one bin, and neighbours in the bass share bins in proportion to their distance.
    """
    bins = torch.arange(fft_size // 2 + 1, dtype=torch.float64)[:, None]
    notes = torch.arange(lowest_midi, lowest_midi + num_semitones, dtype=torch.float64)
    centres = 440.0 * 2 ** ((notes - 69) / 12) * fft_size / SAMPLE_RATE  # in bins, fractional
    half_widths = (centres * (2 ** (1 / 12) - 1)).clamp(min=1)
    return (1 - (bins - centres).abs() / half_widths).clamp(min=0)


def _used_bins(bands: Float[Tensor, "bins bands"]) -> tuple[int, int]:
    """The first and the last bin that some band uses."""
    used = bands.sum(dim=1).nonzero().flatten()
    return int(used[0]), int(used[-1])
