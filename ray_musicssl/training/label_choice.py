"""Which label sets a run trains on."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ray_musicssl.audio.frames import FrameGrid
from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.label_set import LabelSet, open_labels, sets_of
from ray_musicssl.config.feature import FeatureConfig
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.features.base import FEATURES

logger = logging.getLogger(__name__)


def choose_labels(config: PretrainConfig, shards: Shards, paths: Sequence[Path] = ()) -> list[LabelSet]:
    """Find one label set for each target feature of a run, in the order of its heads.

    Args:
        config: the run; its features must match, and its `num_clusters` decides between several sets of a feature.
        shards: the clips.
        paths: label directories to choose from; none: all under the shards that were made from them.

    Raises:
        ConfigError: if a feature has no label set or several that fit equally, or a set of `paths` is of no use.
        DataError: if a set of `paths` is unfinished or belongs to other shards, any set is damaged or lies beside another
            codebook than its own, or a set has another frame rate than the run's feature.
    """
    wanted = config.label_configs
    if not wanted:
        if paths:
            logger.warning("--labels has no effect: the objective %s uses none", config.objective.name)
        return []
    found = [open_labels(shards, path) for path in paths or sets_of(shards)]
    chosen = [_choose(kmeans, found, shards) for kmeans in wanted]
    for kmeans, label_set in zip(wanted, chosen, strict=True):
        _check_rate(kmeans.feature, label_set)
    unused = [label_set for label_set in found if paths and label_set not in chosen]
    if unused:
        names = ", ".join(f"{label_set.path} ({label_set.words})" for label_set in unused)
        raise ConfigError(
            f"no head of the run learns the labels {names}; leave them out of --labels, or add their feature to joint_features"
        )
    return chosen


def _check_rate(feature: FeatureConfig, labels: LabelSet) -> None:
    """Check the labels' rate where the feature's does not hang on its settings: its class knows it, and nothing is made."""
    grid = getattr(FEATURES.load(feature.name), "grid", None)
    if isinstance(grid, FrameGrid) and labels.frame_rate != grid.frame_rate:
        raise DataError(
            f"the labels at {labels.path} are at {labels.frame_rate} Hz, but this run's feature {feature.name} gives "
            f"{grid.frame_rate} Hz; make codebook and labels of it again"
        )


def _choose(wanted: KmeansConfig, found: Sequence[LabelSet], shards: Shards) -> LabelSet:
    fitting = [label_set for label_set in found if label_set.feature.identity == wanted.feature.identity]
    same_size = [label_set for label_set in fitting if label_set.num_clusters == wanted.clustering.num_clusters]
    candidates = same_size or fitting
    if len(candidates) == 1:
        chosen, asked = candidates[0], wanted.clustering.num_clusters
        if chosen.num_clusters != asked:
            logger.warning(
                "%s has %d clusters, not the clustering.num_clusters=%d of the run: its %d classes are learned",
                *(chosen.path, chosen.num_clusters, asked, chosen.num_clusters),
            )
        return chosen
    feature = wanted.feature
    if not candidates:
        have = ", ".join(f"{label_set.words} ({label_set.path})" for label_set in found) or "none"
        raise ConfigError(
            f"{shards.path} has no labels of the feature {feature}; found: {have}; run "
            f"`musicssl kmeans --shards {shards.path} --out CODEBOOK {feature.words}` and `musicssl label`"
        )
    names = ", ".join(str(label_set.path) for label_set in candidates)
    raise ConfigError(f"several label sets of the feature {feature.name} fit: {names}; choose one with --labels")
