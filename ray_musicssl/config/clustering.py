"""K-means over target feature frames."""

from typing import Any, Literal

from pydantic import Field, model_validator

from ray_musicssl.config.section import Section

# Above it, k-means++ on a sample that stays in one process no longer sees enough frames a cluster.
LARGEST_SAMPLED_SEEDING = 5_000


class ClusteringConfig(Section):
    """Settings of the codebook fit; the result does not depend on the number of workers."""

    num_clusters: int = Field(default=2000, ge=2, le=100_000)
    """Size of the codebook, k. Source: Ma et al. 2023, table 2 (500 and 2000)."""
    num_iterations: int = Field(default=50, ge=1)
    """Most Lloyd iterations; of mini-batch k-means the most passes over the frames."""
    tolerance: float = Field(default=1e-4, ge=0, lt=1)
    """Stop when the inertia falls by less than this fraction in one iteration; 0 runs them all. Lloyd only."""
    max_frames: int = Field(default=2_000_000, ge=2)
    """Frames to fit on: a deterministic sample of clips if the shards hold more."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sample, of the seeding and of mini-batches."""
    algorithm: Literal["lloyd", "minibatch"] = "lloyd"
    """`lloyd` updates after a pass over all frames; `minibatch` after every batch, and ends with one pass over all."""
    seeding: Literal["auto", "kmeans++", "kmeans||"] = "auto"
    """`kmeans++` on a sample of frames; `kmeans||` by passes over all of them; `auto`: `kmeans||` above 5,000 clusters."""
    batch_frames: int = Field(default=10_000, ge=1)
    """Frames of a mini-batch. Source: fairseq's recipe for HuBERT."""
    max_no_improvement: int = Field(default=100, ge=1)
    """Stop after so many mini-batches without a new lowest smoothed inertia. Source: fairseq's recipe for HuBERT."""
    frames: Literal["disk", "recompute"] = "disk"
    """Keep the frames beside the codebook until the fit ends, or make them again in every pass; the same bits."""
    gpus_per_task: float = Field(default=0, ge=0, le=1)
    """GPUs that a task over frames asks for; 0: CPU. The two differ by rounding."""

    @property
    def resolved_seeding(self) -> Literal["kmeans++", "kmeans||"]:
        """How the seeds are found, with `auto` decided."""
        if self.seeding != "auto":
            return self.seeding
        return "kmeans||" if self.num_clusters > LARGEST_SAMPLED_SEEDING else "kmeans++"

    @property
    def identity(self) -> dict[str, Any]:
        """All that the centroids depend on, as JSON-like values; what is left at its first form is left out."""
        core = {"num_clusters", "num_iterations", "tolerance", "max_frames", "seed"}
        values = self.model_dump(mode="json", include=core)
        if self.resolved_seeding != "kmeans++":
            values["seeding"] = self.resolved_seeding
        if self.algorithm == "minibatch":
            del values["tolerance"]
            values |= self.model_dump(mode="json", include={"algorithm", "batch_frames", "max_no_improvement"})
        return values | ({"device": "cuda"} if self.gpus_per_task else {})

    @property
    def idle_settings(self) -> list[str]:
        """Settings that were changed and have no effect beside the others."""
        idle = ["tolerance"] if self.algorithm == "minibatch" else ["batch_frames", "max_no_improvement"]
        return [name for name in idle if getattr(self, name) != type(self).model_fields[name].default]

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "ClusteringConfig":
        if self.max_frames < self.num_clusters:
            raise ValueError(
                f"max_frames={self.max_frames} is below num_clusters={self.num_clusters}; every cluster needs a frame"
            )
        if self.algorithm == "minibatch" and self.frames == "recompute":
            raise ValueError(
                "frames=recompute and algorithm=minibatch exclude each other: a batch is drawn from all over the frames, "
                "which must lie on disk; set frames=disk or algorithm=lloyd"
            )
        return self
