"""Labels of a clip from several codebooks at once, each thing they share computed once.

Conventions:
    Shared are a feature that several codebooks are of (k=100 and k=500 of MFCC) and, for a residual codebook, the frames and
    the labels of the stage before it. Nothing is kept from one clip to the next, so labels are those of each codebook alone.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int16, Int32

from ray_musicssl.clustering.chain import CodebookChain
from ray_musicssl.clustering.codebook import Codebook
from ray_musicssl.clustering.sums import assign, one_blas_thread
from ray_musicssl.config.feature import FeatureConfig, ResidualConfig
from ray_musicssl.features.base import TargetFeature, clip_frames
from ray_musicssl.features.residual import residue
from ray_musicssl.run_dir import hash_of


class Labeller:
    """Some codebooks and the features that they are of."""

    def __init__(
        self,
        chains: Sequence[CodebookChain],
        features: Sequence[TargetFeature],
        devices: Sequence[str] | None = None,
    ) -> None:
        """Take codebooks.

        Args:
            chains: each codebook with all that it is a residual of.
            features: the feature that each chain's `leaf` describes, in the same order.
            devices: where the frames of each feature are labelled, as `assign` takes it; None: all on the CPU.
        """
        self._firsts = [chain.first for chain in chains]
        self._features = {_key(chain.leaf): feature for chain, feature in zip(chains, features, strict=True)}
        self._codebooks = {codebook.hash: codebook for chain in chains for codebook in chain.codebooks}
        self._devices = {
            codebook.hash: device
            for chain, device in zip(chains, devices or ["cpu"] * len(chains), strict=True)
            for codebook in chain.codebooks
        }

    def __call__(self, pcm: Int16[np.ndarray, " samples"], *, place: str = "a clip") -> list[Int32[np.ndarray, " _"]]:
        """The labels of one stored clip by each codebook, in their order.

        Args:
            pcm: its samples.
            place: where it is stored, for the error.

        Raises:
            DataError: if a frame of it is NaN or infinite.
        """
        clip = _Clip(pcm, self._features, self._codebooks, self._devices, place)
        with one_blas_thread():
            return [clip.labels(codebook) for codebook in self._firsts]


class _Clip:
    """What was computed of one clip so far."""

    def __init__(
        self,
        pcm: Int16[np.ndarray, " samples"],
        features: dict[str, TargetFeature],
        codebooks: dict[str, Codebook],
        devices: dict[str, str],
        place: str,
    ) -> None:
        self._pcm = pcm
        self._place = place
        self._features = features
        self._codebooks = codebooks
        self._devices = devices
        self._frames: dict[str, Float32[np.ndarray, "frames dim"]] = {}
        self._labels: dict[str, Int32[np.ndarray, " frames"]] = {}

    def labels(self, codebook: Codebook) -> Int32[np.ndarray, " frames"]:
        """The nearest centroid of each frame."""
        if codebook.hash not in self._labels:
            frames, device = self._frames_of(codebook.feature), self._devices[codebook.hash]
            self._labels[codebook.hash] = assign(frames, codebook.centroids, device=device)
        return self._labels[codebook.hash]

    def _frames_of(self, feature: FeatureConfig) -> Float32[np.ndarray, "frames dim"]:
        key = _key(feature)
        if key not in self._frames:
            self._frames[key] = self._made(feature, key)
        return self._frames[key]

    def _made(self, feature: FeatureConfig, key: str) -> Float32[np.ndarray, "frames dim"]:
        if not isinstance(feature, ResidualConfig):
            return clip_frames(self._features[key], self._pcm, place=self._place)
        base = self._codebooks[feature.codebook_hash]
        return residue(self._frames_of(base.feature), self.labels(base), base.centroids)


def _key(feature: FeatureConfig) -> str:
    return hash_of(feature.identity)
