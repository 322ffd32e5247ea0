"""Passes of k-means over Ray: the stage's own, over the same blocks by one worker and by two, each on one thread."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import ray

from benchmarks.kmeans_peers import Problem
from ray_musicssl.clustering.block_files import BlockFiles
from ray_musicssl.clustering.sums import ClusterSums
from ray_musicssl.on_ray.block_frames import Block, Recipe
from ray_musicssl.on_ray.blocks import Blocks, sums_of
from ray_musicssl.on_ray.room import TaskRoom
from ray_musicssl.on_ray.session import session

BLOCK_ROWS = 100_000
NUM_BLOCKS = 8


@dataclass(frozen=True)
class _Timed:
    """What some blocks add up to, and the CPU seconds it took."""

    sums: ClusterSums
    cpu_s: float

    def __add__(self, other: "_Timed") -> "_Timed":
        return _Timed(self.sums + other.sums, self.cpu_s + other.cpu_s)


def table(*, rounds: int, num_blocks: int = NUM_BLOCKS, block_rows: int = BLOCK_ROWS) -> str:
    """Rows a second and CPU seconds per row of a pass, 39-d and k=500, as a Markdown table. CPU seconds are the tasks' own."""
    problem = Problem(num_rows=block_rows, dim=39, num_clusters=500)
    rows = problem.rows()
    start = problem.start(rows)
    walls: dict[int, list[float]] = {1: [], 2: []}
    cpus: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as directory, session(num_cpus=2):
        stored = _stored(BlockFiles(directory=Path(directory), dim=problem.dim), rows, num_blocks)
        for number in range(-1, rounds):
            for workers in (1, 2) if number % 2 else (2, 1):
                blocks = Blocks(stored, TaskRoom(num_cpus=2 / workers, num_gpus=0))
                started = time.perf_counter()
                found = blocks.over_all(_timed, _Timed.__add__, ray.put(start))
                if number >= 0:  # the first round starts the workers
                    walls[workers].append(time.perf_counter() - started)
                    cpus[workers].append(found.cpu_s)
    total = num_blocks * block_rows
    lines = ["| workers | rows/s (wall) | CPU s per million rows | to one worker |", "| ---: | ---: | ---: | ---: |"]
    for workers in (1, 2):
        ratio = median(one / two for one, two in zip(walls[1], walls[workers], strict=True))
        rate, cost = total / median(walls[workers]), median(cpus[workers]) / total * 1e6
        lines.append(f"| {workers} | {rate:,.0f} | {cost:.3f} | {ratio:.2f} |")
    return "\n".join(lines)


def _stored(files: BlockFiles, rows: np.ndarray, num_blocks: int) -> list[Block]:
    """The same rows in every block, on disk as the stage has them; nothing asks how they were made."""
    recipe = Recipe.__new__(Recipe)
    for number in range(num_blocks):
        files.write(number, [rows])
    return [Block(number=number, num_frames=len(rows), files=files, recipe=recipe) for number in range(num_blocks)]


def _timed(block: Block, centroids: np.ndarray) -> _Timed:
    started = time.process_time()
    sums = sums_of(block, centroids)
    return _Timed(sums, time.process_time() - started)
