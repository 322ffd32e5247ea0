"""The sample plan as a Ray Data stream: one execution from the first step to the last, across epochs.

Conventions:
    An item is a stretch of steps; a task reads it and gives, chunk by chunk, one row for worker 0, one for worker 1, ...
    Every row is a block of its own and the order is preserved, so the splitter deals rows to workers in turn: worker r gets
    the r-th row of each chunk. The loop checks the positions all the same.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray.data
from ray.data import DataContext, DataIterator, Dataset, ExecutionOptions
from ray.data._internal.execution.execution_callback import ExecutionCallback

from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.audio.shard import Shards, open_shards
from ray_musicssl.clustering.label_set import LabelSet
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray.room import READER_CPUS
from ray_musicssl.training.plan import StepLayout
from ray_musicssl.training.reader import CropReader, Crops, LabelSource, StepCrops

CHUNK_BYTES = 24 << 20  # audio of one chunk, over all workers
MOST_ITEMS = 2000  # each costs the driver a little at the start; beyond this, items hold several chunks
REST_S = 0.02  # seconds between two looks at the stream; a chunk takes seconds to read


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """What a stream depends on; small, sent to every reading task."""

    shards_dir: Path
    shards_hash: str  # of the audio found there when the run began
    labels: tuple[LabelSource, ...]
    label_hashes: tuple[str, ...]  # of their codebooks; with the audio's they say what the labels are
    longest_crop_samples: int
    seed: int
    with_levels: bool
    layout: StepLayout

    @classmethod
    def of(cls, config: PretrainConfig, shards: Shards, labels: Sequence[LabelSet], num_workers: int) -> "StreamSpec":
        """The stream of a run."""
        return cls(
            shards_dir=shards.path.resolve(),
            shards_hash=shards.content_hash,
            labels=tuple(LabelSource(label_set.path.resolve(), label_set.frame_rate) for label_set in labels),
            label_hashes=tuple(label_set.codebook_hash for label_set in labels),
            longest_crop_samples=config.audio.longest_crop_samples,
            seed=config.training.seed,
            with_levels=config.encoder.normalize_waveform,
            layout=StepLayout.of(config.audio, config.training.max_steps, num_workers),
        )

    @property
    def max_steps(self) -> int:
        """Steps of the whole run."""
        return self.layout.max_steps

    @property
    def chunk_steps(self) -> int:
        """Steps whose crops travel together."""
        step_bytes = max(2 * stage.batch_clips * stage.crop_samples for stage in self.layout.stages)
        return max(1, CHUNK_BYTES // step_bytes)

    def chunks(self, first: int, stop: int) -> list[tuple[int, int]]:
        """The steps `first` up to `stop` in stretches that travel together, each inside one stage."""
        return [
            (begin, min(begin + self.chunk_steps, end))
            for start, end in self.layout.stretches(first, stop)
            for begin in range(start, end, self.chunk_steps)
        ]


class Rest(ExecutionCallback):
    """A pause in every turn of Ray Data's scheduling loop.

    While chunks wait for workers no task is running, and the loop of Ray 2.60, which waits for tasks and nothing else, then
    turns without a pause: up to a core of the machine for each run.
    """

    def on_execution_step(self, executor: object) -> None:  # noqa: ARG002  (whose loop it is plays no part)
        """Called once a turn, in the loop's own thread."""
        time.sleep(REST_S)


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
    context = DataContext.get_current()
    context.target_max_block_size = 1
    context.custom_execution_callback_classes = [Rest]
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
    for first, stop in spec.chunks(first_step, spec.max_steps):
        for row in _rows(spec, first, stop):
            yield from _unpack(row, spec)


@lru_cache(maxsize=2)
def _reader(spec: StreamSpec) -> CropReader:
    """One reader a process: it keeps the plan and recent row groups, and serves only the audio and labels it was made for."""
    shards = open_shards(spec.shards_dir)
    if shards.content_hash != spec.shards_hash:
        raise DataError(
            f"{spec.shards_dir} holds the audio {shards.content_hash}, but this run began with {spec.shards_hash}; "
            f"put back the run's shards or start another run"
        )
    return CropReader(
        shards,
        spec.labels,
        longest_crop_samples=spec.longest_crop_samples,
        seed=spec.seed,
        with_levels=spec.with_levels,
    )


def _read_item(batch: pa.Table, spec: StreamSpec) -> Iterator[pa.Table]:
    for item in batch.to_pylist():
        for first, stop in spec.chunks(item["first"], item["stop"]):
            yield from _rows(spec, first, stop)


def _rows(spec: StreamSpec, first: int, stop: int) -> Iterator[pa.Table]:
    """One row a worker for the steps `first` up to `stop` of one stage."""
    stage = spec.layout.stage(first)
    stretch = stage.positions(first, stop)
    crops = _reader(spec).read(stretch, stage.crop_samples)
    for rank in range(spec.layout.num_workers):
        batches = [spec.layout.micro_batches(step, rank) for step in range(first, stop)]
        positions = np.array([p for step in batches for batch in step for p in batch], np.int64)
        chosen = positions - stretch.start
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

    first, stop = row["first"][0].as_py(), row["stop"][0].as_py()
    stage = spec.layout.stage(first)
    positions = array("positions", np.int64)
    num_frames = ENCODER_GRID.num_frames(stage.crop_samples)
    crops = Crops(
        pcm=array("pcm", np.int16, stage.crop_samples),
        labels=tuple(array(f"labels_{i}", np.int32, num_frames) for i in range(len(spec.labels))),
        mean=array("mean", np.float32),
        std=array("std", np.float32),
    )
    for step in range(first, stop):
        taken = stage.positions(step, step + 1)
        begin, end = np.searchsorted(positions, [taken.start, taken.stop])
        yield StepCrops(step=step, positions=positions[begin:end].tolist(), crops=crops.rows(int(begin), int(end)))
