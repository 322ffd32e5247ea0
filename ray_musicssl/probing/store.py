"""Where features are kept: files of a few stretches of audio each, and where to find every stretch again.

Conventions:
    A stretch is known by a key of what it sounds like: its file's bytes, its begin and its length. Not by its name, nor by
    who asks: tasks that hear the same audio share its features, and a data set that grows by a track costs that track.
    A file is named by its keys and written whole. `index.json` remembers what the files beside it say of themselves, by
    their size and time of change, so that a second look costs one `stat` a file; nothing is lost with it but time.
    The mean over time is found, too, where mean and standard deviation are kept.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float16, Int32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.probing.features import FeatureChunk, Pool
from ray_musicssl.run_dir import HASH_LENGTH, hash_of, read_json, replacing, write_json
from ray_musicssl.tasks.base import Example
from ray_musicssl.tasks.locate import Fault

logger = logging.getLogger(__name__)

CHUNK_AUDIO_S = 120.0  # half a second to half a minute of work, by the encoder's size
CHUNK_STRETCHES = 128
INDEX_NAME = "index.json"
_OPEN_FILES = {True: 6, False: 2}  # at a time, pooled or not: frames of a 95M encoder are 120 MB a file


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the features of some stretches are kept, column by column: there may be hundreds of thousands."""

    files: tuple[Path, ...]
    file_of: Int32[np.ndarray, " stretches"]  # which of `files`
    keys: Sequence[str]
    digests: Sequence[str]  # of the features; "" where there are none
    faults: Mapping[int, Fault]  # stretch -> why there are none: its audio cannot be used
    wide: frozenset[int]  # files that hold mean and standard deviation, where the mean is wanted
    pool: Pool

    def content_hash(self) -> str:
        """A hash of all that is kept there, wherever that is."""
        return hash_of([self.faults.get(number) or digest for number, digest in enumerate(self.digests)])


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """Which stretches of audio go into one file."""

    path: Path
    stretches: Mapping[str, Example]  # key -> any of the examples that hear it

    @property
    def audio_s(self) -> float:
        """Seconds of audio, as far as durations are known."""
        return sum(example.duration_s or 0.0 for example in self.stretches.values())


class _Contents(NamedTuple):
    """What a file says of itself."""

    size: int
    mtime_ns: int
    digests: Mapping[str, str]  # key -> of its features
    failed: Mapping[str, Fault]


class FeatureStore:
    """What there is of one encoder's features in one form."""

    def __init__(self, encoder_dir: Path, pool: Pool) -> None:
        self.pool: Pool = pool
        self._folder = encoder_dir / (pool or "frames")
        self._folders = (self._folder, encoder_dir / "mean+sd") if pool == "mean" else (self._folder,)
        self._files: dict[Path, _Contents] = {}
        for folder in self._folders:
            self._files |= _remembered(folder)
        self._home: dict[str, Path] = {}
        self.look()

    def look(self) -> None:
        """Take in which files have come, and which have gone; what a damaged one held counts as not there.

        Raises:
            EnvironmentFaultError: if the system does not give one.
        """
        self._files = {path: found for folder in self._folders for path, found in _look(folder, self._files).items()}
        self._home = {}
        for path, found in self._files.items():
            for key in (*found.digests, *found.failed):
                self._home.setdefault(key, path)

    def has(self, key: str) -> bool:
        """Whether a stretch was there at the last look."""
        return key in self._home

    def places(self, keys: Sequence[str]) -> Places | None:
        """Where these stretches are; None while any is missing."""
        if not all(key in self._home for key in keys):
            return None
        homes = [self._home[key] for key in keys]
        number_of = {path: number for number, path in enumerate(dict.fromkeys(homes))}
        found = [self._files[path] for path in homes]
        return Places(
            files=tuple(number_of),
            file_of=np.array([number_of[path] for path in homes], np.int32),
            keys=list(keys),
            digests=[contents.digests.get(key, "") for contents, key in zip(found, keys, strict=True)],
            faults={
                place: contents.failed[key]
                for place, (contents, key) in enumerate(zip(found, keys, strict=True))
                if key in contents.failed
            },
            wide=frozenset(number for path, number in number_of.items() if path.parent != self._folder),
            pool=self.pool,
        )

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

    def clear(self) -> None:
        """Remove everything, in every form that it would be found in: old and new features are never mixed."""
        for folder in self._folders:
            for path in (folder / INDEX_NAME, *folder.glob("*.safetensors")):
                path.unlink(missing_ok=True)
        self.look()


