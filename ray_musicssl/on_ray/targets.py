"""Target features inside Ray tasks: made once a worker process, on the task's GPU if it has one.

Conventions:
    Either all tasks of a stage run an encoder on GPUs or none does, so its frames do not depend on which worker made them;
    between a machine with GPUs and one without they differ by rounding.
"""

from collections.abc import Sequence

import ray
import torch

from ray_musicssl.clustering.chain import leaf_of
from ray_musicssl.config.feature import FeatureConfig, HiddenConfig
from ray_musicssl.features.base import TargetFeature
from ray_musicssl.probing.hidden_targets import load_feature

_made: dict[str, TargetFeature] = {}  # those asked for last, by their settings


def gpus_per_task(config: FeatureConfig) -> int:
    """GPUs that a task which makes frames asks for: one if the feature runs an encoder and the cluster has GPUs.

    Ray ends a process after each GPU task, so there an encoder is loaded once a task.
    """
    runs_encoder = isinstance(leaf_of(config), HiddenConfig)
    return int(runs_encoder and ray.cluster_resources().get("GPU", 0) >= 1)


def device_here(config: FeatureConfig) -> str:
    """Where a task makes frames and labels them: on its GPU if an encoder makes them, else on the CPU.

    A task may have a GPU for something else: what needs no encoder is done on the CPU in every task alike.
    """
    runs_encoder = isinstance(leaf_of(config), HiddenConfig)
    return "cuda" if runs_encoder and ray.is_initialized() and ray.get_gpu_ids() else "cpu"


def feature_here(config: FeatureConfig) -> TargetFeature:
    """The feature of a resolved section; the last one made is kept for the next task of this process.

    Raises:
        ConfigError: if it cannot be made; see `load_feature`.
        DataError: if its encoder or codebook is missing or another one; see `load_feature`.
    """
    return features_here([config])[0]


def features_here(configs: Sequence[FeatureConfig]) -> list[TargetFeature]:
    """The features of resolved sections, in their order; these are kept for the next task of this process, others go.

    Raises:
        ConfigError: if one cannot be made; see `load_feature`.
        DataError: if the encoder or codebook of one is missing or another one; see `load_feature`.
    """
    wanted = {config.model_dump_json(): config for config in configs}
    for key in _made.keys() - wanted.keys():
        del _made[key]  # before the next one is loaded: an encoder may fill a good part of the memory
    for key, config in wanted.items():
        if key not in _made:
            _made[key] = _make(config)
    return [_made[config.model_dump_json()] for config in configs]


def _make(config: FeatureConfig) -> TargetFeature:
    device = device_here(config)
    if device == "cpu":
        return load_feature(config)
    # Convolutions in TF32 keep 10 bits of a product: enough to train with, too few for labels that should stay the same.
    torch.backends.cudnn.allow_tf32 = False
    return load_feature(config, device=device)
