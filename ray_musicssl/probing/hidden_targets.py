"""Target features of trained encoders and of codebooks: from the path that a config names to what lies there, and frames.

Conventions:
    A section is resolved once it says which weights or codebook it means (`encoder_hash`, `codebook_hash`) and where they lie
    (an absolute path). Labels, codebooks and runs are told apart by the hash; the path is only where to find them.
"""

from pathlib import Path
from typing import TypeVar

import torch

from ray_musicssl.clustering.chain import open_codebook
from ray_musicssl.config.feature import FeatureConfig, HiddenConfig, ResidualConfig
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.errors import DataError
from ray_musicssl.features.base import TargetFeature, make_feature
from ray_musicssl.features.hidden import Hidden
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.probing.embed import Encoder, load_encoder

ConfigT = TypeVar("ConfigT", bound=KmeansConfig)


def resolve(config: ConfigT, *, codebooks_follow: bool = False) -> ConfigT:
    """The same settings with the hash of every encoder and codebook that targets come from filled in.

    A section that gives its hash stays as it is: labels made with those weights can be trained on without them.

    Args:
        config: the settings.
        codebooks_follow: leave residuals in `joint_features` that name no codebook as they are; it is fitted later.

    Raises:
        ConfigError: if a target feature is `hidden` without an encoder or `residual` without a codebook, or the encoder
            lacks the layer.
        DataError: if there is no sound encoder or codebook at the path.
    """
    if isinstance(config, PretrainConfig):
        if not config.uses_labels:
            return config
        joint = tuple(
            feature
            if codebooks_follow and isinstance(feature, ResidualConfig) and feature.is_open
            else _resolved(feature)
            for feature in config.joint_features
        )
        return config.model_copy(update={"feature": _resolved(config.feature), "joint_features": joint})
    return config.model_copy(update={"feature": _resolved(config.feature)})


def load_feature(config: FeatureConfig, *, device: torch.device | str = "cpu") -> TargetFeature:
    """The feature that a resolved section describes, computing on `device`.

    Raises:
        ConfigError: if the section names no encoder or codebook, or the encoder lacks the layer.
        DataError: if there is no sound encoder or codebook at the path, or it is not the one of the section's hash.
    """

    def load_model(section: HiddenConfig) -> MusicEncoder:
        return _verified(section).model.to(device)

    return make_feature(config, load_model=load_model, device=device)


def _resolved(feature: FeatureConfig) -> FeatureConfig:
    if isinstance(feature, ResidualConfig) and not feature.codebook_hash:
        feature.check_codebook()
        place = Path(feature.codebook).resolve()
        return feature.model_copy(update={"codebook": str(place), "codebook_hash": open_codebook(place).hash})
    if not isinstance(feature, HiddenConfig) or feature.encoder_hash:
        return feature
    encoder = _open(feature)
    Hidden(encoder.model, feature.layer)  # raises if there is no such layer
    where = {"encoder": str(Path(feature.encoder).resolve()), "encoder_hash": encoder.content_hash}
    return feature.model_copy(update=where)


def _verified(feature: HiddenConfig) -> Encoder:
    encoder = _open(feature)
    if encoder.content_hash != feature.encoder_hash:
        raise DataError(
            f"the encoder at {feature.encoder} has the weights {encoder.content_hash}, but the feature hidden is of the "
            f"weights {feature.encoder_hash or '(not resolved)'}; a run that went on training has a newer checkpoint: name "
            f"the checkpoint directory that was used, or make codebook and labels again with the new weights"
        )
    return encoder


def _open(feature: HiddenConfig) -> Encoder:
    feature.check_encoder()
    return load_encoder(feature.encoder)