def save_chunk(path: Path, chunk: FeatureChunk) -> None:
    """Write a chunk whole, or nothing."""
    about = {"digests": {key: _digest(tensor) for key, tensor in chunk.features.items()}, "failed": chunk.failed}
    with replacing(path) as temporary:
        # One entry only: the file format writes several in an order of chance, and equal chunks are to be equal bytes.
        save_file(dict(chunk.features), temporary, {"about": json.dumps(about)})


def _digest(tensor: Tensor) -> str:
    digest = hashlib.sha256(str(tuple(tensor.shape)).encode())
    digest.update(tensor.numpy().data)
    return digest.hexdigest()[:HASH_LENGTH]


def _remembered(folder: Path) -> dict[Path, _Contents]:
    """What a folder's index says; nothing if there is none, or it is damaged."""
    try:
        return {folder / name: _Contents(*entry) for name, entry in read_json(folder / INDEX_NAME).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _look(folder: Path, known: Mapping[Path, _Contents]) -> dict[Path, _Contents]:
    """What the files of a folder say of themselves, read only where it is not known; it is remembered."""
    found = {path: _contents(path, known.get(path)) for path in sorted(folder.glob("*.safetensors"))}
    files = {path: contents for path, contents in found.items() if contents}
    if any(contents is not known.get(path) for path, contents in files.items()):
        sound = {path.name: contents for path, contents in files.items() if contents.digests or contents.failed}
        write_json(folder / INDEX_NAME, sound)
    return files


def _contents(path: Path, known: _Contents | None) -> _Contents | None:
    """What a file says of itself, without its tensors; nothing if it is damaged, None if it has just gone."""
    try:
        status = path.stat()
        if known and known[:2] == (status.st_size, status.st_mtime_ns):
            return known
        return _Contents(status.st_size, status.st_mtime_ns, **_about(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFaultError(
            f"{path} cannot be read now ({error}); check its disk and permissions, then run the same command again"
        ) from error


def _about(path: Path) -> dict[str, dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
        return {"digests": dict(about["digests"]), "failed": dict(about["failed"])}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        logger.warning("delete %s: it is damaged (%r), and what it held is made again where it is needed", path, error)
        return {"digests": {}, "failed": {}}


def read_places(places: Places) -> Iterator[Float16[Tensor, "layers *frames dim"] | None]:
    """The features kept at each of these places, in this order; None where there are none.

    Raises:
        DataError: if a file is missing or damaged.
    """
    opened = lru_cache(maxsize=_OPEN_FILES[places.pool is not None])(_open)
    for place, (number, key, digest) in enumerate(
        zip(places.file_of.tolist(), places.keys, places.digests, strict=True)
    ):
        if place in places.faults:
            yield None
            continue
        path = places.files[number]
        try:
            # A copy: a tensor as the file gives it keeps the file mapped, and a process may map only some 65,000.
            tensor: Tensor = opened(path).get_tensor(key).clone()
        except (OSError, SafetensorError) as error:
            raise DataError(
                f"features in {path} cannot be read ({error!r}); remove the file and probe again"
            ) from error
        if _digest(tensor) != digest:
            raise DataError(f"features in {path} are not those that were saved there; remove the file and probe again")
        yield tensor[..., : tensor.shape[-1] // 2].clone() if number in places.wide else tensor


def _open(path: Path) -> Any:
    return safe_open(path, framework="pt")
