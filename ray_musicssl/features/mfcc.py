"""Kaldi's MFCC with first and second differences, by batched FFT.

Conventions:
    Frame t is made of samples [160 t, 160 t + 400): 100 Hz, edges snipped, no dither, no mean or variance normalisation.
    The waveform stays in [-1, 1]; it is not scaled to int16 first.

Source: Kaldi's compute-mfcc-feats at its defaults, without energy; equal to torchaudio.compliance.kaldi.mfcc.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ray_musicssl.audio.frames import MFCC_GRID, SAMPLE_RATE, FrameGrid
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.errors import ConfigError

NUM_MEL_BANDS = 23
LOWEST_HZ = 20.0
FFT_SIZE = 512  # the next power of two above a frame of 400 samples
PRE_EMPHASIS = 0.97
LIFTER = 22.0
LOG_FLOOR = torch.finfo(torch.float32).eps
CHUNK_FRAMES = 256  # 0.5 MB of padded frames: they stay in cache, and a 30 s clip needs no more memory than a short one


class Mfcc:
    """Cepstra, their deltas and the deltas' deltas: 39 dimensions with 13 cepstra, 60 with 20."""

    name: str = "mfcc"
    grid: FrameGrid = MFCC_GRID

    def __init__(self, num_coefficients: int = 13) -> None:
        if not 1 <= num_coefficients <= NUM_MEL_BANDS:
            raise ConfigError(
                f"num_coefficients={num_coefficients} must be between 1 and {NUM_MEL_BANDS}, the number of mel bands"
            )
        self.dim = 3 * num_coefficients
        self._window = _povey_window(self.grid.receptive_field).float()
        bands = _mel_bands()
        # Real and imaginary parts lie side by side in memory; giving each the weight of its bin lets one matrix product
        # square-sum them and apply the bands.
        self._paired_bands = bands.repeat_interleave(2, dim=0).float()
        self._cosines = (_dct(NUM_MEL_BANDS, num_coefficients) * _lifter(num_coefficients)).float()

    @classmethod
    def from_config(cls, config: MfccConfig) -> "Mfcc":
        """The feature that a config section describes."""
        return cls(num_coefficients=config.num_coefficients)

    @torch.no_grad()
    def __call__(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames dim"]:
        """Frames `[T, dim]` of one waveform in [-1, 1], or `[B, T, dim]` of a batch; T is 0 below 400 samples."""
        batch = waveform.reshape(waveform.shape[:-1].numel(), waveform.shape[-1]).float()
        cepstra = self._cepstra(batch)
        first = _deltas(cepstra)
        frames = torch.cat([cepstra, first, _deltas(first)], dim=-1)
        return frames.reshape(*waveform.shape[:-1], *frames.shape[1:])

    def _cepstra(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames coefficients"]:
        size, hop = self.grid.receptive_field, self.grid.hop_length
        num_clips, num_frames = len(waveform), self.grid.num_frames(waveform.shape[-1])
        cepstra = torch.empty(num_clips, num_frames, self._cosines.shape[1])
        if cepstra.numel() == 0:
            return cepstra
        # A frame loses its mean m and is then pre-emphasised: (x[i] - m) - 0.97 (x[i-1] - m) = (x[i] - 0.97 x[i-1]) - 0.03 m.
        # So the filter can run once over the whole waveform. Kaldi repeats a frame's first sample before it, but the
        # window is zero there, so what precedes a frame does not matter.
        emphasized = waveform.clone()
        emphasized[:, 1:].sub_(waveform[:, :-1], alpha=PRE_EMPHASIS)
        frames, raw_frames = emphasized.unfold(-1, size, hop), waveform.unfold(-1, size, hop)
        mean_weights = self._window * (PRE_EMPHASIS - 1)
        chunk = max(1, CHUNK_FRAMES // num_clips)
        padded = torch.zeros(num_clips, min(chunk, num_frames), FFT_SIZE)
        for start in range(0, num_frames, chunk):
            span = slice(start, min(start + chunk, num_frames))
            buffer = padded[:, : span.stop - span.start]
            torch.mul(frames[:, span], self._window, out=buffer[..., :size])
            buffer[..., :size].addcmul_(raw_frames[:, span].mean(dim=-1, keepdim=True), mean_weights)
            squares = torch.view_as_real(torch.fft.rfft(buffer)).square_().flatten(-2)  # [batch, chunk, 2 * bins]
            energies = (squares @ self._paired_bands).clamp_(min=LOG_FLOOR).log_()
            cepstra[:, span] = energies @ self._cosines
        return cepstra


def _deltas(frames: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
    """Slope over five frames, the first and last frame repeated beyond the ends."""
    if frames.shape[1] == 0:
        return frames
    padded = torch.cat([frames[:, :1].expand(-1, 2, -1), frames, frames[:, -1:].expand(-1, 2, -1)], dim=1)
    near, far = padded[:, 3:-1] - padded[:, 1:-3], padded[:, 4:] - padded[:, :-4]
    return near.add_(far, alpha=2).div_(10)  # 10 = 2 * (1 + 4)


def _povey_window(size: int) -> Float[Tensor, " samples"]:
    """A symmetric Hann window to the power 0.85; zero at both ends."""
    return torch.hann_window(size, periodic=False, dtype=torch.float64).pow(0.85)


def _mel(hertz: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _mel_bands() -> Float[Tensor, "bins bands"]:
    """Triangles, linear in mel, from 20 Hz to half the sample rate, of which the last bin has no share."""
    bins = torch.arange(FFT_SIZE // 2 + 1, dtype=torch.float64) * (SAMPLE_RATE / FFT_SIZE)
    limits = _mel(torch.tensor([LOWEST_HZ, SAMPLE_RATE / 2], dtype=torch.float64))
    edges = torch.linspace(float(limits[0]), float(limits[1]), NUM_MEL_BANDS + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    mels = _mel(bins)[:, None]
    weights = torch.minimum((mels - left) / (centre - left), (right - mels) / (right - centre)).clamp_(min=0)
    weights[-1] = 0
    return weights


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
