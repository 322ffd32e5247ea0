"""What a codebook leaves of the frames it quantises: the targets of the next stage of residual k-means.

Conventions:
    A frame is the base feature's frame minus its nearest centroid, in float32, on the base feature's grid. The base feature
    may be a residual itself: after n stages of k clusters a frame is known as the sum of n centroids, one of k^n sums.
    Nearest means what `label` writes: the lowest index of equally near ones, found clip by clip.

Source: Juang and Gray 1982, multiple stage vector quantisation.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from ray_musicssl.clustering.chain import open_base
from ray_musicssl.clustering.sums import assign, one_blas_thread
from ray_musicssl.config.feature import FeatureConfig, ResidualConfig
from ray_musicssl.errors import DataError
from ray_musicssl.features.base import TargetFeature


def residue(
    frames: Float32[np.ndarray, "frames dim"],
    labels: Int32[np.ndarray, " frames"],
    centroids: Float32[np.ndarray, "clusters dim"],
) -> Float32[np.ndarray, "frames dim"]:
    """What is left of each frame without the centroid of its label."""
    return frames - centroids[labels]


class Residual:
    """Frames of a feature without their nearest centroids."""

    name: str = "residual"

    def __init__(self, base: TargetFeature, centroids: Float32[np.ndarray, "clusters dim"]) -> None:
        """Take the centroids of a codebook off a feature.

        Raises:
            DataError: if the centroids are of another width than the feature's frames.
        """
        if centroids.shape[1] != base.dim:
            raise DataError(
                f"a codebook of {centroids.shape[1]} dimensions leaves nothing of the feature {base.name}, whose frames have "
                f"{base.dim}; fit it again with `musicssl kmeans`"
            )
        self.dim = base.dim
        self.grid = base.grid
        self._base = base
        self._centroids = centroids

    @classmethod
    def from_config(cls, config: ResidualConfig, make_base: Callable[[FeatureConfig], TargetFeature]) -> "Residual":
        """The feature that a config section describes; `make_base` makes the feature that its codebook quantises.

        Raises:
            ConfigError: if the section names no codebook.
            DataError: if there is no sound codebook, or it is not the one of `codebook_hash`.
        """
        codebook = open_base(config)
        return cls(make_base(codebook.feature), codebook.centroids)

    def __call__(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames dim"]:
        """Frames `[T, dim]` of one waveform in [-1, 1], or `[B, T, dim]` of a batch.

        Rows of a batch are quantised one at a time, so that a frame's bits never depend on its neighbours.
        """
        frames = self._base(waveform)
        batch = frames.reshape(frames.shape[:-2].numel(), *frames.shape[-2:]).numpy()
        with one_blas_thread():
            rows = [self._left_of(clip) for clip in batch]
        return torch.from_numpy(np.stack(rows)).reshape(frames.shape) if rows else frames

    def _left_of(self, frames: Float32[np.ndarray, "frames dim"]) -> Float32[np.ndarray, "frames dim"]:
        return residue(frames, assign(frames, self._centroids), self._centroids)
