"""The codebooks that a run's targets are clusters of, fitted where they are not there yet.

Conventions:
    `DIR/<feature>-k<clusters>-<hash of their settings>`: runs whose targets are the same share one. A residual that names no
    codebook is of the codebook of the target before it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.codebook import Codebook
from ray_musicssl.config.feature import FeatureConfig, ResidualConfig
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.on_ray.codebook_board import review_codebook
from ray_musicssl.on_ray.kmeans import fit_codebook
from ray_musicssl.run_dir import hash_of


@dataclass(frozen=True, kw_only=True)
class RunTargets:
    """A run whose targets all have a codebook."""

    config: PretrainConfig  # residuals name theirs
    codebooks: tuple[Codebook, ...]  # in the order of the heads


def fit_targets(
    config: PretrainConfig,
    shards: Shards,
    codebooks_dir: Path,
    stage: Callable[[str], AbstractContextManager[object]],
) -> RunTargets:
    """The codebook of each target of a run; one that is there already is only read.

    Args:
        config: the run, resolved but for residuals of the target before.
        shards: the clips.
        codebooks_dir: where codebooks go.
        stage: is entered around each, with `kmeans <name>`.

    Raises:
        MusicsslError: as `fit_codebook` does.
    """
    features: list[FeatureConfig] = []
    codebooks: list[Codebook] = []
    directory = Path()
    for kmeans in config.label_configs:
        feature = kmeans.feature
        if isinstance(feature, ResidualConfig) and feature.is_open and codebooks:
            before = {"codebook": str(directory.resolve()), "codebook_hash": codebooks[-1].hash}
            feature = feature.model_copy(update=before)
        wanted = KmeansConfig(feature=feature, clustering=kmeans.clustering)
        name = codebook_name(wanted)
        directory = codebooks_dir / name
        with stage(f"kmeans {name}"):
            codebooks.append(fit_codebook(shards, directory, wanted))
            review_codebook(shards, codebooks[-1], directory)
        features.append(feature)
    if not features:
        return RunTargets(config=config, codebooks=())
    filled = config.model_copy(update={"feature": features[0], "joint_features": tuple(features[1:])})
    return RunTargets(config=filled, codebooks=tuple(codebooks))


def codebook_name(kmeans: KmeansConfig) -> str:
    """Feature and size, and a hash of all settings: runs that differ in any other may share a directory."""
    settings = hash_of([kmeans.feature.identity, kmeans.clustering.identity])
    return f"{kmeans.feature.slug}-k{kmeans.clustering.num_clusters}-{settings[:6]}"
