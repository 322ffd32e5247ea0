"""The stage `kmeans`: shards -> frames of a target feature -> codebook.

Conventions:
    Tasks write blocks of frames to `OUT/frames` and pass over them; the driver sees sums. Every update is the same function
    of the same blocks, added along the same tree, so the codebook's bits do not depend on the number of workers, on which
    task ended first, or on how often the run was killed.
    What the fit keeps meanwhile (`frames`, `seeding`, `kmeans-state.safetensors`) is removed when it ends.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float32

from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.block_files import BlockFiles
from ray_musicssl.clustering.codebook import Codebook, FitRecord, load_codebook
from ray_musicssl.clustering.lloyd import LloydResult, LloydState, iterate, settled
from ray_musicssl.clustering.minibatch import MinibatchState
from ray_musicssl.clustering.oversampling import NEAREST_TYPE, SeedingState
from ray_musicssl.clustering.sample import MANIFEST_COLUMNS, ClipSample, choose_clips
from ray_musicssl.clustering.state import FitState, load_state, save_state
from ray_musicssl.config.pretrain import KmeansConfig
from ray_musicssl.errors import DataError, ResumeRefusedError
from ray_musicssl.features.base import TargetFeature
from ray_musicssl.on_ray.block_frames import Block, Recipe
from ray_musicssl.on_ray.blocks import Blocks
from ray_musicssl.on_ray.minibatches import fit_minibatches
from ray_musicssl.on_ray.room import TaskRoom, check_gpus
from ray_musicssl.on_ray.seeds import oversampled_seeds, sampled_seeds
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.on_ray.targets import gpus_per_task
from ray_musicssl.probing.hidden_targets import load_feature, resolve
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import (
    done_with,
    hash_of,
    locked,
    mark_done,
    need_free_space,
    read_json,
    remove_temporaries,
    write_json,
)

logger = logging.getLogger(__name__)

STATE_NAME = "kmeans-state.safetensors"
ALGORITHM_VERSION = 2  # raise it when the same settings begin to give other centroids
_REMEDY = "choose another --out, or delete this one"


@dataclass(frozen=True, kw_only=True)
class _Workplace:
    """What a fit keeps in its output directory until it ends."""

    out: Path  # absolute: tasks write there too

    @property
    def state_path(self) -> Path:
        """Where the fit is."""
        return self.out / STATE_NAME

    @property
    def frames_dir(self) -> Path:
        """The blocks' frames."""
        return self.out / "frames"

    @property
    def frames_facts_path(self) -> Path:
        """Whose frames these are."""
        return self.frames_dir / "frames.json"

    @property
    def seeding_dir(self) -> Path:
        """What frames know of the seeds so far."""
        return self.out / "seeding"

    def clear(self) -> None:
        """Remove all of it."""
        for directory in (self.frames_dir, self.seeding_dir):
            shutil.rmtree(directory, ignore_errors=True)
        self.state_path.unlink(missing_ok=True)

    def is_clear(self) -> bool:
        """Whether nothing is left."""
        return not any(path.exists() for path in (self.frames_dir, self.seeding_dir, self.state_path))


