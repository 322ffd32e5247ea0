"""What a probe sees: the features of any encoder, trained or not, or made by hand; and the files that keep them.

Conventions:
    A chunk holds the features of a few examples as float16, each `[layers, dim]` (pooled) or `[layers, frames, dim]`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
import soundfile
import torch
from jaxtyping import Float16, Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ray_musicssl.config.probe import WindowStatistics
from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.run_dir import hash_of, replacing
from ray_musicssl.tasks.base import Example
from ray_musicssl.tasks.locate import MIN_AUDIO_S, Fault

Pool = WindowStatistics | None

CHUNK_AUDIO_S = 120.0  # half a second to half a minute of work, by the encoder's size
CHUNK_EXAMPLES = 128
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
class ChunkPlan:
    """Which examples go into one file."""

    path: Path
    examples: Sequence[Example]

    @property
    def audio_s(self) -> float:
        """Seconds of audio, as far as durations are known."""
        return sum(example.duration_s or 0.0 for example in self.examples)


def plan_chunks(examples: Sequence[Example], folder: Path) -> list[ChunkPlan]:
    """Files for consecutive examples, about `CHUNK_AUDIO_S` of audio each; a function of the examples alone."""
    groups: list[list[Example]] = [[]]
    audio_s = 0.0
    for example in examples:
        duration_s = example.duration_s or 0.0
        if groups[-1] and (audio_s + duration_s > CHUNK_AUDIO_S or len(groups[-1]) == CHUNK_EXAMPLES):
            groups.append([])
            audio_s = 0.0
        groups[-1].append(example)
        audio_s += duration_s
    return [
        ChunkPlan(path=folder / f"chunk-{index:05d}.safetensors", examples=group) for index, group in enumerate(groups)
    ]


@dataclass(frozen=True, kw_only=True)
class FeatureChunk:
    """The features of some examples, by their ids."""

    features: dict[str, Float16[Tensor, "layers *frames dim"]]
    failed: dict[str, Fault]  # examples whose audio turned out to be unusable


@dataclass(frozen=True, kw_only=True)
class ChunkFacts:
    """What a chunk says of itself, without its tensors."""

    failed: dict[str, Fault]
    content_hash: str  # of all that the chunk holds


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


def extract_chunk(features: FrozenFeatures, examples: Sequence[Example], *, pool: Pool) -> FeatureChunk:
    """The features of `examples`; audio that cannot be used is noted, and the rest goes on.

    Raises:
        DataError: if the features of good audio are NaN or infinite: one such number spoils all scores.
        EnvironmentFaultError: if a file cannot be read: that may pass, and what is noted here is kept for good.
    """
    found: dict[str, Tensor] = {}
    failed: dict[str, Fault] = {}
    for example in examples:
        try:
            stretch = read_stretch(example)
        except soundfile.LibsndfileError:
            failed[example.id] = "undecodable"
            continue
        if not np.isfinite(stretch.waveform).all():
            failed[example.id] = "undecodable"
        elif stretch.waveform.shape[1] < MIN_AUDIO_S * stretch.sample_rate:
            failed[example.id] = "too_short"
        else:
            values = torch.from_numpy(features.embed(stretch.waveform, stretch.sample_rate, pool=pool))
            if not values.isfinite().all():
                raise DataError(
                    f"{features.name} makes features that are NaN or infinite of {example.path}; see whether its weights are "
                    f"sound (a run that diverged? another checkpoint?), or leave it out"
                )
            limit = torch.finfo(torch.float16).max
            found[example.id] = values.clamp(-limit, limit).half().contiguous()
    return FeatureChunk(features=found, failed=failed)


def save_chunk(path: Path, chunk: FeatureChunk) -> None:
    """Write a chunk whole, or nothing."""
    with replacing(path) as temporary:
        tensors = {str(index): tensor for index, tensor in enumerate(chunk.features.values())}
        about = {"ids": list(chunk.features), "failed": chunk.failed, "tensors": _hash_of_tensors(chunk)}
        # One entry only: the file format writes several in an order of chance, and equal chunks are to be equal bytes.
        save_file(tensors, temporary, {"about": json.dumps(about)})


def _hash_of_tensors(chunk: FeatureChunk) -> str:
    digest = hashlib.sha256()
    for tensor in chunk.features.values():
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def load_chunk(path: Path) -> FeatureChunk:
    """Read a chunk into memory.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with _opened(path) as file:
        about = json.loads(file.metadata()["about"])
        # Copies: a tensor as the file gives it keeps the file mapped, and a process may map only some 65,000.
        found = {item: file.get_tensor(str(index)).clone() for index, item in enumerate(about["ids"])}
    return FeatureChunk(features=found, failed=about["failed"])


def load_facts(path: Path) -> ChunkFacts:
    """Read only what a chunk says of itself.

    Raises:
        DataError: if the file is missing or damaged.
    """
    with _opened(path) as file:
        about = json.loads(file.metadata()["about"])
    return ChunkFacts(failed=about["failed"], content_hash=hash_of(about))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"features in {path} cannot be read ({error!r}); remove the file and probe again") from error
