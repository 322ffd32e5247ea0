"""Where k-means starts, found on the blocks of a fit: k-means++ on a sample of frames, or k-means|| on all of them.

Conventions:
    `OUT/seeding/round-<n>/nearest-<block>` keeps what each frame knows after a round of k-means||: 8 bytes a frame, in the
    frames' order. A round's files stay until the next round's candidates are saved, so a killed fit repeats one round.
"""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import ray
from jaxtyping import Float32

from ray_musicssl.clustering.block_files import slab_rows
from ray_musicssl.clustering.oversampling import (
    CANDIDATES_PER_CLUSTER,
    NEAREST_TYPE,
    NUM_ROUNDS,
    Draw,
    Round,
    SeedingState,
    first_row,
)
from ray_musicssl.clustering.seeding import kmeans_plus_plus, seed_rows
from ray_musicssl.clustering.weighted_seeds import weighted_kmeans_plus_plus
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.on_ray.block_frames import Block
from ray_musicssl.on_ray.blocks import Blocks
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import replacing


def sampled_seeds(blocks: Blocks, settings: ClusteringConfig) -> Float32[np.ndarray, "clusters dim"]:
    """k-means++ on frames that the seed alone picks."""
    rows = seed_rows(blocks.num_frames, settings.num_clusters, settings.seed)
    with progress("kmeans seeds", settings.num_clusters, "seeds") as meter:
        frames = blocks.rows(rows)
        meter.advance()  # the first one is drawn, not searched for
        return kmeans_plus_plus(frames, settings.num_clusters, settings.seed, on_seed=meter.advance)


@dataclass(frozen=True, kw_only=True)
class NearestFiles:
    """The records of one round."""

    directory: Path
    round_number: int

    def path(self, block: int) -> Path:
        """The records of a block's frames."""
        return self.directory / f"round-{self.round_number}" / f"nearest-{block:08d}"

    def has_all(self, blocks: Blocks) -> bool:
        """Whether every frame has a record."""
        paths = [self.path(number) for number in range(len(blocks.sizes))]
        sizes = [path.stat().st_size if path.exists() else -1 for path in paths]
        return sizes == [size * NEAREST_TYPE.itemsize for size in blocks.sizes]

    def remove(self) -> None:
        """Delete them all."""
        shutil.rmtree(self.path(0).parent, ignore_errors=True)


def oversampled_seeds(
    blocks: Blocks,
    settings: ClusteringConfig,
    directory: Path,
    saved: SeedingState | None,
    keep: Callable[[SeedingState], None],
) -> Float32[np.ndarray, "clusters dim"]:
    """k-means|| on all frames.

    Args:
        blocks: the frames.
        settings: number of clusters and seed.
        directory: where the frames' records are kept meanwhile.
        saved: where an earlier run was.
        keep: called with each new state; once it returns, the state can be gone on from.
    """
    state = _start(blocks, settings, directory, saved)
    with progress("kmeans seeds", NUM_ROUNDS + 1, "rounds") as meter:
        meter.start_from(state.num_rounds)
        while True:
            draw = _pass(blocks, state, settings, directory)
            meter.set_done(state.num_rounds + 1, f"inertia a frame {draw.cost / blocks.num_frames:.4g}")
            if not len(draw.frames):  # the last pass draws none; nor does one that finds every frame to be a candidate
                break
            state = state.with_drawn(draw.frames)
            keep(state)
            NearestFiles(directory=directory, round_number=state.num_rounds - 1).remove()
    with progress("kmeans seeds", settings.num_clusters, "seeds") as meter:
        seeds = weighted_kmeans_plus_plus(
            state.candidates, draw.counts, settings.num_clusters, settings.seed, on_seeds=meter.advance
        )
    num_missing = settings.num_clusters - len(seeds)
    if num_missing:  # fewer distinct frames than clusters: some stay empty
        rows = seed_rows(blocks.num_frames, settings.num_clusters, settings.seed)[:num_missing]
        seeds = np.concatenate([seeds, blocks.rows(rows)])
    return seeds


def _start(blocks: Blocks, settings: ClusteringConfig, directory: Path, saved: SeedingState | None) -> SeedingState:
    if saved is not None and NearestFiles(directory=directory, round_number=saved.num_rounds).has_all(blocks):
        return saved
    first = blocks.rows(np.array([first_row(blocks.num_frames, settings.seed)]))
    return SeedingState(candidates=first, ends=(1,))


def _pass(blocks: Blocks, state: SeedingState, settings: ClusteringConfig, directory: Path) -> Draw:
    is_last = state.num_rounds == NUM_ROUNDS
    this = Round(
        number=state.num_rounds + 1,
        seed=settings.seed,
        num_before=state.num_before,
        num_wanted=0 if is_last else CANDIDATES_PER_CLUSTER * settings.num_clusters,
    )
    work = partial(round_of, this=this, directory=directory, device=blocks.device)
    return blocks.over_all(work, partial(Draw.merged, count=this.num_wanted), ray.put(state.newest))


def round_of(
    block: Block,
    newest: Float32[np.ndarray, "candidates dim"],
    *,
    this: Round,
    directory: Path,
    device: str = "cpu",
) -> Draw:
    """One block's share of a round: its frames' records brought up to date, and its winners."""
    num_now = this.num_before + len(newest)
    before_path = NearestFiles(directory=directory, round_number=this.number - 1).path(block.number)
    after_path = NearestFiles(directory=directory, round_number=this.number).path(block.number)
    found: Draw | None = None
    start = 0
    with (
        replacing(after_path) as temporary,
        temporary.open("wb") as after,
        before_path.open("rb") if this.number > 1 else nullcontext() as before,
    ):
        for slab in block.slabs(slab_rows(*newest.shape)):
            known = np.fromfile(before, NEAREST_TYPE, len(slab)) if before else None
            nearest = this.nearest(slab, newest, known, device=device)
            nearest.tofile(after)
            best = this.draw(slab, nearest, block=block.number, start=start, num_now=num_now)
            found = best if found is None else found.merged(best, this.num_wanted)
            start += len(slab)
    assert found is not None, "a block has at least one frame"
    return found
