"""Where features are kept: files of a few stretches of audio each, and where to find every stretch again.

Conventions:
    A stretch is known by a key of what it sounds like: its file's bytes, its begin and its length. Not by its name, nor by
    who asks: tasks that hear the same audio share its features, and a data set that grows by a track costs that track.
    A file is named by its keys, is written whole and is not changed afterwards.
    The mean over time is found, too, where mean and standard deviation are kept.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from jaxtyping import Float16
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.probing.features import FeatureChunk, Pool
from ray_musicssl.run_dir import HASH_LENGTH, hash_of, replacing
from ray_musicssl.tasks.base import Example
from ray_musicssl.tasks.locate import Fault

logger = logging.getLogger(__name__)

CHUNK_AUDIO_S = 120.0  # half a second to half a minute of work, by the encoder's size
CHUNK_STRETCHES = 128
OPEN_FILES = 2  # at a time, by who reads: a beat file of a 95M encoder has 120 MB


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the features of a stretch of audio are kept."""

    path: Path
    key: str
    fault: Fault | None  # why there are none: the audio cannot be used
    digest: str  # of the features
    is_wide: bool = False  # mean and standard deviation are there, and the mean is wanted


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """Which stretches of audio go into one file."""

    path: Path
    stretches: Mapping[str, Example]  # key -> any of the examples that hear it

    @property
    def audio_s(self) -> float:
        """Seconds of audio, as far as durations are known."""
        return sum(example.duration_s or 0.0 for example in self.stretches.values())


class FeatureStore:
    """What there is of one encoder's features in one form."""

    def __init__(self, encoder_dir: Path, pool: Pool) -> None:
        self.pool: Pool = pool
        self._folder = encoder_dir / (pool or "frames")
        self._wide = FeatureStore(encoder_dir, "mean+sd") if pool == "mean" else None
        self._files: dict[Path, dict[str, Place]] = {}
        self._places: dict[str, Place] = {}
        self.look()

    def look(self) -> None:
        """Take in which files have come, and which have gone; what a damaged one held counts as not there.

        Raises:
            EnvironmentFaultError: if the system does not give one.
        """
        paths = sorted(self._folder.glob("*.safetensors"))
        self._files = {path: self._files.get(path) or _places_in(path) for path in paths}
        self._places = {}
        for places in self._files.values():
            for key, place in places.items():
                self._places.setdefault(key, place)
        if self._wide:
            self._wide.look()

    def find(self, key: str) -> Place | None:
        """Where a stretch is, at the last look; None: nowhere."""
        if place := self._places.get(key):
            return place
        wide = self._wide and self._wide.find(key)
        return wide and replace(wide, is_wide=True)

    def plan(self, stretches: Mapping[str, Example]) -> list[ChunkPlan]:
        """Files for these stretches, about `CHUNK_AUDIO_S` of audio each: a function of the stretches alone."""
        groups: list[dict[str, Example]] = []
        room_s = 0.0
        for key, example in stretches.items():
            duration_s = example.duration_s or 0.0
            if not groups or duration_s > room_s or len(groups[-1]) == CHUNK_STRETCHES:
                groups.append({})
                room_s = CHUNK_AUDIO_S
            groups[-1][key] = example
            room_s -= duration_s
        return [
            ChunkPlan(path=self._folder / f"{hash_of(list(group))}.safetensors", stretches=group) for group in groups
        ]

    def remove(self, keys: Collection[str]) -> None:
        """Remove the files that hold any of these stretches, in every form that they would be found in."""
        wanted = set(keys)
        for path, places in self._files.items():
            if not wanted.isdisjoint(places):
                path.unlink(missing_ok=True)
        if self._wide:
            self._wide.remove(keys)
        self.look()


def save_chunk(path: Path, chunk: FeatureChunk) -> None:
    """Write a chunk whole, or nothing."""
    about = {
        "digests": {key: _digest(tensor) for key, tensor in chunk.features.items()},
        "failed": chunk.failed,
    }
    with replacing(path) as temporary:
        # One entry only: the file format writes several in an order of chance, and equal chunks are to be equal bytes.
        save_file(dict(chunk.features), temporary, {"about": json.dumps(about)})


def _digest(tensor: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:HASH_LENGTH]


def _places_in(path: Path) -> dict[str, Place]:
    """What a file says of itself, without its tensors; nothing, if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
        sound = {key: Place(path=path, key=key, fault=None, digest=digest) for key, digest in about["digests"].items()}
        return sound | {
            key: Place(path=path, key=key, fault=fault, digest=fault) for key, fault in about["failed"].items()
        }
    except OSError as error:
        raise EnvironmentFaultError(
            f"{path} cannot be read now ({error}); check its disk and permissions, then run the same command again"
        ) from error
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        logger.warning("features in %s are damaged (%r) and are made again where they are needed", path, error)
        return {}


def read_places(places: Sequence[Place]) -> Iterator[Float16[Tensor, "layers *frames dim"]]:
    """The features kept at each of these places, in this order; none of them has a fault.

    Raises:
        DataError: if a file is missing or damaged.
    """
    opened = lru_cache(maxsize=OPEN_FILES)(_open)
    for place in places:
        try:
            tensor = opened(place.path).get_tensor(place.key)
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"features in {place.path} cannot be read ({error!r}); remove the file and probe again"
            ) from error
        # A copy: a tensor as the file gives it keeps the file mapped, and a process may map only some 65,000.
        yield (tensor[..., : tensor.shape[-1] // 2] if place.is_wide else tensor).clone()


def _open(path: Path) -> Any:
    return safe_open(path, framework="pt")


def hash_of_places(places: Iterable[Place]) -> str:
    """A hash of all that is kept at these places."""
    return hash_of([place.digest for place in places])
