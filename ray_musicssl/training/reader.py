"""Crops of a stretch of the plan, read from shards. No torch here: data workers start fast."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int16, Int32

from ray_musicssl.audio.crop import crop_labels, crop_start
from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.audio.shard import FULL_SCALE, Shards, part_name, pcm_views, read_row_group
from ray_musicssl.errors import DataError
from ray_musicssl.training.plan import PlanEntries, SamplePlan

CACHE_BYTES = 128 << 20  # row groups kept by one reader; a small corpus is read from disk once


@dataclass(frozen=True)
class LabelSource:
    """A finished label directory and its rate."""

    path: Path
    frame_rate: float  # labels a second


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Crops in the order of their positions."""

    pcm: Int16[np.ndarray, "n samples"]
    labels: tuple[Int32[np.ndarray, "n frames"], ...]  # one array a label set
    mean: Float32[np.ndarray, " n"]  # of the whole clip each crop comes from, full scale 1
    std: Float32[np.ndarray, " n"]

    def rows(self, begin: int, end: int) -> "Crops":
        """Some of the crops, without copying."""
        return Crops(
            pcm=self.pcm[begin:end],
            labels=tuple(label_set[begin:end] for label_set in self.labels),
            mean=self.mean[begin:end],
            std=self.std[begin:end],
        )


@dataclass(frozen=True, kw_only=True)
class StepCrops:
    """One worker's crops for one step."""

    step: int
    positions: Sequence[int]
    crops: Crops


class _RowGroups:
    """The tables of recently used row groups: audio first, then one table a label set."""

    def __init__(self, shards: Shards, label_sources: Sequence[LabelSource]) -> None:
        self._shards = shards
        self._label_dirs = [source.path for source in label_sources]
        self._tables: OrderedDict[tuple[int, int], list[pa.Table]] = OrderedDict()
        self._size_bytes = 0

    def read(self, part: int, row_group: int) -> list[pa.Table]:
        place = (part, row_group)
        if place in self._tables:
            self._tables.move_to_end(place)
            return self._tables[place]
        audio = read_row_group(self._shards.part_path(part), row_group, ["clip_id", "pcm"])
        tables = [audio]
        for labels_dir in self._label_dirs:
            labels = read_row_group(labels_dir / part_name(part), row_group)
            if not labels["clip_id"].equals(audio["clip_id"]):
                raise DataError(
                    f"{labels_dir / part_name(part)} does not label the clips of {self._shards.part_path(part)} "
                    f"(row group {row_group}); label the shards again"
                )
            tables.append(labels)
        self._tables[place] = tables
        self._size_bytes += _size(tables)
        while self._size_bytes > CACHE_BYTES and len(self._tables) > 1:
            self._size_bytes -= _size(self._tables.popitem(last=False)[1])
        return tables


def _size(tables: Sequence[pa.Table]) -> int:
    return sum(table.nbytes for table in tables)


class CropReader:
    """Reads any stretch of a run's sample plan."""

    def __init__(
        self,
        shards: Shards,
        label_sources: Sequence[LabelSource],
        *,
        longest_crop_samples: int,
        seed: int,
        with_levels: bool,
    ) -> None:
        """Open the shards.

        Args:
            shards: finished shards.
            label_sources: label directories in the order of the objective's heads.
            longest_crop_samples: length of the longest crop there will be.
            seed: the run's seed.
            with_levels: whether to measure each clip's mean and spread (else 0 and 1), as normalising runs need.
        """
        manifest = shards.manifest()
        self.plan = SamplePlan(manifest, longest_crop_samples=longest_crop_samples, seed=seed)
        self._label_sources = list(label_sources)
        self._with_levels = with_levels
        self._places = np.stack([manifest[name].to_numpy() for name in ("part", "row_group", "row")], axis=1)
        self._row_groups = _RowGroups(shards, label_sources)

    def read(self, positions: range, crop_samples: int) -> Crops:
        """The crops at some positions, each of `crop_samples` samples."""
        entries = self.plan.entries(positions.start, positions.stop)
        num_crops = len(positions)
        num_frames = ENCODER_GRID.num_frames(crop_samples)
        crops = Crops(
            pcm=np.empty((num_crops, crop_samples), np.int16),
            labels=tuple(np.empty((num_crops, num_frames), np.int32) for _ in self._label_sources),
            mean=np.zeros(num_crops, np.float32),
            std=np.ones(num_crops, np.float32),
        )
        places = self._places[entries.clip]
        # Row group by row group, so that each is opened once.
        for index in np.lexsort((places[:, 2], places[:, 1], places[:, 0])):
            self._fill(crops, int(index), entries, tuple(int(p) for p in places[index]))
        return crops

    def _fill(self, crops: Crops, index: int, entries: PlanEntries, place: tuple[int, ...]) -> None:
        part, row_group, row = place
        audio, *label_tables = self._row_groups.read(part, row_group)
        waveform = pcm_views(audio["pcm"].slice(row, 1))[0]
        crop_samples = crops.pcm.shape[1]
        start = crop_start(len(waveform), crop_samples, int(entries.crop_seed[index]))
        crops.pcm[index] = waveform[start : start + crop_samples]
        if self._with_levels:
            crops.mean[index] = waveform.mean() / FULL_SCALE
            crops.std[index] = waveform.std() / FULL_SCALE
        for labels, table, source in zip(crops.labels, label_tables, self._label_sources, strict=True):
            clip_labels = table["labels"][row].values.to_numpy()
            labels[index] = crop_labels(clip_labels, start, labels.shape[1], source.frame_rate)