def fit_codebook(shards: Shards, out: Path, config: KmeansConfig, *, cpus_per_task: float = 1) -> Codebook:
    """Fit a codebook on the shards and save it in `out`; a killed fit goes on, a finished one is only read.

    Args:
        shards: the clips.
        out: where `centroids.safetensors` and `codebook.json` go; on storage that every node of the cluster sees.
        config: its `feature` and `clustering` sections count.
        cpus_per_task: logical CPUs a task asks for. It decides how many run at once and nothing else.

    Raises:
        ConfigError: if the feature is `hidden` and its encoder is not named or lacks the layer, or tasks ask for GPUs where
            there are none.
        DataError: if there are fewer frames than clusters, or the feature's encoder is missing or has other weights.
        EnvironmentFaultError: if the disk cannot take the frames.
        ResumeRefusedError: if `out` holds a fit, finished or not, of other shards or settings.
    """
    config = resolve(config)
    settings, place = config.clustering, _Workplace(out=out.resolve())
    fingerprint = _fingerprint(shards, config)
    if done_with(out, "kmeans", fingerprint=fingerprint, remedy=_REMEDY) is not None:
        if not place.is_clear():  # killed while it tidied up
            with locked(out):
                place.clear()
        # The same feature, but its encoder may have moved since: the config says where it is now.
        return replace(load_codebook(out), feature=config.feature)
    if settings.idle_settings:
        idle = ", ".join(f"clustering.{name}" for name in settings.idle_settings)
        logger.warning("%s: no effect with clustering.algorithm=%s", idle, settings.algorithm)
    check_gpus(settings.gpus_per_task, "clustering.gpus_per_task")
    feature = load_feature(config.feature)
    sample = _checked_sample(shards, feature, config)
    with locked(out), session():
        check_gpus(settings.gpus_per_task, "clustering.gpus_per_task")
        remove_temporaries(out)
        saved = load_state(place.state_path, fingerprint)
        blocks = _blocks(shards, config, sample, feature.dim, place, cpus_per_task=cpus_per_task)
        result = _fit(blocks, config, place, fingerprint, saved)
        codebook = _codebook(result, feature, config, shards, sample)
        codebook.save(out)
        facts = {"hash": codebook.hash, "parent": shards.content_hash, "num_clips": sample.num_clips}
        mark_done(out, "kmeans", fingerprint=fingerprint, facts=facts)
        place.clear()
    return codebook


def _blocks(
    shards: Shards, config: KmeansConfig, sample: ClipSample, dim: int, place: _Workplace, *, cpus_per_task: float
) -> Blocks:
    """The blocks of the sample, with their frames on disk unless each pass makes them again."""
    settings = config.clustering
    files = BlockFiles(directory=place.frames_dir, dim=dim)
    recipe = Recipe(shards=replace(shards, path=shards.path.resolve()), feature=config.feature)
    blocks = [
        Block(number=number, num_frames=clips.num_frames, files=files, recipe=recipe, clips=clips)
        for number, clips in enumerate(sample.blocks)
    ]
    num_gpus = settings.gpus_per_task
    if settings.frames == "disk":
        _extract(blocks, place, _frames_fingerprint(shards, config, sample), cpus_per_task)
        blocks = [replace(block, clips=None) for block in blocks]
    else:
        num_gpus = max(num_gpus, gpus_per_task(config.feature))
    device = "cuda" if settings.gpus_per_task else "cpu"
    room = TaskRoom(num_cpus=cpus_per_task, num_gpus=num_gpus, device=device)
    return Blocks(blocks, room, num_clusters=settings.num_clusters)


def _extract(blocks: Sequence[Block], place: _Workplace, fingerprint: str, cpus_per_task: float) -> None:
    """Have the frames written that are not there yet."""
    path = place.frames_facts_path
    if path.exists() and read_json(path)["fingerprint"] != fingerprint:
        raise ResumeRefusedError(
            f"{place.frames_dir} holds the frames of an unfinished fit with another feature, sample, shards or kind of "
            f"device; finish it with its own settings, delete {place.frames_dir}, or choose another --out"
        )
    files = blocks[0].files
    missing = [block for block in blocks if not files.has(block.number, block.num_frames)]
    remove_temporaries(place.frames_dir)  # what a killed fit left half written needs no room
    need_free_space(place.frames_dir, sum(files.size_bytes(block.num_frames) for block in missing))
    write_json(path, {"fingerprint": fingerprint, "num_blocks": len(blocks)})
    num_gpus = gpus_per_task(blocks[0].recipe.feature)
    with progress("kmeans features", sum(block.num_frames for block in blocks), "frames") as meter:
        meter.start_from(meter.total - sum(block.num_frames for block in missing))
        for _, count in run_tasks(Block.write, missing, num_cpus=cpus_per_task, num_gpus=num_gpus):
            meter.advance(count)


def _fit(
    blocks: Blocks, config: KmeansConfig, place: _Workplace, fingerprint: str, saved: FitState | None
) -> LloydResult:
    """Seed and iterate, from where an earlier run was."""
    settings = config.clustering
    keep = partial(save_state, place.state_path, fingerprint=fingerprint)
    if saved is None or isinstance(saved, SeedingState):
        seeds = _seeds(blocks, config, place, saved, fingerprint)
        if settings.algorithm == "lloyd":
            saved = LloydState(centroids=seeds)
        else:
            saved = MinibatchState(centroids=seeds, counts=np.zeros(len(seeds), np.int64))
        keep(saved)
        shutil.rmtree(place.seeding_dir, ignore_errors=True)
    if isinstance(saved, LloydState):
        return _iterate(blocks, saved, config, place, fingerprint)
    ended = fit_minibatches(blocks, settings, saved, keep)
    return settled(blocks, ended.centroids, tuple(value * blocks.num_frames for value in ended.history))


