"""How much audio a step sees, and in what pieces."""

from pydantic import Field, model_validator

from ray_musicssl.audio.frames import ENCODER_GRID, seconds_to_samples
from ray_musicssl.config.section import Section


class CropStage(Section):
    """A crop length for the first part of a run."""

    until_fraction: float = Field(gt=0, lt=1)
    """The stage ends after this part of the run's steps."""
    crop_s: float = Field(gt=0, le=30)
    """Seconds of one random crop."""


class AudioConfig(Section):
    """Crop length and batch size in seconds of audio, so that changing the crop keeps the audio per step.

    Source: Ma et al. 2023, 4.3.2 (crop length varies, audio per batch does not).
    """

    crop_s: float = Field(default=15.625, gt=0, le=30)
    """Seconds of one random crop. Source: fairseq's hubert_base (250,000 samples)."""
    batch_s: float = Field(default=2800.0, gt=0)
    """Seconds of audio in one optimiser step, over all workers."""
    micro_batch_s: float = Field(default=87.5, gt=0)
    """Seconds of audio in one forward pass; smaller needs less memory. Dropout is drawn, and equal masks are made, for each."""
    crop_schedule: tuple[CropStage, ...] = ()
    """Other crop lengths at first, in order; `crop_s` holds after the last. The audio of a step stays the same.

    Source: Ma et al. 2023, 5, which advises short crops first, then long ones.
    """

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

    @property
    def longest_crop_samples(self) -> int:
        """Samples of the longest crop of the run; shorter clips are left out of all of it."""
        return max(stage.crop_samples for stage in self.stages())

    def stages(self) -> list["AudioConfig"]:
        """The settings of each stage of the run, in order: these, with that stage's crop length."""
        plain = self.model_copy(update={"crop_schedule": ()})
        return [*(plain.model_copy(update={"crop_s": stage.crop_s}) for stage in self.crop_schedule), plain]

    def stage_starts(self, max_steps: int) -> list[int]:
        """The first step of each stage of a run of `max_steps`."""
        return [0, *(round(stage.until_fraction * max_steps) for stage in self.crop_schedule)]

    @model_validator(mode="after")
    def _crops_give_frames(self) -> "AudioConfig":
        for stage in self.stages():
            if stage.crop_frames < 2:
                raise ValueError(
                    f"crop_s={stage.crop_s} gives {stage.crop_frames} encoder frames; at least 2 (0.045 s) are needed"
                )
        return self

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> "AudioConfig":
        ends = [stage.until_fraction for stage in self.crop_schedule]
        if ends != sorted(set(ends)):
            raise ValueError(f"crop_schedule has until_fraction {ends}; each must be above the one before")
        return self
