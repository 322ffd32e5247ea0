"""Extracting frozen features on every worker: the first half of `probe`.

Conventions:
    A chunk that is there is not made again; which chunks there are follows from the order of the examples alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from ray_musicssl.errors import DataError
from ray_musicssl.on_ray.session import run_tasks
from ray_musicssl.probing.features import (
    ChunkPlan,
    FrozenFeatures,
    Pool,
    extract_chunk,
    load_facts,
    pooled_dim,
    save_chunk,
)
from ray_musicssl.probing.sources import Source, open_features
from ray_musicssl.progress import progress, stderr
from ray_musicssl.run_dir import hash_of, need_free_space

BYTES_PER_VALUE = 2  # float16


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """What one encoder makes of the examples of one task, on disk."""

    source: Source
    pool: Pool
    chunks: Sequence[ChunkPlan]

    @property
    def size_bytes(self) -> int:
        """About the size of all its features."""
        return sum(self.chunk_bytes(chunk) for chunk in self.chunks)

    @property
    def values_a_vector(self) -> int:
        """Values, of all layers, of one example or frame."""
        dim = pooled_dim(self.source.dim, self.pool) if self.pool else self.source.dim
        return self.source.num_layers * dim

    def chunk_bytes(self, chunk: ChunkPlan) -> int:
        """About the size of a chunk's features."""
        vectors = len(chunk.examples) if self.pool else chunk.audio_s * self.source.frame_rate
        return round(vectors * self.values_a_vector * BYTES_PER_VALUE)

    def failed(self) -> Counter[str]:
        """How many examples' audio could not be used after all, by reason; once everything is extracted."""
        return Counter(fault for chunk in self.chunks for fault in load_facts(chunk.path).failed.values())

    def content_hash(self) -> str | None:
        """A hash of all that its files hold; None while one is missing."""
        if not all(chunk.path.exists() for chunk in self.chunks):
            return None
        return hash_of([load_facts(chunk.path).content_hash for chunk in self.chunks])

    def remove(self) -> None:
        """Remove its files, whichever there are."""
        for chunk in self.chunks:
            chunk.path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class _Extraction:
    """One Ray task's share."""

    spec: str
    content_hash: str
    pool: Pool
    chunk: ChunkPlan


def extract(wanted: Sequence[FeatureSet], cache_dir: Path) -> None:
    """Make the chunks that are not there yet, inside `session()`.

    Raises:
        DataError: if an encoder has changed since it was described, or makes features that are not finite.
        EnvironmentFaultError: if the disk cannot take the features, or an audio file cannot be read.
    """
    chunks = {chunk.path: (features, chunk) for features in wanted for chunk in features.chunks}
    missing = [(features, chunk) for path, (features, chunk) in chunks.items() if not path.exists()]
    if not missing:
        return
    size_bytes = sum(features.chunk_bytes(chunk) for features, chunk in missing)
    stderr.print(f"extract    about {size_bytes / 1e6:.0f} MB of features in {cache_dir}", highlight=False)
    need_free_space(cache_dir, size_bytes)
    items = [
        _Extraction(
            spec=features.source.spec, content_hash=features.source.content_hash, pool=features.pool, chunk=chunk
        )
        for features, chunk in missing
    ]
    with progress("extract", sum(chunk.audio_s for _, chunk in chunks.values()), "s of audio") as meter:
        meter.start_from(meter.total - sum(item.chunk.audio_s for item in items))
        for index, _ in run_tasks(_extract_on_worker, items):
            meter.advance(items[index].chunk.audio_s)


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
    save_chunk(item.chunk.path, extract_chunk(features, item.chunk.examples, pool=item.pool))
