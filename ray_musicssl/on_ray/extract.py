"""Extracting frozen features on every worker: the first half of `probe`.

Conventions:
    What is there of a stretch of audio is not made again, and tasks that hear the same audio have it made once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from ray_musicssl.errors import DataError
from ray_musicssl.on_ray.session import run_tasks
from ray_musicssl.probing.features import FrozenFeatures, Pool, extract_chunk, pooled_dim
from ray_musicssl.probing.sources import Source, open_features
from ray_musicssl.probing.store import ChunkPlan, FeatureStore, Places, save_chunk
from ray_musicssl.progress import progress, stderr
from ray_musicssl.run_dir import need_free_space
from ray_musicssl.tasks.base import Example

BYTES_PER_VALUE = 2  # float16


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """What one encoder makes of the examples of one task, on disk."""

    source: Source
    store: FeatureStore
    examples: Sequence[Example]
    keys: Sequence[str]  # of what each example sounds like

    @property
    def pool(self) -> Pool:
        """What is kept of an example's frames."""
        return self.store.pool

    @property
    def size_bytes(self) -> int:
        """About the size of all its features."""
        return self.bytes_of(self.examples)

    @property
    def values_a_vector(self) -> int:
        """Values, of all layers, of one example or frame."""
        dim = pooled_dim(self.source.dim, self.pool) if self.pool else self.source.dim
        return self.source.num_layers * dim

    def bytes_of(self, examples: Sequence[Example]) -> int:
        """About the size of some examples' features."""
        seconds = sum(example.duration_s or 0.0 for example in examples)
        vectors = len(examples) if self.pool else seconds * self.source.frame_rate
        return round(vectors * self.values_a_vector * BYTES_PER_VALUE)

    def missing(self) -> dict[str, Example]:
        """The stretches of audio that there are no features of, by key."""
        return {key: example for key, example in zip(self.keys, self.examples, strict=True) if not self.store.has(key)}

    def places(self) -> Places:
        """Where each example's features are, once everything is extracted.

        Raises:
            DataError: if some have gone since.
        """
        places = self.store.places(self.keys)
        if places is None:
            raise DataError(f"features of {self.source.name} went while they were used; run the same command again")
        return places

    def failed(self) -> Counter[str]:
        """How many examples' audio could not be used after all, by reason; once everything is extracted."""
        return Counter(self.places().faults.values())

    def content_hash(self) -> str | None:
        """A hash of all its features; None while any is missing."""
        places = self.store.places(self.keys)
        return places and places.content_hash()


@dataclass(frozen=True, kw_only=True)
class _Extraction:
    """One Ray task's share."""

    spec: str
    content_hash: str
    pool: Pool
    chunk: ChunkPlan


def extract(wanted: Sequence[FeatureSet], cache_dir: Path) -> None:
    """Make the features that are not there yet, inside `session()`.

    Raises:
        DataError: if an encoder has changed since it was described, or makes features that are not finite.
        EnvironmentFaultError: if the disk cannot take the features, or an audio file cannot be read.
    """
    items, size_bytes = [], 0
    for features, stretches in _missing(wanted):
        size_bytes += features.bytes_of(list(stretches.values()))
        source = features.source
        items += [
            _Extraction(spec=source.spec, content_hash=source.content_hash, pool=features.pool, chunk=chunk)
            for chunk in features.store.plan(stretches)
        ]
    if not items:
        return
    stderr.print(f"extract    about {size_bytes / 1e6:.0f} MB of features in {cache_dir}", highlight=False)
    need_free_space(cache_dir, size_bytes)
    heard = {
        (id(one.store), key): example for one in wanted for key, example in zip(one.keys, one.examples, strict=True)
    }
    with progress("extract", sum(example.duration_s or 0.0 for example in heard.values()), "s of audio") as meter:
        meter.start_from(meter.total - sum(item.chunk.audio_s for item in items))
        for index, _ in run_tasks(_extract_on_worker, items):
            meter.advance(items[index].chunk.audio_s)
    for store in {id(features.store): features.store for features in wanted}.values():
        store.look()


def _missing(wanted: Sequence[FeatureSet]) -> list[tuple[FeatureSet, Mapping[str, Example]]]:
    """What each store lacks, with one of the sets that are kept there."""
    lacking: dict[int, tuple[FeatureSet, dict[str, Example]]] = {}
    for features in wanted:
        _, stretches = lacking.setdefault(id(features.store), (features, {}))
        for key, example in features.missing().items():
            stretches.setdefault(key, example)
    return [(features, stretches) for features, stretches in lacking.values() if stretches]


@lru_cache(maxsize=1)
def _opened(spec: str, content_hash: str) -> FrozenFeatures:
    """The encoder, loaded once in a worker process."""
    features = open_features(spec)
    if features.content_hash != content_hash:
        raise DataError(f"{spec} has changed since this command began; let its training end, then probe again")
    return features


def _extract_on_worker(item: _Extraction) -> None:
    torch.set_num_threads(1)
    features = _opened(item.spec, item.content_hash)
    save_chunk(item.chunk.path, extract_chunk(features, item.chunk.stretches, pool=item.pool))
