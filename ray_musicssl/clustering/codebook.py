"""A codebook: the centroids that turn feature frames into labels, and where they came from.

Conventions:
    `DIR/centroids.safetensors` holds the tensor `centroids` [clusters, dim], float32; `DIR/codebook.json` the rest, with
    the hash that ties the two together. The hash covers all that labels depend on: centroids, feature and frame rate.
    Of the feature `hidden` the JSON also says where its encoder was; the hash covers the encoder's weights, not its path.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import FeatureConfig
from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import HASH_LENGTH, read_json, write_bytes, write_json

CENTROIDS_NAME = "centroids.safetensors"
FACTS_NAME = "codebook.json"
_FEATURE: TypeAdapter[FeatureConfig] = TypeAdapter(FeatureConfig)


@dataclass(frozen=True, kw_only=True)
class FitRecord:
    """How a codebook was fitted."""

    parent: str  # content hash of the shards it was fitted on
    clustering: ClusteringConfig
    num_frames: int
    # Of all frames after 0, 1, 2, ... updates, or as the batches of each round tell; the last one belongs to the codebook.
    inertia: tuple[float, ...]
    usage: tuple[int, ...]  # frames of each cluster in the sample it was fitted on


@dataclass(frozen=True)
class Codebook:
    """Centroids of a feature's frames. `codebook.hash` names it."""

    centroids: Float32[np.ndarray, "clusters dim"]
    feature: FeatureConfig
    frame_rate: float  # frames a second, of the feature and so of the labels
    fit: FitRecord

    @property
    def num_clusters(self) -> int:
        """Number of centroids, and of classes of the labels."""
        return len(self.centroids)

    @property
    def dim(self) -> int:
        """Width of a frame."""
        return self.centroids.shape[1]

    @cached_property
    def hash(self) -> str:
        """Identifies what labels made with this codebook depend on."""
        facts = {"feature": self.feature.identity, "frame_rate": self.frame_rate, "shape": self.centroids.shape}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        digest.update(np.ascontiguousarray(self.centroids, "<f4").tobytes())
        return digest.hexdigest()[:HASH_LENGTH]

    def facts(self) -> dict[str, Any]:
        """What `codebook.json` says."""
        return {
            "hash": self.hash,
            "feature": feature_values(self.feature),
            "frame_rate": self.frame_rate,
            "num_clusters": self.num_clusters,
            "dim": self.dim,
            "num_frames": self.fit.num_frames,
            "inertia": list(self.fit.inertia),
            "usage": list(self.fit.usage),
            "entropy_nats": entropy_nats(self.fit.usage),
            "dead_clusters": self.fit.usage.count(0),
            "seed": self.fit.clustering.seed,
            "clustering": self.fit.clustering.model_dump(mode="json"),
            "parent": self.fit.parent,
        }

    def save(self, directory: Path) -> None:
        """Write both files; the JSON comes last, so that where it is the centroids are too."""
        tensors = {"centroids": np.ascontiguousarray(self.centroids, np.float32)}
        write_bytes(directory / CENTROIDS_NAME, safetensors_numpy.save(tensors))
        write_json(directory / FACTS_NAME, self.facts())


def load_codebook(directory: Path) -> Codebook:
    """Read a codebook and check that its two files belong together.

    Raises:
        DataError: if a file is missing or damaged, or the centroids are not those the JSON describes.
    """
    facts_path, centroids_path = directory / FACTS_NAME, directory / CENTROIDS_NAME
    for path in (facts_path, centroids_path):
        if not path.exists():
            raise DataError(
                f"no codebook at {directory}: {path.name} is missing; run `musicssl kmeans --out {directory}`"
            )
    try:
        facts = read_json(facts_path)
        centroids = safetensors_numpy.load_file(centroids_path)["centroids"]
        centroids.setflags(write=False)  # so that what labelling makes of them can be kept
        codebook = _from_facts(facts, centroids)
        told = {"hash": facts["hash"], "shape": (facts["num_clusters"], facts["dim"])}
    except (KeyError, TypeError, ValueError, ValidationError, SafetensorError, OSError) as error:
        raise DataError(f"the codebook at {directory} is damaged ({error!r}); fit it again") from error
    found = {"hash": codebook.hash, "shape": centroids.shape}
    for name, value in found.items():
        if value != told[name]:
            raise DataError(
                f"the codebook at {directory} does not fit together: {FACTS_NAME} says {name} {told[name]}, "
                f"but with {CENTROIDS_NAME} it is {value}; copy both files again or fit it again"
            )
    return codebook


def entropy_nats(counts: Sequence[int]) -> float:
    """Entropy of the distribution that the counts describe, in nats; 0 if they are all zero.

    A model that learned nothing has exactly this loss.
    """
    total = sum(counts)
    return -sum(n / total * math.log(n / total) for n in counts if n > 0) if total else 0.0


def feature_values(config: FeatureConfig) -> dict[str, Any]:
    """A feature's settings as JSON-like values: all of them, also those that are no part of its identity."""
    return config.model_dump(mode="json")


def read_feature(values: Mapping[str, Any]) -> FeatureConfig:
    """The feature section that `feature_values` gave.

    Raises:
        ValueError: if the values describe no known feature.
    """
    return _FEATURE.validate_python(dict(values))


def _from_facts(facts: Mapping[str, Any], centroids: Float32[np.ndarray, "clusters dim"]) -> Codebook:
    if centroids.dtype != np.float32 or centroids.ndim != 2:
        raise ValueError(f"centroids are {centroids.dtype} of shape {centroids.shape}, not a float32 matrix")
    return Codebook(
        centroids=centroids,
        feature=read_feature(facts["feature"]),
        frame_rate=facts["frame_rate"],
        fit=FitRecord(
            parent=facts["parent"],
            clustering=ClusteringConfig.model_validate(facts["clustering"]),
            num_frames=facts["num_frames"],
            inertia=tuple(facts["inertia"]),
            usage=tuple(facts["usage"]),
        ),
    )
