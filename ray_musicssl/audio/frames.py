"""Where seconds, samples and frames meet; no other file does this arithmetic.

Conventions:
    All audio inside the package is mono at `SAMPLE_RATE`.
    Frame t covers samples [t * hop_length, t * hop_length + receptive_field); a partial last frame is dropped.
"""

from dataclasses import dataclass

SAMPLE_RATE = 16_000


@dataclass(frozen=True, kw_only=True)
class FrameGrid:
    """A regular grid of frames over samples at `SAMPLE_RATE`."""

    receptive_field: int
    hop_length: int

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return SAMPLE_RATE / self.hop_length

    def num_frames(self, num_samples: int) -> int:
        """Count the frames that `num_samples` samples give; zero if shorter than the receptive field.

        Raises:
            ValueError: if `num_samples` is negative.

        Source: Ma et al. 2023, 2.3 (16 kHz waveform -> 50 Hz); agrees with the layer-by-layer floor recursion.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples is {num_samples}; it must not be negative")
        return max(0, (num_samples - self.receptive_field) // self.hop_length + 1)

    def num_samples(self, num_frames: int) -> int:
        """The fewest samples that give `num_frames` frames (zero for zero)."""
        return self.receptive_field + (num_frames - 1) * self.hop_length if num_frames > 0 else 0


# Source: wav2vec2's convolutions (10,5)(3,2)x4(2,2)x2: receptive field 400, hop 320 = 25 ms, 20 ms.
ENCODER_GRID = FrameGrid(receptive_field=400, hop_length=320)
# Source: Kaldi's default MFCC frames: 25 ms every 10 ms, edges snipped.
MFCC_GRID = FrameGrid(receptive_field=400, hop_length=160)


def seconds_to_samples(seconds: float) -> int:
    """The nearest whole number of samples."""
    return round(seconds * SAMPLE_RATE)


def samples_to_seconds(num_samples: int) -> float:
    """Exact duration in seconds."""
    return num_samples / SAMPLE_RATE
