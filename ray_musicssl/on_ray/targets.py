"""Target features inside Ray tasks: made once a worker process, on the task's GPU if it has one.

Conventions:
    Either all tasks of a stage run an encoder on GPUs or none does, so its frames do not depend on which worker made them;
    between a machine with GPUs and one without they differ by rounding.
"""

import ray
import torch

from ray_musicssl.config.feature import FeatureConfig, HiddenConfig
from ray_musicssl.features.base import TargetFeature
from ray_musicssl.probing.hidden_targets import load_feature

_made: dict[str, TargetFeature] = {}  # at most one, by its settings


def gpus_per_task(config: FeatureConfig) -> int:
    """GPUs that a task which makes frames asks for: one if the feature runs an encoder and the cluster has GPUs.

    Ray ends a process after each GPU task, so there an encoder is loaded once a task.
    """
    runs_encoder = isinstance(config, HiddenConfig)
    return int(runs_encoder and ray.cluster_resources().get("GPU", 0) >= 1)


def feature_here(config: FeatureConfig) -> TargetFeature:
    """The feature of a resolved section; the last one made is kept for the next task of this process.

    Raises:
        ConfigError: if it cannot be made; see `load_feature`.
        DataError: if its encoder is missing or has other weights; see `load_feature`.
    """
    key = config.model_dump_json()
    if key not in _made:
        _made.clear()  # before the next one is loaded: an encoder may fill a good part of the memory
        _made[key] = _make(config)
    return _made[key]


def _make(config: FeatureConfig) -> TargetFeature:
    if not (ray.is_initialized() and ray.get_gpu_ids()):
        return load_feature(config)
    # Convolutions in TF32 keep 10 bits of a product: enough to train with, too few for labels that should stay the same.
    torch.backends.cudnn.allow_tf32 = False
    return load_feature(config, device="cuda")
