"""The constant-Q transform: every bin hears the same number of cycles, low notes long, high notes short.

Conventions:
    Frames lie on the encoder's grid (50 Hz): the kernels of frame t are centred on sample 320 t + 200, the middle of what
    encoder frame t sees; beyond the ends of the clip there are zeros.
    Amplitudes are scaled so that a sine of amplitude 0.001 gives 1 in the bin of its frequency (`spectrum.GAIN`).

The waveform is halved in rate again and again; each bin is heard at the lowest rate that still holds its band, so that an
octave's kernels are some dozens of samples long and a frame of them is one small matrix product.

Source: J. C. Brown's transform at the lengths of librosa.cqt: Q = filter_scale (r^2 + 1) / (r^2 - 1), r the step to the next
bin; Hann windows.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from ray_musicssl.audio.frames import ENCODER_GRID, SAMPLE_RATE
from ray_musicssl.features.spectrum import GAIN

PASSBAND = 0.8  # of half the halved rate: what the halving filter leaves as it is
STOPBAND_DB = 90.0
DEEPEST = 6  # halvings; 320 = 64 * 5, so that a hop stays a whole number of samples
BLOCK = 64  # samples after halving that one row of the filter's matrix gives


class ConstantQ(nn.Module):
    """Powers of `num_bins` bins, `bins_per_octave` an octave, from MIDI note `lowest_midi` up."""

    def __init__(self, lowest_midi: int, num_bins: int, bins_per_octave: int, filter_scale: float = 1.0) -> None:
        super().__init__()
        self.num_bins = num_bins
        ratio = 2 ** (2 / bins_per_octave)
        quality = filter_scale * (ratio + 1) / (ratio - 1)
        steps = torch.arange(num_bins, dtype=torch.float64) / bins_per_octave
        hertz = 440.0 * 2 ** ((lowest_midi - 69) / 12 + steps)
        depths = _halvings(hertz * (1 + 2 / quality))  # to the edge of the main lobe of a Hann window
        self._octaves = nn.ModuleList(
            _Octave(hertz[depths == depth], quality, depth) for depth in range(int(depths.min()), int(depths.max()) + 1)
        )
        self._halve = _Halving()

    def forward(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames bins"]:
        """The powers of the encoder's frames."""
        num_frames = ENCODER_GRID.num_frames(waveform.shape[-1])
        powers = waveform.new_empty(len(waveform), num_frames, self.num_bins)
        if powers.numel() == 0:
            return powers
        depth, end = 0, self.num_bins
        for octave in self._octaves:  # the highest first
            assert isinstance(octave, _Octave)
            while depth < octave.depth:
                waveform, depth = self._halve(waveform), depth + 1
            start = end - octave.num_bins
            powers[..., start:end] = octave(waveform, num_frames)
            end = start
        return powers


class _Octave(nn.Module):
    """The bins that are heard at one rate."""

    _kernels: Tensor

    def __init__(self, hertz: Float[Tensor, " bins"], quality: float, depth: int) -> None:
        super().__init__()
        self.depth, self.num_bins = depth, len(hertz)
        rate = SAMPLE_RATE / 2**depth
        self._hop = ENCODER_GRID.hop_length // 2**depth
        centre = ENCODER_GRID.receptive_field / 2 / 2**depth  # of frame 0, in samples, perhaps between two
        self._half = math.ceil(quality * rate / float(hertz.min()) / 2)
        self._start = math.floor(centre) - self._half
        size = 2 * self._half + 2
        time = torch.arange(size, dtype=torch.float64)[:, None] + (self._start - centre)
        lengths = quality * rate / hertz
        windows = torch.where(time.abs() < lengths / 2, 1 + torch.cos(2 * math.pi * time / lengths), 0.0)
        windows *= 2 * GAIN / windows.sum(dim=0)
        phases = 2 * math.pi * hertz / rate * time
        kernels = torch.cat([windows * torch.cos(phases), windows * torch.sin(phases)], dim=1)
        self.register_buffer("_kernels", kernels.float(), persistent=False)

    def forward(self, waveform: Float[Tensor, "batch samples"], num_frames: int) -> Float[Tensor, "batch frames bins"]:
        size = len(self._kernels)
        after = self._start + (num_frames - 1) * self._hop + size - waveform.shape[-1]
        frames = pad(waveform, (-self._start, after)).unfold(-1, size, self._hop)
        squares = (frames @ self._kernels).square_()  # [batch, frames, 2 * bins]
        return squares[..., : self.num_bins] + squares[..., self.num_bins :]


class _Halving(nn.Module):
    """Half the sample rate: sample n of the result lies where sample 2 n was."""

    _matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = _low_pass()
        self._reach = len(taps) // 2
        # One row of 2 BLOCK + taps - 2 samples gives BLOCK of the result: a matrix product instead of a convolution.
        matrix = torch.zeros(2 * (BLOCK - 1) + len(taps), BLOCK, dtype=torch.float64)
        for column in range(BLOCK):
            matrix[2 * column : 2 * column + len(taps), column] = taps
        self.register_buffer("_matrix", matrix.float(), persistent=False)

    def forward(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch halved"]:
        num_samples = (waveform.shape[-1] + 1) // 2
        num_rows = -(-num_samples // BLOCK)
        size = len(self._matrix)
        after = (num_rows - 1) * 2 * BLOCK + size - self._reach - waveform.shape[-1]
        rows = pad(waveform, (self._reach, after)).unfold(-1, size, 2 * BLOCK)
        return (rows @ self._matrix).flatten(-2)[..., :num_samples]


def _halvings(highest_hertz: Float[Tensor, " bins"]) -> Tensor:
    """How often the rate can be halved with a bin's band still in the passband."""
    room = torch.log2(PASSBAND * SAMPLE_RATE / 2 / highest_hertz)
    return room.floor().clamp(0, DEEPEST).long()


def _low_pass() -> Float[Tensor, " taps"]:
    """A Kaiser-windowed sinc at a quarter of the rate, an odd number of taps that sum to 1.

    Source: Kaiser's formulas for the window's shape and length.
    """
    width = math.pi * (1 - PASSBAND)  # from the last kept frequency to the first that folds onto a kept one
    reach = math.ceil((STOPBAND_DB - 7.95) / (2.285 * width) / 2)
    time = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.sinc(time / 2) * torch.kaiser_window(
        2 * reach + 1, periodic=False, beta=0.1102 * (STOPBAND_DB - 8.7), dtype=torch.float64
    )
    return taps / taps.sum()
