"""Features made by hand, probed like an encoder: what a model has to beat.

Conventions:
    One layer. Frames lie on the encoder's grid (50 Hz); of MFCC's 100 Hz frames every second one is taken, which sees the
    same samples as the encoder's frame.
"""

from collections.abc import Sequence

import numpy as np
import soxr
import torch
from jaxtyping import Float32
from torch import Tensor

from ray_musicssl.audio.frames import ENCODER_GRID, MFCC_GRID, SAMPLE_RATE
from ray_musicssl.config.feature import MfccConfig, SemitoneConfig
from ray_musicssl.config.feature_section import FeatureSection
from ray_musicssl.config.harmony import ChromaConfig
from ray_musicssl.features.chroma import Chroma
from ray_musicssl.features.mfcc import Mfcc
from ray_musicssl.features.semitone import Semitone
from ray_musicssl.probing.features import Pool, pooled
from ray_musicssl.run_dir import hash_of

NUM_COEFFICIENTS = 13
_VERSION = 1  # raise when the same audio gives other numbers: caches are filed under it


class HandMadeFeatures:
    """What hand-made features share: frames of one kind on the encoder's grid."""

    name: str
    num_layers = 1
    seed = None
    frame_rate = ENCODER_GRID.frame_rate

    def __init__(self, parts: Sequence[FeatureSection]) -> None:
        """Name the features.

        Args:
            parts: the settings of the features that lie side by side in a frame; they make the hash.
        """
        identity = {"name": self.name, "version": _VERSION, "parts": [part.model_dump() for part in parts]}
        self.content_hash = hash_of(identity)
        self.dim = self._frames(torch.zeros(SAMPLE_RATE)).shape[1]

    def embed(
        self, waveform: Float32[np.ndarray, "*channels samples"], sample_rate: int, *, pool: Pool = None
    ) -> Float32[np.ndarray, "1 *frames dim"]:
        """Frames `[1, T, dim]`, or `[1, pooled_dim]` with their statistics over time.

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
        frames = self._frames(torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32)))[None].numpy()
        return frames if pool is None else pooled(frames, pool)

    def _frames(self, waveform: Float32[Tensor, " samples"]) -> Float32[Tensor, "frames dim"]:
        raise NotImplementedError


class MfccFeatures(HandMadeFeatures):
    """MFCC with deltas, 39 dimensions a frame."""

    name = "mfcc"

    def __init__(self) -> None:
        self._mfcc = Mfcc(num_coefficients=NUM_COEFFICIENTS)
        super().__init__([MfccConfig(num_coefficients=NUM_COEFFICIENTS)])

    def _frames(self, waveform: Float32[Tensor, " samples"]) -> Float32[Tensor, "frames dim"]:
        return _every_second(self._mfcc(waveform))


class ChromaFeatures(HandMadeFeatures):
    """The energy in the 12 pitch classes."""

    name = "chroma"

    def __init__(self) -> None:
        config = ChromaConfig()
        self._chroma = Chroma(config)
        super().__init__([config])

    def _frames(self, waveform: Float32[Tensor, " samples"]) -> Float32[Tensor, "frames dim"]:
        return self._chroma(waveform)


class MfccSemitoneFeatures(HandMadeFeatures):
    """MFCC and the semitone spectrum side by side, 99 dimensions a frame."""

    name = "mfcc+semitone"

    def __init__(self) -> None:
        self._mfcc = Mfcc(num_coefficients=NUM_COEFFICIENTS)
        self._semitone = Semitone()
        super().__init__([MfccConfig(num_coefficients=NUM_COEFFICIENTS), SemitoneConfig()])

    def _frames(self, waveform: Float32[Tensor, " samples"]) -> Float32[Tensor, "frames dim"]:
        return torch.cat([_every_second(self._mfcc(waveform)), self._semitone(waveform)], dim=1)


def _every_second(frames: Float32[Tensor, "frames dim"]) -> Float32[Tensor, "_ dim"]:
    return frames[:: ENCODER_GRID.hop_length // MFCC_GRID.hop_length]
