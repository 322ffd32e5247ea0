"""Powers in bands of the short-time spectrum, on the encoder's grid: what the features that hear harmony share.

Conventions:
    The window of frame t is centred on sample 320 t + 200, the middle of what encoder frame t sees; beyond the ends of the
    clip there are zeros.
    Amplitudes are scaled so that a sine of amplitude 0.001 (60 dB below full scale) gives a bin of 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from ray_musicssl.audio.frames import ENCODER_GRID, seconds_to_samples

# A partial of amplitude 0.001 sits at the knee of log1p: louder counts by its logarithm, softer fades.
GAIN = 1000.0
CHUNK_FRAMES = 64  # 1 MB of windowed samples at the default window: they stay in cache


def fft_size(window_s: float) -> int:
    """Samples in a window of `window_s` seconds: an even number, so that its middle is a sample."""
    return 2 * seconds_to_samples(window_s / 2)


class CentredBands(nn.Module):
    """Powers in bands of FFT bins under a Hann window."""

    _window: Tensor
    _paired_bands: Tensor

    def __init__(self, bands: Float[Tensor, "bins bands"], size: int) -> None:
        """Take the bands.

        Args:
            bands: the weight of each bin of a real FFT of `size` samples in each band.
            size: of the window, even.
        """
        super().__init__()
        self._half = size // 2
        # The periodic window is symmetric around its middle sample, which is where the frame's centre goes.
        window = torch.hann_window(size, periodic=True, dtype=torch.float64)
        used = bands.sum(dim=1).nonzero().flatten()
        self._first_bin, self._last_bin = int(used[0]), int(used[-1])
        # Real and imaginary parts lie side by side in memory; giving each the weight of its bin lets one matrix product
        # square-sum them and apply the bands.
        paired = bands[self._first_bin : self._last_bin + 1].repeat_interleave(2, dim=0)
        self.register_buffer("_window", (window * (GAIN * 2 / window.sum())).float(), persistent=False)
        self.register_buffer("_paired_bands", paired.float(), persistent=False)

    def forward(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames bands"]:
        """The powers of the encoder's frames."""
        num_clips, num_frames = len(waveform), ENCODER_GRID.num_frames(waveform.shape[-1])
        powers = waveform.new_empty(num_clips, num_frames, self._paired_bands.shape[1])
        if powers.numel() == 0:
            return powers
        windows = self._windows(waveform, num_frames)
        chunk = max(1, CHUNK_FRAMES // num_clips)
        for start in range(0, num_frames, chunk):
            span = slice(start, min(start + chunk, num_frames))
            spectrum = torch.fft.rfft(windows[:, span] * self._window)[..., self._first_bin : self._last_bin + 1]
            squares = torch.view_as_real(spectrum).square().flatten(-2)  # [batch, chunk, 2 * bins]
            powers[:, span] = squares @ self._paired_bands
        return powers

    def _windows(self, waveform: Float[Tensor, "batch samples"], num_frames: int) -> Float[Tensor, "batch frames win"]:
        """A view of the stretches of samples around each frame's centre."""
        size, hop = 2 * self._half, ENCODER_GRID.hop_length
        before = self._half - ENCODER_GRID.receptive_field // 2
        after = size + (num_frames - 1) * hop - before - waveform.shape[-1]
        return pad(waveform, (before, after)).unfold(-1, size, hop)
