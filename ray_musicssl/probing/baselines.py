"""Features made by hand, probed like an encoder: what a model has to beat.

Conventions:
    One layer. Pooled: the mean and then the standard deviation of every dimension over time. Frames lie on the encoder's
    grid (50 Hz); of MFCC's 100 Hz frames every second one is taken, which sees the same samples as the encoder's frame.
"""

import numpy as np
import soxr
import torch
from jaxtyping import Float32
from torch import Tensor

from ray_musicssl.audio.frames import ENCODER_GRID, MFCC_GRID, SAMPLE_RATE
from ray_musicssl.config.feature import MfccConfig, SemitoneConfig
from ray_musicssl.features.mfcc import Mfcc
from ray_musicssl.features.semitone import Semitone
from ray_musicssl.probing.features import Pool
from ray_musicssl.run_dir import hash_of

NUM_COEFFICIENTS = 13
_VERSION = 1  # raise when the same audio gives other numbers: caches are filed under it


class MfccFeatures:
    """MFCC with deltas, 39 dimensions a frame."""

    name = "mfcc"
    num_layers = 1
    frame_rate = ENCODER_GRID.frame_rate

    def __init__(self) -> None:
        self._mfcc = Mfcc(num_coefficients=NUM_COEFFICIENTS)
        self.content_hash = hash_of({"name": self.name, "version": _VERSION, "parts": self._settings()})
        self.dim = 2 * self._frames(torch.zeros(SAMPLE_RATE)).shape[1]  # pooled; a frame has half as many

    def embed(
        self, waveform: Float32[np.ndarray, "*channels samples"], sample_rate: int, *, pool: Pool = None
    ) -> Float32[np.ndarray, "1 *frames dim"]:
        """Frames `[1, T, dim / 2]`, or `[1, dim]` with the mean and spread over time.

        Raises:
            ValueError: if the audio is shorter than one frame (25 ms).
        """
        mono = waveform.mean(axis=0) if waveform.ndim > 1 else waveform
        if sample_rate != SAMPLE_RATE:
            mono = soxr.resample(mono, sample_rate, SAMPLE_RATE)
        if ENCODER_GRID.num_frames(len(mono)) == 0:
            raise ValueError(
                f"{len(waveform.T)} samples at {sample_rate} Hz are shorter than one frame of "
                f"{ENCODER_GRID.receptive_field / SAMPLE_RATE * 1000:.0f} ms"
            )
        frames = self._frames(torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32)))
        if pool is None:
            return frames[None].numpy()
        return torch.cat([frames.mean(dim=0), frames.std(dim=0, correction=0)])[None].numpy()

    def _settings(self) -> list[dict[str, object]]:
        return [MfccConfig(num_coefficients=NUM_COEFFICIENTS).model_dump()]

    def _frames(self, waveform: Tensor) -> Tensor:
        return self._mfcc(waveform)[:: ENCODER_GRID.hop_length // MFCC_GRID.hop_length]


class MfccSemitoneFeatures(MfccFeatures):
    """MFCC and the semitone spectrum side by side, 99 dimensions a frame."""

    name = "mfcc+semitone"

    def __init__(self) -> None:
        self._semitone = Semitone()
        super().__init__()

    def _settings(self) -> list[dict[str, object]]:
        return [*super()._settings(), SemitoneConfig().model_dump()]

    def _frames(self, waveform: Tensor) -> Tensor:
        return torch.cat([super()._frames(waveform), self._semitone(waveform)], dim=1)
