"""From decoded blocks to clips: down-mix, resample, quantise and cut, block by block.

Conventions:
    Decoded audio is float32 `[frames, channels]`, full scale 1. What leaves is int16 at `SAMPLE_RATE`, full scale 2^15.
    A block is dropped as soon as it is cut, so that memory does not depend on the length of the file.
"""

import hashlib
import math
from collections.abc import Callable

import numpy as np
import soxr
from jaxtyping import Float32, Int16

from ray_musicssl.audio.frames import SAMPLE_RATE, samples_to_seconds
from ray_musicssl.audio.shard import FULL_SCALE, Clip

# Float files may hold anything; beyond 24 dB over full scale one sample would drown its neighbours in the resampler.
_LOUDEST = 16.0


class MonoResampler:
    """Turns blocks of any rate and any number of channels into mono float32 at `SAMPLE_RATE`."""

    def __init__(self, sample_rate: int) -> None:
        self.nan_samples = 0
        self._stream = (
            soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
            if sample_rate != SAMPLE_RATE
            else None
        )

    def add(self, block: Float32[np.ndarray, "frames channels"]) -> Float32[np.ndarray, " samples"]:
        """What can be given of the mono signal after one more block; `block` is changed in place."""
        is_bad = ~np.isfinite(block)
        if is_bad.any():
            self.nan_samples += int(is_bad.sum())
            block[is_bad] = 0.0
        np.clip(block, -_LOUDEST, _LOUDEST, out=block)
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        return mono if self._stream is None else self._stream.resample_chunk(np.ascontiguousarray(mono))

    def flush(self) -> Float32[np.ndarray, " samples"]:
        """What is left in the resampler's filter; nothing can be added after it."""
        rest = np.empty(0, np.float32)
        return rest if self._stream is None else self._stream.resample_chunk(rest, last=True)


class ClipCutter:
    """Cuts a mono signal into clips of one length and hands each to `keep` as soon as it is full."""

    def __init__(
        self,
        track_id: str,
        *,
        clip_samples: int,
        min_clip_samples: int,
        most_samples: int,
        keep: Callable[[Clip], None],
    ) -> None:
        self.num_samples = 0  # seen so far, a dropped tail included
        self.kept_samples = 0
        self.num_clips = 0
        self.clipped_samples = 0
        self._track_id = track_id
        self._min_clip_samples = min_clip_samples
        self._most_samples = most_samples
        self._keep = keep
        self._buffer = np.empty(clip_samples, np.int16)
        self._filled = 0
        self._peak = 0
        self._sum_of_squares = 0
        self._sha256 = hashlib.sha256()

    @property
    def is_full(self) -> bool:
        """Whether the file has given all it may."""
        return self.num_samples >= self._most_samples

    @property
    def peak(self) -> float:
        """Largest magnitude; 1 is full scale."""
        return self._peak / FULL_SCALE

    @property
    def rms(self) -> float:
        """Root of the mean square; 1 is full scale."""
        return math.sqrt(self._sum_of_squares / self.num_samples) / FULL_SCALE if self.num_samples else 0.0

    @property
    def pcm_sha256(self) -> str:
        """SHA-256 of all samples seen, or empty if there were none."""
        return self._sha256.hexdigest() if self.num_samples else ""

    def add(self, mono: Float32[np.ndarray, " samples"]) -> None:
        """Take the next stretch of signal; what is beyond the most the file may give is left out."""
        pcm = self._quantise(mono[: self._most_samples - self.num_samples])
        self._measure(pcm)
        while len(pcm):
            taken = pcm[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            pcm = pcm[len(taken) :]
            if self._filled == len(self._buffer):
                self._emit()

    def close(self) -> float:
        """Keep the last, shorter clip if it is long enough; else give the seconds that are dropped."""
        dropped_samples = self._filled
        if self._filled >= self._min_clip_samples and self._filled:
            self._emit()
            return 0.0
        self._filled = 0
        return samples_to_seconds(dropped_samples)

    def _quantise(self, mono: Float32[np.ndarray, " samples"]) -> Int16[np.ndarray, " samples"]:
        scaled = np.rint(mono * np.float32(FULL_SCALE))
        self.clipped_samples += int(np.count_nonzero((scaled > FULL_SCALE - 1) | (scaled < -FULL_SCALE)))
        return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype("<i2")

    def _measure(self, pcm: Int16[np.ndarray, " samples"]) -> None:
        if not len(pcm):
            return
        wide = pcm.astype(np.int64)
        self.num_samples += len(pcm)
        self._peak = max(self._peak, int(np.abs(wide).max()))
        self._sum_of_squares += int(np.dot(wide, wide))
        self._sha256.update(pcm.tobytes())

    def _emit(self) -> None:
        self._keep(
            Clip(
                clip_id=f"{self._track_id}-{self.num_clips:05d}",
                track_id=self._track_id,
                offset_s=samples_to_seconds(self.kept_samples),
                pcm=self._buffer[: self._filled].copy(),
            )
        )
        self.num_clips += 1
        self.kept_samples += self._filled
        self._filled = 0
