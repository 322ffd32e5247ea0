"""The sample plan as a Ray Data stream: one execution from the first step to the last, across epochs.

Conventions:
    An item is a stretch of steps; a task reads it and gives, chunk by chunk, one row for worker 0, one for worker 1, ...
    Every row is a block of its own and the order is preserved, so the splitter deals rows to workers in turn: worker r gets
    the r-th row of each chunk. The loop checks the positions all the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import DataIterator, Dataset, ExecutionOptions

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.audio.shard import open_shards
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.training.plan import StepLayout
from ray_musicssl.training.reader import CropReader, Crops, LabelSource, StepCrops

CHUNK_BYTES = 24 << 20  # audio of one chunk, over all workers
MOST_ITEMS = 2000  # each costs the driver a little at the start; beyond this, items hold several chunks
READER_CPUS = 0.25


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """What a stream depends on; small, sent to every reading task."""

    shards_dir: Path
    labels: tuple[LabelSource, ...]
    crop_samples: int
    seed: int
    with_levels: bool
    layout: StepLayout
    max_steps: int

    @classmethod
    def of(
        cls, config: PretrainConfig, shards_dir: Path, labels: Sequence[LabelSource], num_workers: int
    ) -> "StreamSpec":
        """The stream of a run."""
        return cls(
            shards_dir=shards_dir,
            labels=tuple(labels),
            crop_samples=config.audio.crop_samples,
            seed=config.training.seed,
            with_levels=config.encoder.normalize_waveform,
            layout=StepLayout.of(config.audio, num_workers),
            max_steps=config.training.max_steps,
        )

    @property
    def chunk_steps(self) -> int:
        """Steps whose crops travel together."""
        step_bytes = 2 * self.layout.batch_clips * self.crop_samples
        return max(1, CHUNK_BYTES // step_bytes)


def make_dataset(spec: StreamSpec, first_step: int) -> Dataset:
    """The stream from `first_step` to the end of the run.

    Each item is one block and each row another: the context's block size is set to split wherever it can.
    """
    num_steps = spec.max_steps - first_step
    num_chunks = -(-num_steps // spec.chunk_steps)
    item_steps = spec.chunk_steps * max(1, -(-num_chunks // MOST_ITEMS))
    items = [
        {"first": first, "stop": min(first + item_steps, spec.max_steps)}
        for first in range(first_step, spec.max_steps, item_steps)
    ]
    ray.data.DataContext.get_current().target_max_block_size = 1
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    read = partial(_read_item, spec=spec)
    return dataset.map_batches(read, batch_format="pyarrow", batch_size=None, num_cpus=READER_CPUS)


def in_order() -> ExecutionOptions:
    """The options without which Ray Data gives batches in any order."""
    return ExecutionOptions(preserve_order=True)


def received(shard: DataIterator, spec: StreamSpec) -> Iterator[StepCrops]:
    """One worker's steps, from its share of the stream."""
    for row in shard.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=2):
        yield from _unpack(row, spec)


def read_here(spec: StreamSpec, first_step: int) -> Iterator[StepCrops]:
    """The same steps for a single worker, read in the calling process without Ray Data."""
    for first in range(first_step, spec.max_steps, spec.chunk_steps):
        for row in _rows(spec, first, min(first + spec.chunk_steps, spec.max_steps)):
            yield from _unpack(row, spec)


@lru_cache(maxsize=2)
def _reader(spec: StreamSpec) -> CropReader:
    """One reader a process: it keeps the plan and recent row groups."""
    return CropReader(
        open_shards(spec.shards_dir),
        spec.labels,
        crop_samples=spec.crop_samples,
        seed=spec.seed,
        with_levels=spec.with_levels,
    )


def _read_item(batch: pa.Table, spec: StreamSpec) -> Iterator[pa.Table]:
    for item in batch.to_pylist():
        for first in range(item["first"], item["stop"], spec.chunk_steps):
            yield from _rows(spec, first, min(first + spec.chunk_steps, item["stop"]))


def _rows(spec: StreamSpec, first: int, stop: int) -> Iterator[pa.Table]:
    """One row a worker for the steps `first` up to `stop`."""
    base = first * spec.layout.batch_clips
    crops = _reader(spec).read(base, stop * spec.layout.batch_clips)
    for rank in range(spec.layout.num_workers):
        batches = [spec.layout.micro_batches(step, rank) for step in range(first, stop)]
        positions = np.array([p for step in batches for batch in step for p in batch], np.int64)
        chosen = positions - base
        columns = {
            "first": pa.array([first]),
            "stop": pa.array([stop]),
            "positions": _binary(positions),
            "pcm": _binary(crops.pcm[chosen]),
            "mean": _binary(crops.mean[chosen]),
            "std": _binary(crops.std[chosen]),
        }
        columns |= {f"labels_{i}": _binary(labels[chosen]) for i, labels in enumerate(crops.labels)}
        yield pa.table(columns)


def _binary(array: np.ndarray) -> pa.Array:
    return pa.array([np.ascontiguousarray(array).tobytes()], pa.large_binary())


def _unpack(row: pa.Table, spec: StreamSpec) -> Iterator[StepCrops]:
    """The steps of one row; arrays are views of the row."""

    def array(name: str, dtype: type, width: int | None = None) -> np.ndarray:
        flat = np.frombuffer(row[name][0].as_buffer(), dtype)
        return flat if width is None else flat.reshape(-1, width)

    positions = array("positions", np.int64)
    num_frames = ENCODER_GRID.num_frames(spec.crop_samples)
    crops = Crops(
        pcm=array("pcm", np.int16, spec.crop_samples),
        labels=tuple(array(f"labels_{i}", np.int32, num_frames) for i in range(len(spec.labels))),
        mean=array("mean", np.float32),
        std=array("std", np.float32),
    )
    steps = positions // spec.layout.batch_clips
    for step in range(row["first"][0].as_py(), row["stop"][0].as_py()):
        begin, end = np.searchsorted(steps, [step, step + 1])
        yield StepCrops(step=step, positions=positions[begin:end].tolist(), crops=crops.rows(int(begin), int(end)))
