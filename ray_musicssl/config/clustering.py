"""K-means over target feature frames."""

from pydantic import Field

from ray_musicssl.config.section import Section


class ClusteringConfig(Section):
    """Settings of the codebook fit; the result does not depend on the number of workers."""

    num_clusters: int = Field(default=2000, ge=2, le=100_000)
    """Size of the codebook, k. Source: Ma et al. 2023, table 2 (500 and 2000)."""
    num_iterations: int = Field(default=50, ge=1)
    """Most Lloyd iterations."""
    tolerance: float = Field(default=1e-4, ge=0)
    """Stop when the inertia falls by less than this fraction in one iteration; 0 runs them all."""
    max_frames: int = Field(default=2_000_000, ge=2)
    """Frames to fit on: a deterministic sample of clips if the shards hold more."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sample and of k-means++."""
