"""How much audio a step sees, and in what pieces."""

from pydantic import Field, model_validator

from ray_musicssl.audio.frames import ENCODER_GRID, seconds_to_samples
from ray_musicssl.config.section import Section


class AudioConfig(Section):
    """Crop length and batch size in seconds of audio, so that changing the crop keeps the audio per step.

    Source: Ma et al. 2023, 4.3.2 (crop length varies, audio per batch does not).
    """

    crop_s: float = Field(default=15.625, gt=0, le=30)
    """Seconds of one random crop. Source: fairseq's hubert_base (250,000 samples)."""
    batch_s: float = Field(default=2800.0, gt=0)
    """Seconds of audio in one optimiser step, over all workers."""
    micro_batch_s: float = Field(default=87.5, gt=0)
    """Seconds of audio in one forward pass; smaller needs less memory and changes nothing else."""

    @property
    def crop_samples(self) -> int:
        """Samples of one crop."""
        return seconds_to_samples(self.crop_s)

    @property
    def crop_frames(self) -> int:
        """Encoder frames of one crop."""
        return ENCODER_GRID.num_frames(self.crop_samples)

    @property
    def batch_clips(self) -> int:
        """Crops in one optimiser step."""
        return max(1, round(self.batch_s / self.crop_s))

    @property
    def micro_batch_clips(self) -> int:
        """Crops in one forward pass (the last one of a step may hold fewer)."""
        return max(1, min(self.batch_clips, int(self.micro_batch_s / self.crop_s)))

    @property
    def num_micro_batches(self) -> int:
        """Forward passes in one optimiser step, over all workers."""
        return -(-self.batch_clips // self.micro_batch_clips)

    @model_validator(mode="after")
    def _crop_gives_frames(self) -> "AudioConfig":
        if self.crop_frames < 2:
            raise ValueError(
                f"crop_s={self.crop_s} gives {self.crop_frames} encoder frames; at least 2 (0.045 s) are needed"
            )
        return self
