"""Passes of k-means over Ray: the stage's own, over the same blocks by one worker and by two, each on one thread.

Beside them the same work by as many bare processes, which says what two cores of this machine can give at all.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial, reduce
from multiprocessing import get_context
from multiprocessing.pool import Pool
from operator import add
from pathlib import Path
from statistics import median

import numpy as np
import ray

from benchmarks.kmeans_peers import Problem
from ray_musicssl.clustering.block_files import BlockFiles
from ray_musicssl.clustering.sums import ClusterSums, one_blas_thread
from ray_musicssl.on_ray.block_frames import Block, Recipe
from ray_musicssl.on_ray.blocks import Blocks, sums_of
from ray_musicssl.on_ray.room import TaskRoom
from ray_musicssl.on_ray.session import session

BLOCK_ROWS = 200_000  # 31 MB, as the stage cuts them
NUM_BLOCKS = 16


@dataclass(frozen=True)
class _Timed:
    """What some blocks add up to, and the CPU seconds it took."""

    sums: ClusterSums
    cpu_s: float

    def __add__(self, other: "_Timed") -> "_Timed":
        return _Timed(self.sums + other.sums, self.cpu_s + other.cpu_s)


@dataclass(frozen=True)
class _Clocked:
    wall_s: float
    cpu_s: float


def table(*, rounds: int, num_blocks: int = NUM_BLOCKS, block_rows: int = BLOCK_ROWS) -> str:
    """Rows a second and CPU seconds per row of a pass, 39-d and k=500, as a Markdown table. CPU seconds are the tasks' own."""
    problem = Problem(num_rows=block_rows, dim=39, num_clusters=500)
    rows = problem.rows()
    start = problem.start(rows)
    total = num_blocks * block_rows
    with tempfile.TemporaryDirectory() as directory, session(num_cpus=2), ExitStack() as pools:
        stored = _stored(BlockFiles(directory=Path(directory), dim=problem.dim), rows, num_blocks)
        shared = ray.put(start)
        passes: dict[tuple[str, int], Callable[[], _Timed]] = {}
        for workers in (1, 2):
            blocks = Blocks(stored, TaskRoom(num_cpus=2 / workers, num_gpus=0), num_clusters=len(start))
            passes["over Ray", workers] = partial(blocks.over_all, _timed, add, shared)
            pool = pools.enter_context(get_context("spawn").Pool(workers))
            passes["bare processes", workers] = partial(_bare, pool, stored, start)
        taken = _interleaved(passes, rounds)
    lines = [
        "| | workers | rows/s (wall) | CPU s per million rows | to one worker |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for (how, workers), times in taken.items():
        ratio = median(one.wall_s / these.wall_s for one, these in zip(taken[how, 1], times, strict=True))
        rate = total / median(each.wall_s for each in times)
        cost = median(each.cpu_s for each in times) / total * 1e6
        lines.append(f"| {how} | {workers} | {rate:,.0f} | {cost:.3f} | {ratio:.2f} |")
    return "\n".join(lines)


def _interleaved(
    passes: dict[tuple[str, int], Callable[[], _Timed]], rounds: int
) -> dict[tuple[str, int], list[_Clocked]]:
    """Every pass `rounds` times, in turn, forwards and backwards; a first round starts the workers and does not count."""
    taken: dict[tuple[str, int], list[_Clocked]] = {name: [] for name in passes}
    for number in range(-1, rounds):
        for name in list(passes)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            found = passes[name]()
            if number >= 0:
                taken[name].append(_Clocked(time.perf_counter() - started, found.cpu_s))
    return taken


def _bare(pool: Pool, blocks: list[Block], centroids: np.ndarray) -> _Timed:
    return reduce(add, pool.imap(partial(_timed, centroids=centroids), blocks))


def _stored(files: BlockFiles, rows: np.ndarray, num_blocks: int) -> list[Block]:
    """The same rows in every block, on disk as the stage has them; nothing asks how they were made."""
    recipe = Recipe.__new__(Recipe)
    for number in range(num_blocks):
        files.write(number, [rows])
    return [Block(number=number, num_frames=len(rows), files=files, recipe=recipe) for number in range(num_blocks)]


def _timed(block: Block, centroids: np.ndarray) -> _Timed:
    with one_blas_thread():  # Ray sees to that for its own workers
        started = time.process_time()
        sums = sums_of(block, centroids)
        return _Timed(sums, time.process_time() - started)