def _seeds(
    blocks: Blocks, config: KmeansConfig, place: _Workplace, saved: SeedingState | None, fingerprint: str
) -> Float32[np.ndarray, "clusters dim"]:
    settings = config.clustering
    if settings.resolved_seeding == "kmeans++":
        return sampled_seeds(blocks, settings)
    held = sum(path.stat().st_size for path in place.seeding_dir.rglob("*") if path.is_file())
    need_free_space(place.seeding_dir, 2 * blocks.num_frames * NEAREST_TYPE.itemsize - held)  # of two rounds
    keep = partial(save_state, place.state_path, fingerprint=fingerprint)
    return oversampled_seeds(blocks, settings, place.seeding_dir, saved, keep)


def _fingerprint(shards: Shards, config: KmeansConfig) -> str:
    return hash_of(
        {
            "shards": shards.content_hash,
            "feature": config.feature.identity,
            "clustering": config.clustering.identity,
            "algorithm": ALGORITHM_VERSION,
        }
    )


def _frames_fingerprint(shards: Shards, config: KmeansConfig, sample: ClipSample) -> str:
    """Of all that the files of frames depend on: fits of other sizes on the same sample may have the same."""
    parts = {
        "shards": shards.content_hash,
        "feature": config.feature.identity,
        "sample": [config.clustering.max_frames, config.clustering.seed],
        "num_blocks": len(sample.blocks),
    }
    return hash_of(parts | ({"device": "gpu"} if gpus_per_task(config.feature) else {}))


def _checked_sample(shards: Shards, feature: TargetFeature, config: KmeansConfig) -> ClipSample:
    settings = config.clustering
    sample = choose_clips(
        pq.read_table(shards.manifest_path, columns=list(MANIFEST_COLUMNS)),
        feature.grid,
        dim=feature.dim,
        max_frames=settings.max_frames,
        seed=settings.seed,
        num_clusters=settings.num_clusters,
    )
    if sample.num_frames < settings.num_clusters:
        raise DataError(
            f"{shards.path} gives {sample.num_frames} {feature.name} frames ({shards.num_clips} clips, "
            f"{shards.seconds:.1f} s), fewer than clustering.num_clusters={settings.num_clusters}; "
            f"prepare more audio or lower clustering.num_clusters"
        )
    if sample.num_frames < sample.num_frames_in_all:
        logger.info("k-means uses %d of %d frames", sample.num_frames, sample.num_frames_in_all)
    return sample


def _iterate(
    blocks: Blocks, state: LloydState, config: KmeansConfig, place: _Workplace, fingerprint: str
) -> LloydResult:
    settings = config.clustering
    with progress("kmeans", settings.num_iterations, "updates") as meter:
        meter.start_from(state.num_updates)

        def keep(new: LloydState) -> None:
            save_state(place.state_path, new, fingerprint=fingerprint)
            meter.set_done(new.num_updates, f"inertia a frame {new.history[-1] / blocks.num_frames:.4g}")

        result = iterate(
            blocks,
            state,
            num_iterations=settings.num_iterations,
            tolerance=settings.tolerance,
            on_update=keep,
        )
    if result.counts.all():
        return result
    return settled(blocks, result.centroids, result.history[:-1])  # the last update emptied a cluster


def _codebook(
    result: LloydResult, feature: TargetFeature, config: KmeansConfig, shards: Shards, sample: ClipSample
) -> Codebook:
    num_dead = int((result.counts == 0).sum())
    if num_dead:
        logger.warning(
            "%d of %d clusters have no frame: the frames have too few distinct values; lower clustering.num_clusters",
            num_dead,
            len(result.counts),
        )
    record = FitRecord(
        parent=shards.content_hash,
        clustering=config.clustering,
        num_frames=sample.num_frames,
        inertia=result.history,
        usage=tuple(result.counts.tolist()),
    )
    return Codebook(result.centroids, config.feature, feature.grid.frame_rate, record)
