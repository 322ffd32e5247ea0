"""Passes of k-means over Ray: the same blocks by one worker and by two, each on one thread."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import ray

from benchmarks.kmeans_peers import Problem
from ray_musicssl.clustering.sums import ClusterSums, one_blas_thread, partial_sums
from ray_musicssl.clustering.tree import add_along_tree
from ray_musicssl.on_ray.session import session

BLOCK_ROWS = 25_000
NUM_BLOCKS = 16


def table(*, rounds: int, num_blocks: int = NUM_BLOCKS, block_rows: int = BLOCK_ROWS) -> str:
    """Rows a second and CPU seconds per row of a pass, 39-d and k=500, as a Markdown table.

    Every block is the same rows: the object store, not the data, is what is measured. CPU seconds are the tasks' own.
    """
    problem = Problem(num_rows=block_rows, dim=39, num_clusters=500)
    rows = problem.rows()
    lines = ["| workers | rows/s (wall) | CPU s per million rows | to one worker |", "| ---: | ---: | ---: | ---: |"]
    with session(num_cpus=2):
        blocks = [ray.put(rows) for _ in range(num_blocks)]
        walls: dict[int, list[float]] = {1: [], 2: []}
        cpus: dict[int, list[float]] = {1: [], 2: []}
        start = problem.start(rows)
        for number in range(-1, rounds):
            for workers in (1, 2) if number % 2 else (2, 1):
                wall_s, cpu_s = _pass(blocks, start, cpus_per_task=2 / workers)
                if number >= 0:  # the first round starts the workers
                    walls[workers].append(wall_s)
                    cpus[workers].append(cpu_s)
    total = num_blocks * block_rows
    for workers in (1, 2):
        ratio = median(one / two for one, two in zip(walls[1], walls[workers], strict=True))
        rate, cost = total / median(walls[workers]), median(cpus[workers]) / total * 1e6
        lines.append(f"| {workers} | {rate:,.0f} | {cost:.3f} | {ratio:.2f} |")
    return "\n".join(lines)


def _pass(blocks: list[ray.ObjectRef], centroids: np.ndarray, *, cpus_per_task: float) -> tuple[float, float]:
    task: Callable = ray.remote(_timed_sums).options(num_cpus=cpus_per_task).remote
    started = time.perf_counter()
    shared = ray.put(centroids)
    found = ray.get([task(block, shared) for block in blocks])
    add_along_tree([sums for sums, _ in found], ClusterSums.__add__)
    return time.perf_counter() - started, sum(cpu_s for _, cpu_s in found)


def _timed_sums(frames: np.ndarray, centroids: np.ndarray) -> tuple[ClusterSums, float]:
    started = time.process_time()
    with one_blas_thread():
        sums = partial_sums(frames, centroids)
    return sums, time.process_time() - started
