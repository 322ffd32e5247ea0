"""What clustering 1000 hours costs on 1, 4 and 32 nodes: arithmetic from rates that are measured here first.

    python -m benchmarks.scaling

Conventions:
    A node has `CORES` cores like those of this machine and reads frames at `READ_GB_S`. Rates are medians of CPU seconds on
    one thread; a core of a busy machine is slower by a few tens of percent, since cores share memory and clock.
    Frames of a hidden layer are made and labelled on `GPUS_A_NODE` GPUs in float32 without TF32, as `on_ray/targets.py` has
    it; the products of labelling are taken to reach the share of the peak that the encoder's are.
    Waiting for the slowest task of a pass is not counted: with two to four groups of blocks a core it is at most a third of
    a pass with few blocks, and a few percent with many.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch

from ray_musicssl.audio.frames import SAMPLE_RATE
from ray_musicssl.clustering.pass_memory import PassMemory
from ray_musicssl.clustering.sample import BLOCK_BYTES, FRAMES_PER_CLUSTER
from ray_musicssl.clustering.sums import assign, one_blas_thread, partial_sums
from ray_musicssl.clustering.tree import aligned_groups
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.features.base import make_feature

HOURS, NUM_CLUSTERS, NUM_ITERATIONS = 1000, 2000, 20
NODES = (1, 4, 32)
CORES, READ_GB_S = 32, 1.0
ENCODER_FLOP_PER_AUDIO_S = 16.7e9  # of the 95M encoder's forward pass, in windows of 30 s
A100_FLOAT32_FLOP_PER_S = 19.5e12  # without TF32. Source: NVIDIA's data sheet
ASSUMED_SHARE = 0.4  # of that peak: an assumption, nobody measured it
GPU_FLOP_PER_S = ASSUMED_SHARE * A100_FLOAT32_FLOP_PER_S
GPUS_A_NODE = 8
REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One feature of the whole data set."""

    name: str
    frame_rate: float
    dim: int
    seconds_per_audio_s: float  # of one core, to make frames; 0 where GPUs do it

    @property
    def num_frames(self) -> int:
        """Frames of all hours."""
        return round(HOURS * 3600 * self.frame_rate)

    @property
    def num_bytes(self) -> int:
        """Frames of all hours in float32."""
        return self.num_frames * self.dim * 4


def cpu_seconds(work: Callable[[], object]) -> float:
    """Median of the CPU seconds of some calls, after one that warms up."""
    work()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def mfcc_seconds() -> float:
    """Core seconds to make the MFCC of a second of audio."""
    clip = 0.1 * torch.randn(30 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    feature = make_feature(MfccConfig())
    return cpu_seconds(lambda: feature(clip)) / 30


def row_seconds(dim: int) -> tuple[float, float]:
    """Core seconds to add a frame to a pass, and to label one."""
    rng = np.random.default_rng(0)
    centroids = rng.normal(size=(NUM_CLUSTERS, dim)).astype(np.float32)
    near = centroids[rng.integers(NUM_CLUSTERS, size=16_384)]
    frames = near + 0.5 * rng.normal(size=near.shape).astype(np.float32)
    with one_blas_thread():
        adding = cpu_seconds(lambda: partial_sums(frames, centroids)) / len(frames)
        return adding, cpu_seconds(lambda: assign(frames, centroids)) / len(frames)


def rows_of(work: Workload, adding_s: float, labelling_s: float) -> list[str]:
    """One line of the table for each number of nodes."""
    # As `choose_clips` cuts them: blocks of BLOCK_BYTES, or of FRAMES_PER_CLUSTER frames a cluster if that is more.
    num_blocks = ceil(work.num_bytes / max(BLOCK_BYTES, 4 * FRAMES_PER_CLUSTER * NUM_CLUSTERS * work.dim))
    memory = PassMemory(num_clusters=NUM_CLUSTERS, dim=work.dim, block_frames=ceil(work.num_frames / num_blocks))
    lines = []
    for nodes in NODES:
        cores = nodes * CORES
        audio_s = HOURS * 3600
        making_s, products_s = audio_s * work.seconds_per_audio_s / cores, work.num_frames * labelling_s / cores
        if not work.seconds_per_audio_s:
            gpu_flop_per_s = nodes * GPUS_A_NODE * GPU_FLOP_PER_S
            making_s = audio_s * ENCODER_FLOP_PER_AUDIO_S / gpu_flop_per_s
            products_s = 2 * work.num_frames * NUM_CLUSTERS * work.dim / gpu_flop_per_s
        reading_s = work.num_bytes / (nodes * READ_GB_S * 1e9)
        pass_s = max(work.num_frames * adding_s / cores, reading_s)
        groups = aligned_groups(num_blocks, cores, memory.blocks_a_group)
        cells = (
            work.name,
            str(nodes),
            minutes(making_s),
            minutes(pass_s),
            minutes(making_s + (NUM_ITERATIONS + 1) * pass_s),
            minutes(making_s + products_s),
            f"{len(groups)} x {memory.result_bytes / 1e6:.1f} MB",
            f"{work.num_bytes / nodes / 1e9:.0f} GB",
            f"{CORES * memory.task_bytes / 1e9:.0f} GB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def minutes(seconds: float) -> str:
    """A time in minutes or seconds."""
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    mfcc_s = mfcc_seconds()
    rates = {dim: row_seconds(dim) for dim in (39, 768)}
    print(f"Measured: MFCC {1 / mfcc_s:,.0f} audio s per CPU s;", end=" ")
    for dim, (adding_s, labelling_s) in rates.items():
        print(
            f"{dim} dimensions {1 / adding_s:,.0f} frames per CPU s in a pass, {1 / labelling_s:,.0f} labelled;",
            end=" ",
        )
    print(
        "\n\n| frames | nodes | making them | a pass | a fit of 20 updates | labelling | results moved a pass "
        "| frames on disk a node | memory of tasks a node |\n|---|---|---|---|---|---|---|---|---|"
    )
    works = (
        Workload(name="MFCC, 360M x 39", frame_rate=100, dim=39, seconds_per_audio_s=mfcc_s),
        Workload(name="hidden, 180M x 768", frame_rate=50, dim=768, seconds_per_audio_s=0),
    )
    for work in works:
        print("\n".join(rows_of(work, *rates[work.dim])))


if __name__ == "__main__":
    main()
