"""Kaldi's log mel spectrum, by batched FFT: what MFCC and log-mel share.

Conventions:
    Frame t is made of samples [160 t, 160 t + 400): 100 Hz, edges snipped, no dither, no mean or variance normalisation.
    The waveform stays in [-1, 1]; it is not scaled to int16 first.

Source: Kaldi's compute-fbank-feats at its defaults, without energy; equal to torchaudio.compliance.kaldi.fbank.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_musicssl.audio.frames import MFCC_GRID, SAMPLE_RATE

LOWEST_HZ = 20.0
FFT_SIZE = 512  # the next power of two above a frame of 400 samples
PRE_EMPHASIS = 0.97
LOG_FLOOR = torch.finfo(torch.float32).eps
CHUNK_FRAMES = 256  # 0.5 MB of padded frames: they stay in cache, and a 30 s clip needs no more memory than a short one


class KaldiBands(nn.Module):
    """Logarithms of the energies in `num_bands` triangles from 20 Hz to 8 kHz, equally wide in mel."""

    _window: Tensor
    _mean_weights: Tensor
    _paired_bands: Tensor

    def __init__(self, num_bands: int) -> None:
        super().__init__()
        window = _povey_window(MFCC_GRID.receptive_field).float()
        # Real and imaginary parts lie side by side in memory; giving each the weight of its bin lets one matrix product
        # square-sum them and apply the bands.
        paired = mel_bands(num_bands).repeat_interleave(2, dim=0).float()
        self.register_buffer("_window", window, persistent=False)
        self.register_buffer("_mean_weights", window * (PRE_EMPHASIS - 1), persistent=False)
        self.register_buffer("_paired_bands", paired, persistent=False)

    def forward(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch frames bands"]:
        """The log energies of the frames of each row."""
        size, hop = MFCC_GRID.receptive_field, MFCC_GRID.hop_length
        num_clips, num_frames = len(waveform), MFCC_GRID.num_frames(waveform.shape[-1])
        energies = waveform.new_empty(num_clips, num_frames, self._paired_bands.shape[1])
        if energies.numel() == 0:
            return energies
        # A frame loses its mean m and is then pre-emphasised: (x[i] - m) - 0.97 (x[i-1] - m) = (x[i] - 0.97 x[i-1]) - 0.03 m.
        # So the filter can run once over the whole waveform. Kaldi repeats a frame's first sample before it, but the
        # window is zero there, so what precedes a frame does not matter.
        emphasized = waveform.clone()
        emphasized[:, 1:].sub_(waveform[:, :-1], alpha=PRE_EMPHASIS)
        frames, raw_frames = emphasized.unfold(-1, size, hop), waveform.unfold(-1, size, hop)
        chunk = max(1, CHUNK_FRAMES // num_clips)
        padded = waveform.new_zeros(num_clips, min(chunk, num_frames), FFT_SIZE)
        for start in range(0, num_frames, chunk):
            span = slice(start, min(start + chunk, num_frames))
            buffer = padded[:, : span.stop - span.start]
            torch.mul(frames[:, span], self._window, out=buffer[..., :size])
            buffer[..., :size].addcmul_(raw_frames[:, span].mean(dim=-1, keepdim=True), self._mean_weights)
            squares = torch.view_as_real(torch.fft.rfft(buffer)).square_().flatten(-2)  # [batch, chunk, 2 * bins]
            energies[:, span] = (squares @ self._paired_bands).clamp_(min=LOG_FLOOR).log_()
        return energies


def _povey_window(size: int) -> Float[Tensor, " samples"]:
    """A symmetric Hann window to the power 0.85; zero at both ends."""
    return torch.hann_window(size, periodic=False, dtype=torch.float64).pow(0.85)


def _mel(hertz: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    return 1127.0 * torch.log1p(hertz / 700.0)


def mel_bands(num_bands: int) -> Float[Tensor, "bins bands"]:
    """Triangles, linear in mel, from 20 Hz to half the sample rate, of which the last bin has no share."""
    bins = torch.arange(FFT_SIZE // 2 + 1, dtype=torch.float64) * (SAMPLE_RATE / FFT_SIZE)
    limits = _mel(torch.tensor([LOWEST_HZ, SAMPLE_RATE / 2], dtype=torch.float64))
    edges = torch.linspace(float(limits[0]), float(limits[1]), num_bands + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    mels = _mel(bins)[:, None]
    weights = torch.minimum((mels - left) / (centre - left), (right - mels) / (right - centre)).clamp_(min=0)
    weights[-1] = 0
    return weights
