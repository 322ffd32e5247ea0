"""What a probe sees: the features of any encoder, trained or not, or made by hand.

Conventions:
    Features are kept as float16, of each stretch of audio `[layers, dim]` (pooled) or `[layers, frames, dim]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, get_args, runtime_checkable

import numpy as np
import soundfile
import torch
from jaxtyping import Float16, Float32
from torch import Tensor

from ray_musicssl.config.probe import WindowStatistics
from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.tasks.base import Example
from ray_musicssl.tasks.locate import MIN_AUDIO_S, Fault

Pool = WindowStatistics | None

_SYSTEM_ERROR = 2  # libsndfile's code for a file that the system did not open or read, whatever is in it


@runtime_checkable
class FrozenFeatures(Protocol):
    """Turns audio into features that stay fixed while a probe is fitted."""

    name: str
    content_hash: str  # of all that its output depends on: caches are filed under it
    num_layers: int  # length of the first axis of what `embed` gives
    dim: int  # of a frame
    frame_rate: float  # frames a second when `pool` is None
    seed: int | None  # of the weights before any training; None: there are none, or it is not known

    def embed(
        self, waveform: Float32[np.ndarray, "*channels samples"], sample_rate: int, *, pool: Pool = None
    ) -> Float32[np.ndarray, "layers *frames dim"]:
        """Features `[layers, frames, dim]`, or `[layers, pooled_dim]` with one vector for the whole stretch."""
        ...


def pooled(
    frames: Float32[np.ndarray, "layers frames dim"], pool: WindowStatistics
) -> Float32[np.ndarray, "layers pooled_dim"]:
    """The mean over time, and after it, if `pool` says so, the standard deviation over time of every dimension.

    Raises:
        ValueError: if `pool` is neither.
    """
    if pool not in get_args(WindowStatistics):
        raise ValueError(f"pool={pool!r} is not known; allowed are {', '.join(get_args(WindowStatistics))} and None")
    mean = frames.mean(axis=1)
    return mean if pool == "mean" else np.concatenate([mean, frames.std(axis=1)], axis=1)


def pooled_dim(dim: int, pool: WindowStatistics) -> int:
    """The length of what `pooled` makes of frames of `dim` values."""
    return dim if pool == "mean" else 2 * dim


@dataclass(frozen=True, kw_only=True)
class FeatureChunk:
    """The features of some stretches of audio, by the stretches' keys."""

    features: dict[str, Float16[Tensor, "layers *frames dim"]]
    failed: dict[str, Fault]  # audio that turned out to be unusable


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Decoded audio."""

    waveform: Float32[np.ndarray, "channels samples"]
    sample_rate: int


def read_stretch(example: Example) -> Stretch:
    """Decode the audio of an example.

    Raises:
        soundfile.LibsndfileError: if it cannot be decoded.
        EnvironmentFaultError: if the system cannot read it, which says nothing about what is in it.
    """
    try:
        with soundfile.SoundFile(example.path) as file:
            rate = file.samplerate
            if example.offset_s:
                file.seek(round(example.offset_s * rate))
            count = -1 if example.duration_s is None else round(example.duration_s * rate)
            samples = file.read(count, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        if isinstance(error, soundfile.LibsndfileError) and error.code != _SYSTEM_ERROR:
            raise
        raise EnvironmentFaultError(
            f"{example.path} cannot be read now ({error}), but could be when this command began; check its disk, network "
            f"and permissions, then run the same command again"
        ) from error
    return Stretch(waveform=np.ascontiguousarray(samples.T), sample_rate=rate)


def extract_chunk(features: FrozenFeatures, stretches: Mapping[str, Example], *, pool: Pool) -> FeatureChunk:
    """The features of stretches of audio, each with a key; audio that cannot be used is noted, and the rest goes on.

    Raises:
        DataError: if the features of good audio are NaN or infinite: one such number spoils all scores.
        EnvironmentFaultError: if a file cannot be read: that may pass, and what is noted here is kept for good.
    """
    found: dict[str, Tensor] = {}
    failed: dict[str, Fault] = {}
    for key, example in stretches.items():
        try:
            stretch = read_stretch(example)
        except soundfile.LibsndfileError:
            failed[key] = "undecodable"
            continue
        if not np.isfinite(stretch.waveform).all():
            failed[key] = "undecodable"
        elif stretch.waveform.shape[1] < MIN_AUDIO_S * stretch.sample_rate:
            failed[key] = "too_short"
        else:
            values = torch.from_numpy(features.embed(stretch.waveform, stretch.sample_rate, pool=pool))
            if not values.isfinite().all():
                raise DataError(
                    f"{features.name} makes features that are NaN or infinite of {example.path}; see whether its weights are "
                    f"sound (a run that diverged? another checkpoint?), or leave it out"
                )
            limit = torch.finfo(torch.float16).max
            found[key] = values.clamp(-limit, limit).half().contiguous()
    return FeatureChunk(features=found, failed=failed)
