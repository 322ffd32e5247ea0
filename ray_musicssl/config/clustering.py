"""K-means over target feature frames."""

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section


class ClusteringConfig(Section):
    """Settings of the codebook fit; the result does not depend on the number of workers."""

    num_clusters: int = Field(default=2000, ge=2, le=100_000)
    """Size of the codebook, k. Source: Ma et al. 2023, table 2 (500 and 2000)."""
    num_iterations: int = Field(default=50, ge=1)
    """Most Lloyd iterations."""
    tolerance: float = Field(default=1e-4, ge=0, lt=1)
    """Stop when the inertia falls by less than this fraction in one iteration; 0 runs them all."""
    max_frames: int = Field(default=2_000_000, ge=2)
    """Frames to fit on: a deterministic sample of clips if the shards hold more."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sample and of k-means++."""

    @model_validator(mode="after")
    def _frames_suffice(self) -> "ClusteringConfig":
        if self.max_frames < self.num_clusters:
            raise ValueError(
                f"max_frames={self.max_frames} is below num_clusters={self.num_clusters}; every cluster needs a frame"
            )
        return self
