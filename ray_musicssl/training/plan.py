"""The order in which clips are used: computed, never stored.

Conventions:
    Position k of the endless stream is crop k % N of epoch k // N, where N counts the clips that are long enough. An epoch
    is a random order of row groups, cut into windows of a few, with the rows of a window shuffled: a pure function of
    (seed, manifest). A step of B crops uses the next B positions; micro-batch g of a step is a fixed slice of them, computed
    by worker g % W. So nothing is dropped or repeated, a resume is one number, and W may change between resumes.
    A schedule of crop lengths changes B, never the stream: N counts the clips that the longest crop fits into.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt64

from ray_musicssl.audio.frames import samples_to_seconds
from ray_musicssl.config.audio import AudioConfig
from ray_musicssl.errors import DataError
from ray_musicssl.randomness import key, mix, permutation

WINDOW_ROW_GROUPS = 8  # rows are shuffled among these; a batch reads few row groups


@dataclass(frozen=True, kw_only=True)
class PlanEntries:
    """A stretch of the stream, one element a position."""

    position: Int64[np.ndarray, " n"]
    epoch: Int64[np.ndarray, " n"]
    clip: Int64[np.ndarray, " n"]  # row of the manifest
    crop_seed: UInt64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of steps with one crop length."""

    first_step: int
    first_position: int
    crop_samples: int
    batch_clips: int
    micro_batch_clips: int

    def positions(self, first: int, stop: int) -> range:
        """The positions of the steps `first` up to `stop` of this stage."""
        return range(self._start(first), self._start(stop))

    def _start(self, step: int) -> int:
        return self.first_position + (step - self.first_step) * self.batch_clips


@dataclass(frozen=True, kw_only=True)
class StepLayout:
    """How the stream's positions fall into steps, those of a step into micro-batches, and these to workers."""

    stages: tuple[Stage, ...]
    max_steps: int
    num_workers: int

    @classmethod
    def of(cls, audio: AudioConfig, max_steps: int, num_workers: int) -> "StepLayout":
        """The layout for a run's audio settings."""
        stages, position = [], 0
        starts = audio.stage_starts(max_steps)
        for stage, first, stop in zip(audio.stages(), starts, [*starts[1:], max_steps], strict=True):
            if first == stop:  # a stage shorter than a step
                continue
            stages.append(
                Stage(
                    first_step=first,
                    first_position=position,
                    crop_samples=stage.crop_samples,
                    batch_clips=stage.batch_clips,
                    micro_batch_clips=stage.micro_batch_clips,
                )
            )
            position += (stop - first) * stage.batch_clips
        return cls(stages=tuple(stages), max_steps=max_steps, num_workers=max(1, num_workers))

    def stage(self, step: int) -> Stage:
        """The stage of a step."""
        return next(stage for stage in reversed(self.stages) if stage.first_step <= step)

    def stretches(self, first: int, stop: int) -> list[tuple[int, int]]:
        """The steps `first` up to `stop`, cut where a stage ends."""
        cuts = [stage.first_step for stage in self.stages if first < stage.first_step < stop]
        edges = [first, *cuts, stop]
        return list(pairwise(edges))

    def audio_s(self, step: int) -> float:
        """Seconds of audio in the steps before `step`."""
        return sum(
            samples_to_seconds((stop - first) * self.stage(first).batch_clips * self.stage(first).crop_samples)
            for first, stop in self.stretches(0, step)
        )

    def num_micro_batches(self, step: int) -> int:
        """Micro-batches of a step, over all workers."""
        stage = self.stage(step)
        return -(-stage.batch_clips // stage.micro_batch_clips)

    def micro_batches(self, step: int, rank: int) -> list[range]:
        """The positions of each micro-batch that worker `rank` computes in `step`, in order."""
        stage = self.stage(step)
        positions = stage.positions(step, step + 1)
        starts = range(positions.start, positions.stop, stage.micro_batch_clips)
        return [
            range(start, min(start + stage.micro_batch_clips, positions.stop))
            for start in starts[rank :: self.num_workers]
        ]


@dataclass(frozen=True)
class _Epoch:
    order: Int64[np.ndarray, " groups"]
    window_ends: Int64[np.ndarray, " windows"]  # clips up to the end of each window


class SamplePlan:
    """The stream of crops over a manifest."""

    def __init__(self, manifest: pa.Table, *, longest_crop_samples: int, seed: int) -> None:
        """Look at the manifest once.

        Args:
            manifest: clips in (part, row group, row) order; only their place and length are read.
            longest_crop_samples: clips shorter than this are left out.
            seed: the run's seed.

        Raises:
            DataError: if no clip is long enough.
        """
        num_samples = manifest["num_samples"].to_numpy()
        group = manifest["part"].to_numpy().astype(np.int64) << 32 | manifest["row_group"].to_numpy()
        long_enough = num_samples >= longest_crop_samples
        self.seed = seed
        self._clips = np.flatnonzero(long_enough)
        self.num_clips = len(self._clips)
        self.left_out_clips = len(num_samples) - self.num_clips
        self.left_out_s = samples_to_seconds(int(num_samples[~long_enough].sum()))
        if not self.num_clips:
            longest = samples_to_seconds(int(num_samples.max(initial=0)))
            raise DataError(
                f"no clip is as long as a crop of {samples_to_seconds(longest_crop_samples)} s (the longest has {longest} s); "
                f"lower audio.crop_s"
            )
        starts = np.flatnonzero(np.diff(group[self._clips], prepend=-1))
        self._group_starts = np.append(starts, self.num_clips)
        self._epoch = lru_cache(maxsize=2)(self._compute_epoch)
        self._window = lru_cache(maxsize=4)(self._compute_window)

    def entries(self, start: int, stop: int) -> PlanEntries:
        """The stream's positions from `start` up to, not including, `stop`."""
        clips = np.empty(stop - start, np.int64)
        position = start
        while position < stop:
            epoch, offset = divmod(position, self.num_clips)
            window_ends = self._epoch(epoch).window_ends
            window = int(np.searchsorted(window_ends, offset, side="right"))
            rows = self._window(epoch, window)
            inside = offset - (int(window_ends[window - 1]) if window else 0)
            taken = rows[inside : inside + stop - position]
            clips[position - start : position - start + len(taken)] = taken
            position += len(taken)
        positions = np.arange(start, stop, dtype=np.int64)
        return PlanEntries(
            position=positions,
            epoch=positions // self.num_clips,
            clip=clips,
            crop_seed=mix(positions.astype(np.uint64), key(self.seed, "crop")),
        )

    def _compute_epoch(self, epoch: int) -> _Epoch:
        num_groups = len(self._group_starts) - 1
        order = permutation(num_groups, self.seed, "row groups", epoch)
        ends = np.cumsum(np.diff(self._group_starts)[order])
        last = np.append(np.arange(WINDOW_ROW_GROUPS, num_groups, WINDOW_ROW_GROUPS), num_groups) - 1
        return _Epoch(order, ends[last])

    def _compute_window(self, epoch: int, window: int) -> Int64[np.ndarray, " n"]:
        groups = self._epoch(epoch).order[window * WINDOW_ROW_GROUPS : (window + 1) * WINDOW_ROW_GROUPS]
        rows = np.concatenate([np.arange(int(self._group_starts[g]), int(self._group_starts[g + 1])) for g in groups])
        return self._clips[rows[permutation(len(rows), self.seed, "rows", epoch, window)]]
