"""What a target feature is, and the table of those there are.

Conventions:
    A feature turns a waveform in [-1, 1] at 16 kHz into frames on its own `grid`.
    Nothing in it is random, and only `hidden` was learned.
    Arrays that k-means sees are float32, one row a frame.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16
from torch import Tensor

from ray_musicssl.audio.frames import FrameGrid
from ray_musicssl.audio.shard import FULL_SCALE
from ray_musicssl.config.feature import FeatureConfig, HiddenConfig, ResidualConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.registry import Registry

FEATURES = Registry(
    "target feature",
    {
        "mfcc": "ray_musicssl.features.mfcc:Mfcc",
        "semitone": "ray_musicssl.features.semitone:Semitone",
        "chroma": "ray_musicssl.features.chroma:Chroma",
        "cqt": "ray_musicssl.features.cqt:Cqt",
        "logmel": "ray_musicssl.features.logmel:Logmel",
        "hidden": "ray_musicssl.features.hidden:Hidden",
        "residual": "ray_musicssl.features.residual:Residual",
        "combined": "ray_musicssl.features.combined:Combined",
    },
)

LoadModel = Callable[[HiddenConfig], MusicEncoder]


@runtime_checkable
class TargetFeature(Protocol):
    """Frames for k-means to cluster. A class in `FEATURES` also has `from_config(section) -> TargetFeature`.

    Nothing outside the section may be needed; only `hidden` is also given the model that its section names, and `residual`
    the feature that its codebook quantises.
    """

    name: str
    dim: int
    grid: FrameGrid

    def __call__(self, waveform: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames dim"]:
        """Frames of one waveform or of a batch; no frames if it is shorter than the grid's receptive field."""
        ...


def make_feature(
    config: FeatureConfig, *, load_model: LoadModel | None = None, device: torch.device | str = "cpu"
) -> TargetFeature:
    """The feature that a config section describes.

    Args:
        config: the section.
        load_model: gives the encoder that a `hidden` section names (`probing.hidden_targets`); unused by the others.
        device: where a feature without an encoder computes (`load_model` decides for one with); frames come back to the CPU.

    Raises:
        ConfigError: if its name is not in `FEATURES`, or it needs a model and there is no `load_model`.
        DataError: if it is a residual and there is no sound codebook of its hash.
    """
    feature_class = FEATURES.load(config.name)
    if isinstance(config, ResidualConfig):
        return feature_class.from_config(config, lambda base: make_feature(base, load_model=load_model, device=device))
    if not isinstance(config, HiddenConfig):
        return feature_class.from_config(config).to(device)
    if load_model is None:
        raise ConfigError(
            f"the feature hidden needs the encoder at {config.encoder!r} loaded; make it with "
            f"ray_musicssl.probing.hidden_targets.load_feature"
        )
    return feature_class.from_config(config, load_model(config))


def clip_frames(
    feature: TargetFeature, pcm: Int16[np.ndarray, " samples"], *, place: str = "a clip"
) -> Float32[np.ndarray, "frames dim"]:
    """The frames of one stored clip.

    Clips go through one at a time, so that the bits of a frame never depend on which clips it was read with.

    Args:
        feature: what to make of it.
        pcm: its samples.
        place: where it is stored, for the error.

    Raises:
        DataError: if a frame is NaN or infinite: it has no nearest centroid, and would get a label all the same.
    """
    waveform = torch.from_numpy(pcm.astype(np.float32) / np.float32(FULL_SCALE))
    frames = feature(waveform).numpy()
    is_bad = ~np.isfinite(frames).all(axis=1)
    if is_bad.any():
        raise DataError(
            f"{place} gives {feature.name} frames that are NaN or infinite, frame {int(is_bad.argmax())} the first of "
            f"{int(is_bad.sum())} of {len(frames)}; stored audio is finite, so see whether the feature's encoder is sound, or "
            f"take another checkpoint of it"
        )
    return frames
