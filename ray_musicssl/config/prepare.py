"""From audio files to shards."""

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section


class PrepareConfig(Section):
    """How files become clips, and clips become Parquet parts."""

    clip_s: float = Field(default=30.0, ge=0.025, le=30)
    """Longest clip; 25 ms are one frame of the encoder. Source: Ma et al. 2023, 3.1 (30 s excerpts)."""
    min_clip_s: float = Field(default=1.0, ge=0.025)
    """A file or a file's tail shorter than this is not used."""
    clips_per_row_group: int = Field(default=8, ge=1, le=64)
    """Clips that are read together; 8 clips of 30 s are 7.7 MB."""
    part_mb: float = Field(default=120.0, gt=0)
    """Aimed size of one Parquet part; small collections get smaller parts, so that every worker has some."""
    max_file_hours: float = Field(default=24.0, gt=0)
    """A longer file is cut here (status partial)."""
    decode_timeout_s: float = Field(default=600.0, gt=0)
    """Decoding one file for longer than this is given up (status partial)."""

    @model_validator(mode="after")
    def _shortest_clip_fits(self) -> "PrepareConfig":
        if self.min_clip_s > self.clip_s:
            raise ValueError(f"min_clip_s={self.min_clip_s} is above clip_s={self.clip_s}; no clip could be kept")
        return self
